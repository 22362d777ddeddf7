"""``percepnet train-targets``: recordings in, features and ideal answers out."""

from __future__ import annotations

from pathlib import Path

import click

SOURCE = click.Path(exists=True, path_type=Path)


@click.command("train-targets")
@click.argument("folder", metavar="OUTDIR", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--speech", multiple=True, required=True, type=SOURCE, help="Clean speech: folder, table or list; repeatable."
)
@click.option("--noise", multiple=True, required=True, type=SOURCE, help="Noise: likewise.")
@click.option("--rooms", multiple=True, type=SOURCE, help="Room impulse responses: likewise; optional.")
@click.option(
    "--part",
    type=click.Choice(["train", "validation", "all"]),
    default="train",
    show_default=True,
    help="Which speakers and noises to use: 6 % of them, chosen by name, are kept for validation.",
)
@click.option(
    "--hours",
    type=click.FloatRange(min=0, min_open=True),
    default=5.0,
    show_default=True,
    help="Length of all mixtures together.",
)
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of all that is drawn at random."
)
@click.option("--jobs", type=click.IntRange(min=1), help="Processes.  [default: the cores]")
@click.option("--quiet", is_flag=True, help="Show no progress.")
def train_targets(
    folder: Path,
    speech: tuple[Path, ...],
    noise: tuple[Path, ...],
    rooms: tuple[Path, ...],
    part: str,
    hours: float,
    seed: int,
    jobs: int | None,
    quiet: bool,
) -> None:
    """Mix speech and noise, and write features and ideal gains to OUTDIR.

    A source is a folder (its sub-folders count as speakers), a .tsv or .csv table
    with a column "path" (and, if known, "speaker" and "bandwidth_hz"), or a text file
    with one path a line. The same seed and recordings give the same shards; after
    an interruption the same command makes what is missing.

    \b
    Example:
        percepnet train-targets runs/train --speech voices/ --noise noises/ --hours 20
        percepnet train-targets runs/valid --speech voices/ --noise noises/ --hours 1 --part validation
    """  # noqa: D301  (click wants the control character)
    import os
    import sys

    from tqdm import tqdm

    from percepnet_cli.training.generate import generate, make_plan
    from percepnet_cli.training.mixture import RECIPE

    unreadable: set[str] = set()
    try:
        plan = make_plan(speech, noise, rooms, part, seed, RECIPE)
        if not quiet:
            click.echo(
                f"{len(plan.speech)} recordings of {len({r.group for r in plan.speech})} speakers, "
                f"{len(plan.noise)} of noise, {len(plan.rooms)} of rooms",
                err=True,
            )
        bar = tqdm(
            unit="h",
            disable=quiet or not sys.stderr.isatty(),
            bar_format="{l_bar}{bar}| {n:.2f}/{total:.2f} h [{elapsed}<{remaining}]",
        )
        with bar:
            for done, total in generate(plan, folder, hours, jobs or os.cpu_count() or 1, unreadable):
                bar.total = total
                bar.update(done - bar.n)
        if unreadable:
            click.echo(
                f"{len(unreadable)} recordings could not be read and count as silence, {min(unreadable)} for one",
                err=True,
            )
    except (ValueError, OSError) as error:
        raise click.ClickException(str(error)) from None
