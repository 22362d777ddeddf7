"""The options of a training run. Each option is written once: here, with its help, its range and its default."""

from __future__ import annotations

from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple

from percepnet_cli.network.graph import Sizes
from percepnet_cli.training import renamed

METADATA_KEY = "option"
"""Key of an :class:`Option` in the metadata of a field."""


NETWORK = "Network"
BATCHES = "Batches"
STEPS = "Steps"
LENGTH = "How long"
LOSS = "Loss"
MACHINE = "Machine"
FILES = "Checkpoints and scores"
"""Titles of the groups of options, in the order of the help."""


class Option(NamedTuple):
    """What a command line needs to know about a field of :class:`Options`."""

    help: str
    group: str
    """Title under which the help lists it."""
    choices: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None
    low_open: bool = False
    high_open: bool = False
    folder: bool = False
    """Whether a path is that of a folder."""
    run_control: bool = False
    """May change between two starts of a run: it says how long, where and how often, not what is learned."""


def _option(group: str, default: Any, text: str, **more: Any) -> Any:
    """Return a field of the dataclass with its option in the metadata."""
    return field(default=default, metadata={METADATA_KEY: Option(text, group, **more)})


@dataclass(frozen=True)
class Options:
    """The options of a run; ``percepnet train --help`` lists the same.

    At most one of `minutes` and `steps` is given. With neither the run has an open end: see ``schedule``.
    """

    sizes: Sizes
    batch_size: int = _option(
        BATCHES, 64, "Sequences per step, of all processes together; fewer need less memory.", low=1
    )
    sequence_length: int = _option(
        BATCHES, 400, "Hops (10 ms) per sequence; longer ones teach the network to remember.", low=8
    )
    tbptt_chunks: int = _option(
        BATCHES, 1, "Cut each sequence into so many chunks; a step after each, the state is carried on.", low=1
    )
    learning_rate: float = _option(
        STEPS, 1e-3, "Highest learning rate; halve it if the loss jumps.", low=0, run_control=True
    )
    warmup_steps: int = _option(STEPS, 200, "Steps over which the learning rate rises from 0.", low=1, run_control=True)
    minutes: float | None = _option(
        LENGTH, None, "Budget of trained time, over all starts.", low=0, low_open=True, run_control=True
    )
    steps: int | None = _option(LENGTH, None, "Budget of steps, instead of --minutes.", low=1, run_control=True)
    decay_hours: float | None = _option(
        LENGTH,
        None,
        "Without a budget: let the learning rate fall to 0 over the next so many hours of audio, then end.",
        low=0,
        low_open=True,
        run_control=True,
    )
    optimizer: str = _option(
        STEPS,
        "adamw",
        "What moves the weights; muon takes over the matrices of the recurrent layers.",
        choices=("adamw", "muon"),
    )
    ema_decay: float = _option(
        STEPS,
        0.999,
        "Decay per step of the running mean of the weights, which is what is kept.",
        low=0,
        high=1,
        high_open=True,
    )
    loss: str = _option(
        LOSS,
        "percepnet",
        "Loss of the gains: [Valin 2020], RNNoise, [Valin 2021], cross-entropy, or the first and half of the last.",
        choices=("percepnet", "rnnoise", "percepnet2021", "bce", "mixed"),
    )
    over_attenuation_weight: float = _option(
        LOSS,
        1.0,
        "How many times the error of a gain that is too low counts in a cell of speech alone; less with more noise.",
        low=0.1,
        high=10,
    )
    strength_weight: float = _option(LOSS, 0.5, "Weight of the strength's loss.", low=0)
    strength_asymmetry: float = _option(
        LOSS, 1.0, "How many times a strength counts that is too small, beside one that is too large.", low=0.1, high=10
    )
    loud_band_weight: float = _option(LOSS, 0.0, "How much loud bands count for more than quiet ones.", low=0, high=1)
    pesq_weight: float = _option(
        LOSS, 0.0, "Weight of what the ear hears of the difference to clean speech, as PESQ counts it.", low=0
    )
    sisdr_weight: float = _option(
        LOSS, 0.0, "Weight of the energy of what is not speech in the result, as SI-SDR counts it.", low=0
    )
    augment: bool = _option(
        BATCHES,
        False,
        "Give each sequence a random level and filter, anew in every step; for long runs.",
    )
    dropout: float = _option(
        STEPS,
        0.0,
        "Share of the units of each layer that a sequence is trained without; against overfitting.",
        low=0,
        high=1,
        high_open=True,
    )
    teacher: Path | None = _option(  # noqa: RUF009  (None does not change)
        LOSS,
        None,
        "Model to learn from, 8-bit or float: what it says of the same features is the teacher's target, instead of "
        "those of the shards. One that looks ahead teaches one that does not.",
        run_control=True,
    )
    distill_weight: float = _option(
        LOSS, 0.0, "How much a teacher's target counts beside the ideal one, where there is one.", low=0, high=1
    )
    distill_power: float = _option(
        LOSS, 1.0, "Raise a teacher's gains to this power; below 1 makes them milder.", low=0.1, high=10
    )
    max_hearings: int = _option(
        BATCHES,
        0,
        "Hear no mixture more often than this, then wait for new shards; 0 for no limit.",
        low=0,
        run_control=True,
    )
    seed: int = _option(BATCHES, 0, "Of the first weights and the batches.")
    threads: int = _option(MACHINE, 1, "Threads for products, in each process.", low=1, run_control=True)
    device: str = _option(
        MACHINE,
        "auto",
        "Where to compute; auto takes a CUDA device if there is one.",
        choices=("auto", "cpu", "cuda"),
        run_control=True,
    )
    checkpoint_minutes: float = _option(FILES, 3.0, "Time between checkpoints.", low=0, run_control=True)
    validate_minutes: float = _option(FILES, 4.0, "Time between validations.", low=0, run_control=True)
    model_minutes: float = _option(
        FILES, 30.0, "Time between float16 files of the mean weights.", low=0, run_control=True
    )
    score_pairs: Path | None = _option(  # noqa: RUF009  (None does not change)
        FILES,
        None,
        "Folder with clean/ and noisy/: denoise it with the mean weights now and then and score the results as "
        "`percepnet evaluate` does, beside the training.",
        folder=True,
        run_control=True,
    )
    score_minutes: float = _option(FILES, 30.0, "Time between these scores.", low=0, run_control=True)
    init: Path | None = _option(  # noqa: RUF009  (None does not change)
        NETWORK,
        None,
        "Model to start from, 8-bit or float; gives the sizes, or is widened to those asked for.",
        run_control=True,
    )
    fresh: bool = _option(FILES, False, "Start anew where OUT_DIR holds a run.", run_control=True)
    allow_changes: bool = _option(
        FILES,
        False,
        "Go on with a run although other options than those of run control have changed.",
        run_control=True,
    )

    def hyperparameters(self) -> dict[str, Any]:
        """Return what must not change between two starts: all but run control."""
        values = {one.name: getattr(self, one.name) for one in command_line_fields() if not option_of(one).run_control}
        return {"sizes": self.sizes.to_json(), **values}


def command_line_fields() -> list[Field[Any]]:
    """Return the fields that are options of the command line, in order."""
    return [one for one in fields(Options) if METADATA_KEY in one.metadata]


def option_of(one: Field[Any]) -> Option:
    """Return what is known about a field."""
    found: Option = one.metadata[METADATA_KEY]
    return found


def option_groups() -> dict[str, list[str]]:
    """Return the names of the options by the title of their group, as the command line writes them."""
    groups: dict[str, list[str]] = {title: [] for title in (NETWORK, BATCHES, STEPS, LENGTH, LOSS, MACHINE, FILES)}
    for one in command_line_fields():
        groups[option_of(one).group].append(f"--{one.name.replace('_', '-')}")
    return groups


def hyperparameters_of_format_2(identity: dict[str, Any]) -> dict[str, Any]:
    """Return the hyperparameters that a checkpoint of format 2 was made with, in today's names."""
    found: dict[str, Any] = {one.name: one.default for one in command_line_fields() if not option_of(one).run_control}
    found |= {renamed.OPTIONS.get(name, name): value for name, value in identity.items()}
    found["loss"] = renamed.LOSSES.get(found["loss"], found["loss"])
    found["sizes"] = Sizes(*found["sizes"]).to_json()
    return found
