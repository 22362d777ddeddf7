"""The state of a training run and what is done to it: a step, a validation, a checkpoint."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch

from percepnet_cli.constants import HOP_SIZE, SAMPLE_RATE
from percepnet_cli.training import schedule
from percepnet_cli.training.checkpoint import read_checkpoint, write_checkpoint
from percepnet_cli.training.curves import write_history
from percepnet_cli.training.data.shards import Pick, Shards
from percepnet_cli.training.data.teachers import without_folders
from percepnet_cli.training.feeder import Chunk, Feeder
from percepnet_cli.training.model.floatmodel import read_weights, write_float_model
from percepnet_cli.training.model.torch_model import Dropout, PercepNet, State
from percepnet_cli.training.model.widen import widen
from percepnet_cli.training.objective import distill, objective, to_device
from percepnet_cli.training.optimizers import make_optimizers
from percepnet_cli.training.options import Options
from percepnet_cli.training.processes import Group, flatten
from percepnet_cli.training.sampler import Draw
from percepnet_cli.training.validation import Validation, columns

HOPS_PER_HOUR = 3600 * SAMPLE_RATE // HOP_SIZE
"""Hops in an hour of audio."""

MAX_GRADIENT_NORM = 1.0
"""Longer gradients are shortened to this."""

SKIPPED_AT_MOST = 20
"""Steps whose gradients were not finite, before the run gives up."""

LOSS, SECONDS, STOP, LOOK, SAVE, NUMBERS = range(6)
"""What travels with the gradients, by place behind them: the loss, the seconds of the leader's last step, and whether
some process wants to stop, to look for new shards, to write a checkpoint."""


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
        if self.device.type == "cuda":
            # TF32: 10 bits of mantissa in the products, sums stay float32
            torch.set_float32_matmul_precision("high")
        self.group = Group(self.device)
        self.part = self.group.share(options.batch_size)
        self.feeder = Feeder(train, options, self.part)

        torch.manual_seed(options.seed)
        self.model = PercepNet(options.sizes).to(self.device)
        self.ema = PercepNet(options.sizes).to(self.device).requires_grad_(False)
        self.ema.precision = torch.float32  # what is exported is judged as it is
        self.teacher = None if options.teacher is None else _teacher(options.teacher, self.device)
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
        self.scores: list[dict[str, float]] = []
        self.loss_sum = 0.0
        self.loss_count = 0
        self.skipped = 0
        self.state: State | None = None
        self.validation = Validation(valid, options, self.device)
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

        # every process gives its part of the state; one of them writes
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
            "scores": self.scores,
            "loss_sum": self.loss_sum,
            "loss_count": self.loss_count,
            "state": state,
            "sampler": sampler.state(self._last_draw()),
            "draw": None,
        }

        # in the middle of sequences: which ones, and where
        if last is not None and last.number + 1 < self.options.tbptt_chunks:
            picks = [list(pick) for pick in last.draw.picks]
            content["draw"] = {"number": last.draw.number, "picks": picks, "next": last.number + 1}
        write_checkpoint(self.checkpoint, self.options.hyperparameters(), content)

    def load(self) -> list[str]:
        """Go on from the checkpoint; return what has changed since it was written."""
        content, notes = read_checkpoint(
            self.checkpoint, self.options.hyperparameters(), self.device, self.options.allow_changes
        )
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
        self.scores = content.get("scores", [])
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

        if self.teacher is not None:
            with torch.no_grad():
                said = self.teacher(tensors[0])
            tensors = distill(tensors, said[0], said[1], options)

        gain, strength, after = self.model(tensors[0], self.state if chunk.number else None, **drop)
        more = chunk.number + 1 < options.tbptt_chunks
        self.state = State(*(part.detach() for part in after)) if more else None
        self._gradients.zero_()
        loss = objective(tensors, gain, strength, options, self.group)[0]
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

    def _last_draw(self) -> int:
        """Return the number of the draw that was trained on last; -1 before the first since the start."""
        return -1 if self.last is None else self.last.draw.number

    def validate(self) -> str:
        """Judge both sets of weights, write model, history and curves; return a line about it."""
        valid, mean = self.validation.judge(self.model), self.validation.judge(self.ema)
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
            "valid": valid.loss,
            "valid_ema": mean.loss,
            "valid_ema_gain": mean.gain_loss,
            "valid_ema_strength": mean.strength_loss,
            **columns(mean.levels),
        }
        self.history.append({name: float(value) for name, value in row.items()})

        self.write_model()
        write_history(self.out, self.history, self.scores)
        levels = mean.levels
        return (
            f"validation {valid.loss:.5f}, mean weights {mean.loss:.5f} "
            f"(gain {mean.gain_loss:.5f}, strength {mean.strength_loss:.5f}); "
            f"speech {levels.speech_db:.1f} dB, noise {levels.noise_db:.1f} dB, "
            f"{levels.onsets_cut} of {levels.onsets} onsets cut"
        )

    def add_scores(self, row: dict[str, float]) -> str:
        """Keep the scores of pairs (see ``pair_scores``); return a line about them."""
        self.scores.append(row)
        write_history(self.out, self.history, self.scores)
        return (
            f"step {row['step']:.0f}, {row['hours']:.2f} h: the pairs have PESQ {row['pesq_wb']:.2f}, "
            f"STOI {row['stoi']:.3f}, OVRL {row['dnsmos_ovrl']:.2f}, P.808 {row['dnsmos_p808']:.2f}"
        )

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


def _teacher(path: Path, device: torch.device) -> PercepNet:
    """Return the network of a model's file, which nothing changes."""
    given = read_weights(path)
    network = PercepNet(given.sizes).to(device).requires_grad_(False)
    network.load_state_dict({name: torch.from_numpy(value) for name, value in given.tensors.items()})
    return network


def pick_device(name: str) -> str:
    """Return ``cpu`` or ``cuda`` for ``auto``; say so if there is no CUDA device."""
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise ValueError("no CUDA device was found; use --device cpu")
    return ("cuda" if available else "cpu") if name == "auto" else name
