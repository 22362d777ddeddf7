"""``percepnet train``: train the network on shards of features and targets."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import MISSING
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import click

from percepnet_cli.cli.options import CommandWithSections, Number
from percepnet_cli.cli.printed import echo, printable
from percepnet_cli.errors import sentence_of
from percepnet_cli.extras import sentence
from percepnet_cli.network.graph import PRESETS, Sizes
from percepnet_cli.training.options import (
    MACHINE,
    NETWORK,
    Options,
    command_line_fields,
    option_groups,
    option_of,
)

_FOLDER = click.Path(path_type=Path, file_okay=False)
Function = TypeVar("Function", bound=Callable[..., Any])


def training_options(function: Function) -> Function:
    """Add an option for each field of ``training.options.Options`` that has one."""
    hints = get_type_hints(Options)
    for one in reversed(command_line_fields()):
        option = option_of(one)
        names = [f"--{one.name.replace('_', '-')}", one.name]
        kind = hints[one.name]
        assert one.default is not MISSING

        shown = one.default not in (None, False)
        settings: dict[str, Any] = {"default": one.default, "show_default": shown, "help": option.help}

        # The type of the field, and its range, decide the kind of option
        if kind is bool:
            settings["is_flag"] = True
        elif option.choices:
            settings["type"] = click.Choice(option.choices)
        elif kind in (int, int | None):
            low, high = (None if end is None else int(end) for end in (option.low, option.high))
            settings["type"] = click.INT if low is None and high is None else click.IntRange(low, high)
        elif kind in (float, float | None):
            settings["type"] = Number(option.low, option.high, min_open=option.low_open, max_open=option.high_open)
        else:
            settings["type"] = click.Path(path_type=Path, dir_okay=option.folder, file_okay=not option.folder)

        function = click.option(*names, **settings)(function)
    return function


EXAMPLES = """
    percepnet train shards/train shards/valid runs/lite --minutes 600
"""


OPTION_GROUPS = option_groups()
OPTION_GROUPS[NETWORK] = ["--preset", "--sizes", "--bidirectional", *OPTION_GROUPS[NETWORK]]
OPTION_GROUPS[MACHINE] = ["--processes", *OPTION_GROUPS[MACHINE]]


@click.command(cls=CommandWithSections, examples=EXAMPLES, option_groups=OPTION_GROUPS)
@click.argument("train_dir", type=_FOLDER)
@click.argument("valid_dir", type=_FOLDER)
@click.argument("out_dir", type=_FOLDER)
@click.option("--preset", type=click.Choice(sorted(PRESETS)), help="Named sizes.  [default: lite]")
@click.option("--sizes", "widths", help="Widths: dense,conv1,conv2,gru,gain_gru,strength_gru.")
@click.option("--bidirectional", is_flag=True, help="With --sizes: recurrent layers in both directions.")
@click.option(
    "--processes",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Share each batch between so many processes on this machine.",
)
@training_options
def train(
    train_dir: Path,
    valid_dir: Path,
    out_dir: Path,
    preset: str | None,
    widths: str | None,
    bidirectional: bool,
    processes: int,
    **given: Any,
) -> None:
    """Train the network on shards of mixtures.

    TRAIN_DIR and VALID_DIR hold what `train-targets` made, OUT_DIR gets checkpoint.pt, model.safetensors, model-
    float16.safetensors, history.csv and curves.png. A run can be stopped at any time; the same command goes on
    where it was. Without --minutes and --steps it has an open end: add --decay-hours when it shall end. Several
    machines share a run under torchrun.
    """
    if preset is not None and widths is not None:
        raise click.UsageError("Give either --preset or --sizes.")
    if bidirectional and widths is None:
        raise click.UsageError("--bidirectional goes with --sizes; --preset studio has both directions.")
    try:
        import torch  # noqa: F401
    except ModuleNotFoundError as error:
        raise click.ClickException(sentence("training", ["torch"])) from error
    from percepnet_cli.training.train import run

    workers = _start_workers(processes) if processes > 1 and "RANK" not in os.environ else []
    try:
        options = Options(sizes=_sizes(preset, widths, bidirectional, given["init"]), **given)
        result = run(train_dir, valid_dir, out_dir, options, log=echo)
    except (ValueError, OSError, RuntimeError) as error:
        for worker in workers:
            worker.kill()
        if isinstance(error, RuntimeError) and not os.environ.get("WORLD_SIZE"):
            raise
        raise click.ClickException(printable(sentence_of(error))) from error
    for worker in workers:
        worker.wait()
    if os.environ.get("RANK", "0") == "0":
        if result.finished:
            echo(f"Finished after {result.step} steps: {out_dir / 'model.safetensors'}")
        else:
            echo(f"Stopped after {result.step} steps; the same command goes on from there.")
    if not result.finished and result.signal is not None:
        raise click.exceptions.Exit(128 + result.signal)


def _sizes(preset: str | None, widths: str | None, bidirectional: bool, init: Path | None) -> Sizes:
    """Return the sizes that are asked for, or those of the model to start from."""
    from percepnet_cli.training.model.floatmodel import read_weights

    if widths is not None:
        try:
            numbers = [int(part) for part in widths.split(",")]
        except ValueError:
            numbers = []
        if len(numbers) != 6 or min(numbers) < 1:
            raise click.BadParameter("six positive whole numbers with commas between them.", param_hint="--sizes")
        dense, conv1, conv2, gru, gain_gru, strength_gru = numbers
        return Sizes(dense, conv1, conv2, gru, gain_gru, strength_gru, bidirectional=bidirectional)
    if preset is None and init is not None:
        return read_weights(init).sizes
    return PRESETS[preset or "lite"]


def _start_workers(processes: int) -> list[subprocess.Popen[bytes]]:
    """Start the same command for ranks 1.., as torchrun would, and let this process be rank 0."""
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    meeting = {"WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    command = [sys.executable, "-m", "percepnet_cli", *sys.argv[1:]]
    os.environ.update(meeting, RANK="0")
    return [
        subprocess.Popen(command, env=os.environ | {"RANK": str(rank), "LOCAL_RANK": str(rank)})
        for rank in range(1, processes)
    ]
