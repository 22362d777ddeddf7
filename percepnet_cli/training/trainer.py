"""The state of a training run and what is done to it: a step, a validation, a checkpoint."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch

from percepnet_cli.constants import HOP_SIZE, SAMPLE_RATE
from percepnet_cli.training.augment import recolour
from percepnet_cli.training.checkpoint import read_checkpoint, write_checkpoint
from percepnet_cli.training.curves import write_history
from percepnet_cli.training.data.shards import Batch, Shards
from percepnet_cli.training.data.teachers import without_folders
from percepnet_cli.training.losses import losses, residue
from percepnet_cli.training.loudness import SPAN_HOPS, disturbance_loss, heard_energy, level_weight
from percepnet_cli.training.model.floatmodel import read_weights, write_float_model
from percepnet_cli.training.model.torch_model import Dropout, PercepNet, State
from percepnet_cli.training.model.widen import widen
from percepnet_cli.training.options import Options

HOPS_PER_HOUR = 3600 * SAMPLE_RATE // HOP_SIZE
"""Hops in an hour of audio."""

BETAS = (0.9, 0.98)
"""Decay of the optimiser's two means."""

WEIGHT_DECAY = 0.01
"""Shrinks weight matrices by lr times this per step; our choice, keeps rows fit for 8 bits."""

WARMUP_STEPS = 200
"""Steps over which the learning rate rises from 0."""

FINAL_RATE = 0.05
"""Learning rate at the end, as a part of the highest."""

MAX_GRADIENT_NORM = 1.0
"""Longer gradients are shortened to this."""

EMA_DECAY = 0.999
"""Decay of the running mean of the weights, once it is warm."""

VALIDATION_SEQUENCES = 128
"""Sequences of the validation set that are used, always the same."""

VALIDATION_BATCH = 64
"""Sequences per forward pass of the validation."""


def to_device(batch: Batch, device: torch.device) -> tuple[torch.Tensor, ...]:
    """Return the seven tensors of a batch as float32 on `device`."""
    return tuple(torch.from_numpy(array).to(device).float() for array in batch)


def learning_rate(options: Options, step: int, progress: float) -> float:
    """Return the rate: a linear rise, then half a cosine down to 5 % at progress 1."""
    warm = min(1.0, (step + 1) / WARMUP_STEPS)
    cosine = 0.5 * (1.0 + math.cos(math.pi * min(max(progress, 0.0), 1.0)))
    return options.rate * warm * (FINAL_RATE + (1.0 - FINAL_RATE) * cosine)


def make_optimisers(model: PercepNet, options: Options) -> list[torch.optim.Optimizer]:
    """Return what moves the weights: AdamW, or Muon for the matrices of the recurrent layers and AdamW for the rest.

    Muon's steps are scaled to the size of AdamW's, so one learning rate serves both (Liu et al. 2025).
    """
    recurrent: list[torch.nn.Parameter] = []
    decayed: list[torch.nn.Parameter] = []
    others: list[torch.nn.Parameter] = []
    for name, parameter in model.named_parameters():
        if options.optimiser == "muon" and parameter.dim() == 2 and "gru" in name:
            recurrent.append(parameter)
        else:
            (decayed if parameter.dim() > 1 else others).append(parameter)
    groups = [{"params": decayed, "weight_decay": WEIGHT_DECAY}, {"params": others, "weight_decay": 0.0}]
    optimisers: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(groups, lr=options.rate, betas=BETAS, eps=1e-8, fused=True)
    ]
    if recurrent:
        if not hasattr(torch.optim, "Muon"):
            raise ValueError("this version of torch has no Muon; use --optimiser adamw, or torch 2.9 and later")
        optimisers.append(
            torch.optim.Muon(
                recurrent, lr=options.rate, weight_decay=WEIGHT_DECAY, momentum=0.95, adjust_lr_fn="match_rms_adamw"
            )
        )
    return optimisers


class Trainer:
    """A run between its checkpoints.

    Parameters
    ----------
    train, valid
        The shards.
    out
        Folder of the checkpoint and the results.
    options
        What the run is told.
    """

    def __init__(self, train: Shards, valid: Shards, out: Path, options: Options) -> None:
        train.require(options.hops)
        self.train = train
        self.out = out
        self.options = options
        self.device = torch.device(pick_device(options.device))
        torch.manual_seed(options.seed)
        self.model = PercepNet(options.sizes).to(self.device)
        self.ema = PercepNet(options.sizes).to(self.device).requires_grad_(False)
        self.ema.precision = torch.float32  # what is exported is judged as it is
        self.optimisers = make_optimisers(self.model, options)
        self.step = 0
        self.seconds = 0.0
        self.history: list[list[float]] = []
        self.loss_sum = 0.0
        self.loss_count = 0
        self.skipped = 0
        self.state: State | None = None
        self._sequences: tuple[int, Batch] | None = None
        if options.loudness_weight:
            valid.require(SPAN_HOPS)
        hops = min(valid.hops, max(options.hops, 400))
        self.valid = self._with_energy(valid.even_batch(VALIDATION_SEQUENCES, hops))
        self.checkpoint = out / "checkpoint.pt"

    def start(self) -> None:
        """Set the weights and the normalisation of a new run."""
        if self.options.init is None:
            mean, std = self.train.feature_statistics()
            self.model.feature_mean.copy_(torch.from_numpy(mean))
            self.model.feature_std.copy_(torch.from_numpy(std))
        else:
            given = read_weights(self.options.init)
            tensors = given.tensors
            if given.sizes != self.options.sizes:
                try:
                    tensors = widen(tensors, given.sizes, self.options.sizes, self.options.seed)
                except ValueError as error:
                    raise ValueError(f"{self.options.init}: {error}") from None
            self.model.load_state_dict({name: torch.from_numpy(value) for name, value in tensors.items()})
        self.ema.load_state_dict(self.model.state_dict())

    def save(self) -> None:
        """Write the checkpoint."""
        content = {
            "model": self.model.state_dict(),
            "ema": self.ema.state_dict(),
            "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
            "step": self.step,
            "seconds": self.seconds,
            "history": self.history,
            "loss_sum": self.loss_sum,
            "loss_count": self.loss_count,
            "state": None if self.state is None else list(self.state),
        }
        write_checkpoint(self.checkpoint, self.options.identity(), content)

    def load(self) -> None:
        """Go on from the checkpoint."""
        content = read_checkpoint(self.checkpoint, self.options.identity(), self.device)
        self.model.load_state_dict(content["model"])
        self.ema.load_state_dict(content["ema"])
        for optimiser, state in zip(self.optimisers, content["optimisers"], strict=True):
            optimiser.load_state_dict(state)
        self.step = content["step"]
        self.seconds = content["seconds"]
        self.history = content["history"]
        self.loss_sum = content["loss_sum"]
        self.loss_count = content["loss_count"]
        state = content.get("state")
        self.state = None if state is None else State(*state)

    def progress(self) -> float:
        """Return how much of the run is done, 0..1."""
        if self.options.steps is not None:
            return self.step / max(self.options.steps, 1)
        return self.seconds / max(60.0 * (self.options.minutes or 0.0), 1e-9)

    def hours(self) -> float:
        """Return hours of audio trained."""
        return self.step * self.options.batch * self.options.hops / self.options.pieces / HOPS_PER_HOUR

    def batch(self, step: int) -> Batch:
        """Return the batch of a step, a function of (seed, step) alone: a piece of its sequences."""
        number, piece = divmod(step, self.options.pieces)
        if self._sequences is None or self._sequences[0] != number:
            rng = np.random.default_rng((self.options.seed, number))
            batch = self.train.random_batch(rng, self.options.batch, self.options.hops)
            if self.options.recolour:
                batch = batch._replace(features=recolour(batch.features, rng))
            self._sequences = number, self._with_energy(batch)
        length = self.options.hops // self.options.pieces
        part = slice(piece * length, (piece + 1) * length)
        return Batch(*(array[part] for array in self._sequences[1]))

    def update(self, batch: Batch) -> torch.Tensor:
        """Do one step; return its loss, not yet waited for."""
        rate = learning_rate(self.options, self.step, self.progress())
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = rate
        tensors = to_device(batch, self.device)
        number, piece = divmod(self.step, self.options.pieces)
        drop = {}
        if self.options.dropout:
            drop["drop"] = Dropout(self.options.dropout, self.options.seed + number)
        gain, strength, after = self.model(tensors[0], self.state if piece else None, **drop)
        self.state = State(*(part.detach() for part in after)) if self.options.pieces > 1 else None
        loss = self._losses(tensors, gain, strength)[0]
        self.model.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), MAX_GRADIENT_NORM)
        if not torch.isfinite(norm):  # one bad batch must not end a long run
            self.skipped += 1
            if self.skipped >= 20:
                raise ValueError(f"the gradient was not finite 20 times, last at step {self.step}")
        else:
            for optimiser in self.optimisers:
                optimiser.step()
            decay = min(EMA_DECAY, (1.0 + self.step) / (10.0 + self.step))
            with torch.no_grad():
                for mean, value in zip(self.ema.parameters(), self.model.parameters(), strict=True):
                    mean.lerp_(value, 1.0 - decay)
        self.step += 1
        return loss.detach()

    def _losses(
        self, batch: tuple[torch.Tensor, ...], gain: torch.Tensor, strength: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return what is made small, and of it the losses of gain and strength, not weighted."""
        features, *targets, ideal, energy = batch
        options = self.options
        if options.level_weight:
            targets[2] = targets[2] * level_weight(features, options.level_weight)
        gain_loss, strength_loss = losses(gain, strength, tuple(targets), options.loss, options.strength_asymmetry)
        total = gain_loss + options.strength_weight * strength_loss
        if options.loudness_weight:
            total = total + options.loudness_weight * disturbance_loss(energy, ideal, gain)
        if options.residue_weight:
            total = total + options.residue_weight * residue(energy, ideal, gain)
        return total, gain_loss, strength_loss

    def _with_energy(self, batch: Batch) -> Batch:
        """Return the batch with the energies that the losses of loudness and residue need, if there are such."""
        if not (self.options.loudness_weight or self.options.residue_weight):
            return batch
        features, ideal = (torch.from_numpy(array).float() for array in (batch.features, batch.ideal))
        return batch._replace(energy=heard_energy(features, ideal).numpy())

    def evaluate(self, model: PercepNet) -> tuple[float, float, float]:
        """Return what ``_losses`` does for the validation set, in float32."""
        precision, model.precision = model.precision, torch.float32
        with torch.no_grad():
            batch = to_device(self.valid, self.device)
            answers = [model(part)[:2] for part in batch[0].split(VALIDATION_BATCH, dim=1)]
            gain, strength = (torch.cat(parts, dim=1) for parts in zip(*answers, strict=True))
            total, gain_loss, strength_loss = self._losses(batch, gain, strength)
        model.precision = precision
        return float(total), float(gain_loss), float(strength_loss)

    def validate(self) -> str:
        """Judge both sets of weights, write model, history and curves; return a line about it."""
        valid, *_ = self.evaluate(self.model)
        ema, ema_gain, ema_strength = self.evaluate(self.ema)
        train = self.loss_sum / self.loss_count if self.loss_count else math.nan
        self.loss_sum, self.loss_count = 0.0, 0
        rate = learning_rate(self.options, self.step, self.progress())
        row = [self.step, self.seconds / 60.0, self.hours(), rate, train, valid, ema, ema_gain, ema_strength]
        self.history.append([float(value) for value in row])
        training = {
            "steps": self.step,
            "hours": round(self.hours(), 3),
            "minutes": round(self.seconds / 60.0, 1),
            "loss": None if math.isnan(train) else train,
            "loss_kind": self.options.loss,
            "validation": ema,
            "validation_gain": ema_gain,
            "validation_strength": ema_strength,
            "data": without_folders(self.train.description),
        }
        # what is heard of the noise left over is in that loss; the post-filter would take more than that
        write_float_model(self.out / "model.safetensors", self.ema, training, not self.options.loudness_weight)
        write_history(self.out, self.history)
        parts = f"gain {ema_gain:.5f}, strength {ema_strength:.5f}"
        return f"validation {valid:.5f}, mean weights {ema:.5f} ({parts})"


def pick_device(name: str) -> str:
    """Return ``cpu`` or ``cuda`` for ``auto``; say so if there is no CUDA device."""
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise ValueError("no CUDA device was found; use --device cpu")
    return ("cuda" if available else "cpu") if name == "auto" else name
