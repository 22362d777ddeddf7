"""``percepnet bench``: how much of a core it takes."""

from __future__ import annotations

from pathlib import Path

import click

from percepnet_cli.cli.options import CommandWithSections, Number
from percepnet_cli.cli.printed import echo, warn
from percepnet_cli.constants import DEFAULT_MODEL

EXAMPLES = """
    percepnet bench
    percepnet bench --random-weights --json > random.json
    percepnet bench --compare before.json after.json
    percepnet bench --hours 10
"""

OPTION_GROUPS = {
    "What to time": ["--model", "--random-weights", "--audio"],
    "How long": ["--seconds", "--runs", "--live", "--hours"],
    "Results": ["--json", "--plot", "--force", "--compare"],
}


@click.command(cls=CommandWithSections, examples=EXAMPLES, option_groups=OPTION_GROUPS)
@click.option("--model", metavar="NAME|FILE", help=f"Network to time.  [default: {DEFAULT_MODEL}]")
@click.option("--random-weights", is_flag=True, help="Time random weights in the shape of the 8 M network.")
@click.option("--seconds", type=Number(min=1), default=20.0, show_default=True, help="Audio per run.")
@click.option("--runs", type=click.IntRange(min=1), default=5, show_default=True, help="Runs; the median counts.")
@click.option(
    "--live",
    type=Number(min=0),
    default=10.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to give one hop every 10 ms by the clock; 0 leaves it out.",
)
@click.option(
    "--hours",
    type=Number(min=0, min_open=True),
    help="Run one stream of so many hours of audio instead and show what each hour cost.",
)
@click.option(
    "--audio",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Recording to run on.  [default: a synthetic one; the cost does not depend on it]",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option(
    "--plot",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="PNG",
    help="Draw the stages and the times of hops (needs the extra 'plots').",
)
@click.option("-f", "--force", is_flag=True, help="Replace PNG if it exists.")
@click.option(
    "--compare",
    nargs=2,
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="JSON JSON",
    help="Show two results of --json beside each other; measures nothing.",
)
def bench(
    model: str | None,
    random_weights: bool,
    seconds: float,
    runs: int,
    live: float,
    hours: float | None,
    audio: Path | None,
    as_json: bool,
    plot: Path | None,
    force: bool,
    compare: tuple[Path, Path] | None,
) -> None:
    """Measure the speed on this machine.

    Times one channel on one thread: in blocks, as files are processed; hop by hop (10 ms) without
    pause; and live, a hop every 10 ms by the clock, when caches have gone cold and the CPU has
    slept, in the thread of `percepnet live` and from Python. Shows each stage's share, start-up
    and memory. Close other programs first.
    """
    import json

    from percepnet_cli.benchmark.report import compared, draw, read, text_of

    if compare:
        echo(compared(*(read(path) for path in compare)))
        return

    from percepnet_cli.benchmark.measure import measure, measure_hours, random_model
    from percepnet_cli.network.graph import PRESETS
    from percepnet_cli.network.modelfile import load_model
    from percepnet_cli.plotting import figure as plots

    if plot is not None:
        plots.check(plot, force)
    samples = _samples(seconds, audio)
    network = random_model(PRESETS["percepnet"]) if random_weights else load_model(model)
    if hours is not None:
        each = measure_hours(network, samples, hours)
        if as_json:
            echo(json.dumps({"model": network.name, "digest": network.digest[:12], "hours": each}, indent=2))
            return
        echo(f"model {network.name}; one stream of {hours:g} h of audio, one channel, one thread")
        for number, hour in enumerate(each, 1):
            memory = "" if hour["memory_mib"] is None else f"  memory {hour['memory_mib']:6.1f} MiB"
            echo(f"hour {number:3d}  CPU {hour['cpu_seconds']:7.2f} s{memory}")
        return
    report = measure(network, samples, runs, live, None if random_weights else model or DEFAULT_MODEL)
    echo(json.dumps(report.json(), indent=2) if as_json else text_of(report))
    if report.noisy_machine:
        echo("something else keeps this machine busy: the runs differ, or had to wait, by more than 10 %", err=True)
    if plot is not None:
        draw(report, plot, force)


def _samples(seconds: float, audio: Path | None):  # type: ignore[no-untyped-def]  # an array; numpy comes in here
    import numpy as np

    from percepnet_cli.audio.whole import read_mono
    from percepnet_cli.constants import SAMPLE_RATE

    size = int(seconds * SAMPLE_RATE)
    if audio is None:
        return (0.05 * np.random.default_rng(0).standard_normal(size)).astype(np.float32)
    recorded = read_mono(audio, warn=warn)
    if len(recorded) == 0:
        raise click.ClickException(f"{audio} holds no samples")
    return np.resize(recorded, size)
