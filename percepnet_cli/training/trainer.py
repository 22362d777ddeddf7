"""The state of a training run and what is done to it: a step, a validation, a checkpoint."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch

from percepnet_cli.constants import HOP_SIZE, SAMPLE_RATE
from percepnet_cli.training import renamed, schedule
from percepnet_cli.training.checkpoint import read_checkpoint, write_checkpoint
from percepnet_cli.training.curves import write_history
from percepnet_cli.training.data.shards import Batch, Pick, Shards
from percepnet_cli.training.data.teachers import without_folders
from percepnet_cli.training.feeder import Chunk, Feeder, with_energy
from percepnet_cli.training.losses import Totals, losses, sisdr_loss
from percepnet_cli.training.loudness import SPAN_HOPS, loud_band_weight, pesq_loss
from percepnet_cli.training.model.floatmodel import read_weights, write_float_model
from percepnet_cli.training.model.torch_model import Dropout, PercepNet, State
from percepnet_cli.training.model.widen import widen
from percepnet_cli.training.options import Options
from percepnet_cli.training.processes import Group, flatten
from percepnet_cli.training.sampler import Draw

HOPS_PER_HOUR = 3600 * SAMPLE_RATE // HOP_SIZE
"""Hops in an hour of audio."""

BETAS = (0.9, 0.98)
"""Decay of the optimizer's two means."""

WEIGHT_DECAY = 0.01
"""Shrinks weight matrices by lr times this per step; our choice, keeps rows fit for 8 bits."""

MAX_GRADIENT_NORM = 1.0
"""Longer gradients are shortened to this."""

VALIDATION_SEQUENCES = 128
"""Sequences of the validation set that are used, always the same."""

VALIDATION_BATCH = 64
"""Sequences per forward pass of the validation."""

SKIPPED_AT_MOST = 20
"""Steps whose gradients were not finite, before the run gives up."""

LOSS, SECONDS, STOP, LOOK, SAVE, NUMBERS = range(6)
"""What travels with the gradients, by place behind them: the loss, the seconds of the leader's last step, and whether
some process wants to stop, to look for new shards, to write a checkpoint."""


def to_device(batch: Batch, device: torch.device) -> tuple[torch.Tensor, ...]:
    """Return the seven tensors of a batch as float32 on `device`."""
    return tuple(torch.from_numpy(array).to(device).float() for array in batch)


def make_optimizers(model: PercepNet, options: Options) -> list[torch.optim.Optimizer]:
    """Return what moves the weights: AdamW, or Muon for the matrices of the recurrent layers and AdamW for the rest.

    Muon's steps are scaled to the size of AdamW's, so one learning rate serves both (Liu et al. 2025).
    """
    recurrent: list[torch.nn.Parameter] = []
    decayed: list[torch.nn.Parameter] = []
    others: list[torch.nn.Parameter] = []
    for name, parameter in model.named_parameters():
        if options.optimizer == "muon" and parameter.dim() == 2 and "gru" in name:
            recurrent.append(parameter)
        else:
            (decayed if parameter.dim() > 1 else others).append(parameter)
    groups = [{"params": decayed, "weight_decay": WEIGHT_DECAY}, {"params": others, "weight_decay": 0.0}]
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(groups, lr=options.learning_rate, betas=BETAS, eps=1e-8, fused=True)
    ]
    if recurrent:
        if not hasattr(torch.optim, "Muon"):
            raise ValueError("this version of torch has no Muon; use --optimizer adamw, or torch 2.9 and later")
        optimizers.append(
            torch.optim.Muon(
                recurrent,
                lr=options.learning_rate,
                weight_decay=WEIGHT_DECAY,
                momentum=0.95,
                adjust_lr_fn="match_rms_adamw",
            )
        )
    return optimizers


class Trainer:
    """A run between its checkpoints.

    Parameters
    ----------
    train, valid
        The shards.
    out
        Folder of the checkpoint and the results.
    options
        The options of the run.
    """

    def __init__(self, train: Shards, valid: Shards, out: Path, options: Options) -> None:
        train.require(options.sequence_length)
        self.train = train
        self.out = out
        self.options = options
        self.device = torch.device(pick_device(options.device))
        self.group = Group(self.device)
        self.part = self.group.share(options.batch_size)
        self.feeder = Feeder(train, options, self.part)

        torch.manual_seed(options.seed)
        self.model = PercepNet(options.sizes).to(self.device)
        self.ema = PercepNet(options.sizes).to(self.device).requires_grad_(False)
        self.ema.precision = torch.float32  # what is exported is judged as it is
        self._weights, self._gradients = flatten(self.model.parameters(), extra=NUMBERS)
        (self._mean_weights,) = flatten(self.ema.parameters(), gradients=False)
        self.optimizers = make_optimizers(self.model, options)

        self.resumed = False
        self.last: Chunk | None = None
        self.step = 0
        self.hops = 0
        self.seconds = 0.0
        self.last_seconds = 0.0
        self.decay_start: float | None = None
        self.history: list[dict[str, float]] = []
        self.loss_sum = 0.0
        self.loss_count = 0
        self.skipped = 0
        self.state: State | None = None
        if options.pesq_weight:
            valid.require(SPAN_HOPS)
        hops = min(valid.hops, max(options.sequence_length, 400))
        self.valid = with_energy(valid.even_batch(VALIDATION_SEQUENCES, hops), options)
        self.checkpoint = out / "checkpoint.pt"

    def start(self) -> None:
        """Set the weights and the normalization of a new run."""
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
        self._plan_decay()

    def save(self) -> None:
        """Write the checkpoint, if there is anything new. All processes call this together."""
        last = self.last
        if last is None and self.resumed:
            return
        state = None if self.state is None else [self.group.columns_of_all(x, x.dim() - 2) for x in self.state]
        if not self.group.leads:
            return
        sampler = self.feeder.sampler
        content: dict[str, Any] = {
            "model": self.model.state_dict(),
            "ema": self.ema.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "step": self.step,
            "hops": self.hops,
            "seconds": self.seconds,
            "decay_start": self.decay_start,
            "history": self.history,
            "loss_sum": self.loss_sum,
            "loss_count": self.loss_count,
            "state": state,
            "sampler": sampler.state(self._last_draw()),
            "draw": None,
        }
        if last is not None and last.number + 1 < self.options.tbptt_chunks:
            picks = [list(pick) for pick in last.draw.picks]
            content["draw"] = {"number": last.draw.number, "picks": picks, "next": last.number + 1}
        write_checkpoint(self.checkpoint, self.options.hyperparameters(), content)

    def load(self) -> list[str]:
        """Go on from the checkpoint; return what has changed since it was written."""
        content, notes = read_checkpoint(
            self.checkpoint, self.options.hyperparameters(), self.device, self.options.allow_changes
        )
        if content["format_version"] == 2:
            content = _from_format_2(content)
        self.model.load_state_dict(content["model"])
        self.ema.load_state_dict(content["ema"])
        for optimizer, state in zip(self.optimizers, content["optimizers"], strict=True):
            optimizer.load_state_dict(state)
            for parameter, means in optimizer.state.items():
                # torch does not look, and would write beyond them
                if any(mean.dim() and mean.shape != parameter.shape for mean in means.values()):
                    raise ValueError(f"{self.checkpoint}: the optimizer's state is of another network")
        self.resumed = True
        self.step = content["step"]
        self.hops = content["hops"]
        self.seconds = content["seconds"]
        self.decay_start = content["decay_start"]
        self.history = content["history"]
        self.loss_sum = content["loss_sum"]
        self.loss_count = content["loss_count"]
        self.state = None
        if content["sampler"] is None:
            self.feeder.sampler.number = self.step
        else:
            self.feeder.sampler.restore(content["sampler"])
        self._plan_decay()

        # in the middle of sequences: the same ones again, with their states
        draw = content["draw"]
        if draw is not None and not any(note.startswith(("batch_size", "sequence", "tbptt")) for note in notes):
            picks = [Pick(*pick) for pick in draw["picks"]]
            there = dict(self.train.contents())
            if all(pick.shard in there for pick in picks):
                self.feeder.go_on(Draw(draw["number"], picks), draw["next"])
                first, count = self.part.start, self.part.stop - self.part.start
                self.state = State(*(x.narrow(x.dim() - 2, first, count).contiguous() for x in content["state"]))
        return notes

    def look_for_shards(self) -> list[str]:
        """Use the shards that are in the folder now; return what there is to say. All processes call this together."""
        names, lines = self.train.look(self.options.sequence_length) if self.group.leads else ([], [])
        new, gone = self.train.update(self.group.from_leader(names))
        if new or gone:
            hours = self.train.total_hops / HOPS_PER_HOUR
            lines.append(f"{new} new shards, {gone} are gone: {hours:.1f} h of mixtures")
        return lines

    def _plan_decay(self) -> None:
        """Let the decay of an open end begin now, if it is wanted and has not begun."""
        if self.options.decay_hours is None:
            self.decay_start = None
        elif self.decay_start is None:
            self.decay_start = self.hours()

    def has_end(self) -> bool:
        """Return whether the run ends by itself."""
        options = self.options
        return not (options.steps is None and options.minutes is None and options.decay_hours is None)

    def progress(self) -> float:
        """Return how much of the run is done, 0..1; 0 while it has an open end."""
        options = self.options
        if options.steps is not None:
            return self.step / max(options.steps, 1)
        if options.minutes is not None:
            return self.seconds / (60.0 * options.minutes)
        if self.decay_start is not None and options.decay_hours is not None:
            return (self.hours() - self.decay_start) / options.decay_hours
        return 0.0

    def learning_rate(self) -> float:
        """Return the rate of the next step."""
        options = self.options
        rate = options.learning_rate * schedule.warmup(self.step, options.warmup_steps)
        if options.steps is not None or options.minutes is not None:
            return rate * schedule.cosine(self.progress())
        return rate * schedule.decay(self.progress())

    def hours(self) -> float:
        """Return hours of audio trained."""
        return self.hops / HOPS_PER_HOUR

    def update(self, chunk: Chunk, stop: bool = False, look: bool = False, save: bool = False) -> torch.Tensor:
        """Do one step.

        stop, look, save: what this process wants to be done after it. Returns float32 [NUMBERS]: the loss, the seconds
        of the last step, and how many processes want each of these.
        """
        options = self.options
        tensors = to_device(chunk.batch, self.device)
        drop = {}
        if options.dropout:
            seed = options.seed + chunk.draw.number
            drop["drop"] = Dropout(options.dropout, seed, options.batch_size, self.part)

        gain, strength, after = self.model(tensors[0], self.state if chunk.number else None, **drop)
        more = chunk.number + 1 < options.tbptt_chunks
        self.state = State(*(part.detach() for part in after)) if more else None
        self._gradients.zero_()
        loss = self._losses(tensors, gain, strength, self.group)[0]
        loss.backward()

        # one sum over all processes, of gradients and of what they report to each other
        numbers = self._gradients[-NUMBERS:]
        wishes = (self.last_seconds if self.group.leads else 0.0, float(stop), float(look), float(save))
        numbers.copy_(torch.tensor([float(loss.detach()), *wishes], device=self.device))
        self.group.add_up(self._gradients)
        sums = numbers.cpu()

        gradients = self._gradients[:-NUMBERS]
        norm = float(torch.linalg.vector_norm(gradients))
        if not math.isfinite(norm):  # one bad batch must not end a long run
            self.skipped += 1
            if self.skipped >= SKIPPED_AT_MOST:
                raise ValueError(f"the gradient was not finite {SKIPPED_AT_MOST} times, last at step {self.step}")
        else:
            if norm > MAX_GRADIENT_NORM:
                gradients.mul_(MAX_GRADIENT_NORM / (norm + 1e-6))
            rate = self.learning_rate()
            for optimizer in self.optimizers:
                for group in optimizer.param_groups:
                    group["lr"] = rate
                optimizer.step()
            decay = min(options.ema_decay, (1.0 + self.step) / (10.0 + self.step))
            with torch.no_grad():
                self._mean_weights.lerp_(self._weights, 1.0 - decay)
        self.last = chunk
        self.step += 1
        self.hops += options.batch_size * options.sequence_length // options.tbptt_chunks
        self.seconds += float(sums[SECONDS])
        return sums

    def _losses(
        self, batch: tuple[torch.Tensor, ...], gain: torch.Tensor, strength: torch.Tensor, group: Group | None = None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return what is made small, and of it the losses of gain and strength, not weighted.

        group: the processes that share the batch; the sum of what they get is the loss of the whole batch.
        """
        features, *targets, ideal, energy = batch
        options = self.options
        if options.loud_band_weight:
            targets[2] = targets[2] * loud_band_weight(features, options.loud_band_weight)
        sums = torch.stack([targets[2].sum(), targets[3].sum()])
        if group is not None:
            sums = group.add_up(sums)
        gain_loss, strength_loss = losses(
            gain,
            strength,
            tuple(targets),
            options.loss,
            options.strength_asymmetry,
            options.over_attenuation_weight,
            Totals(*sums),
        )
        total = gain_loss + options.strength_weight * strength_loss
        share = 1.0 if group is None else 1.0 / group.size
        if options.pesq_weight:
            total = total + share * options.pesq_weight * pesq_loss(energy, ideal, gain)
        if options.sisdr_weight:
            total = total + share * options.sisdr_weight * sisdr_loss(energy, ideal, gain)
        return total, gain_loss, strength_loss

    def evaluate(self, model: PercepNet) -> tuple[float, float, float]:
        """Return what ``_losses`` does for the validation set, in float32."""
        precision, model.precision = model.precision, torch.float32
        with torch.no_grad():
            batch = to_device(self.valid, self.device)
            predictions = [model(part)[:2] for part in batch[0].split(VALIDATION_BATCH, dim=1)]
            gain, strength = (torch.cat(parts, dim=1) for parts in zip(*predictions, strict=True))
            total, gain_loss, strength_loss = self._losses(batch, gain, strength)
        model.precision = precision
        return float(total), float(gain_loss), float(strength_loss)

    def _last_draw(self) -> int:
        """Return the number of the draw that was trained on last; -1 before the first since the start."""
        return -1 if self.last is None else self.last.draw.number

    def validate(self) -> str:
        """Judge both sets of weights, write model, history and curves; return a line about it."""
        valid, *_ = self.evaluate(self.model)
        ema, ema_gain, ema_strength = self.evaluate(self.ema)
        train = self.loss_sum / self.loss_count if self.loss_count else math.nan
        self.loss_sum, self.loss_count = 0.0, 0
        heard, most = self.feeder.sampler.hearings(self.options.sequence_length, self._last_draw())
        row = {
            "step": self.step,
            "minutes": self.seconds / 60.0,
            "hours": self.hours(),
            "mixture_hours": self.train.total_hops / HOPS_PER_HOUR,
            "hearings": heard,
            "most_hearings": most,
            "learning_rate": self.learning_rate(),
            "train": train,
            "valid": valid,
            "valid_ema": ema,
            "valid_ema_gain": ema_gain,
            "valid_ema_strength": ema_strength,
        }
        self.history.append({name: float(value) for name, value in row.items()})
        self.write_model()
        write_history(self.out, self.history)
        parts = f"gain {ema_gain:.5f}, strength {ema_strength:.5f}"
        return f"validation {valid:.5f}, mean weights {ema:.5f} ({parts})"

    def write_model(self, half: bool = False) -> None:
        """Write the mean weights as a model file: in float32, or half of it in float16."""
        last = self.history[-1]
        training = {
            "steps": self.step,
            "hours": round(self.hours(), 3),
            "minutes": round(self.seconds / 60.0, 1),
            "loss": None if math.isnan(last["train"]) else last["train"],
            "loss_kind": self.options.loss,
            "validation": last["valid_ema"],
            "validation_gain": last["valid_ema_gain"],
            "validation_strength": last["valid_ema_strength"],
            "data": without_folders(self.train.description),
        }
        # what is heard of the noise left over is in that loss; the post-filter would take more than that
        post_filter = not self.options.pesq_weight
        name = "model-float16.safetensors" if half else "model.safetensors"
        write_float_model(self.out / name, self.ema, training, post_filter, half)


FORMAT_2_COLUMNS = (
    "step", "minutes", "hours", "learning_rate", "train", "valid", "valid_ema", "valid_ema_gain", "valid_ema_strength",
)  # fmt: skip
"""What a row of the history was in checkpoints of format 2."""


def _from_format_2(content: dict[str, Any]) -> dict[str, Any]:
    """Return the content of a checkpoint of format 2 as one of today's.

    Its batches followed from the number of the step, which the sampler cannot go on with: it begins a new round, and
    a sequence of which the first chunks were trained on is left.
    """
    before = content["identity"]
    hops = content["step"] * before["batch"] * before["hops"] // before.get("pieces", 1)
    history = [dict(zip(FORMAT_2_COLUMNS, row, strict=True)) for row in content["history"]]
    replaced = {"optimizers": content[renamed.OPTIMIZERS], "hops": hops, "history": history}
    return content | replaced | {"decay_start": None, "state": None, "sampler": None, "draw": None}


def pick_device(name: str) -> str:
    """Return ``cpu`` or ``cuda`` for ``auto``; say so if there is no CUDA device."""
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise ValueError("no CUDA device was found; use --device cpu")
    return ("cuda" if available else "cpu") if name == "auto" else name
