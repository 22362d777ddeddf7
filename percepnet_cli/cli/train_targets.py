"""``percepnet train-targets``: recordings in, features and targets out."""

from __future__ import annotations

import click

from percepnet_cli.cli.options import CommandWithSections, Number, jobs_option, scheduler_option
from percepnet_cli.cli.printed import echo, printable
from percepnet_cli.errors import sentence_of


class Place(click.ParamType):
    """A path, or a URL that fsspec knows."""

    name = "path"

    def __init__(self, **checks: bool) -> None:
        self._path = click.Path(**checks)  # type: ignore[arg-type]

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Check a path; a URL is looked at later."""
        from percepnet_cli.storage import remote

        return value if remote.is_url(value) else str(self._path.convert(remote.local(value), param, ctx))


SOURCE = Place(exists=True)

NAMED = 10
"""Recordings that could not be read whose names are listed."""

EXAMPLES = """
    percepnet train-targets runs/train --speech voices/ --noise noises/ --hours 20
    percepnet train-targets runs/valid --speech voices/ --noise noises/ --hours 1 --split validation

  On a Dask cluster, from and to an object store:
    percepnet train-targets s3://runs/train --speech s3://voices/ --noise s3://noises/ --scheduler tcp://host:8786
"""

OPTION_GROUPS = {
    "Recordings": ["--speech", "--noise", "--music", "--rir", "--split", "--audio-cache"],
    "Mixtures": ["--hours", "--recipe", "--seed", "--teacher"],
    "Work": ["--jobs", "--scheduler", "--quiet"],
}


@click.command("train-targets", cls=CommandWithSections, examples=EXAMPLES, option_groups=OPTION_GROUPS)
@click.argument("folder", metavar="OUTDIR", type=Place(file_okay=False))
@click.option(
    "--speech", multiple=True, required=True, type=SOURCE, help="Clean speech: folder, table or list; repeatable."
)
@click.option("--noise", multiple=True, required=True, type=SOURCE, help="Noise: likewise.")
@click.option("--music", multiple=True, type=SOURCE, help="Music, mixed in piece by piece: likewise; optional.")
@click.option("--rir", multiple=True, type=SOURCE, help="Room impulse responses (RIR): likewise; optional.")
@click.option(
    "--split",
    type=click.Choice(["train", "validation", "all"]),
    default="train",
    show_default=True,
    help="Which speakers and noises to use: 6 % of them, chosen by name, are kept for validation.",
)
@click.option(
    "--hours",
    type=Number(min=0, min_open=True),
    default=5.0,
    show_default=True,
    help="Length of all mixtures together.",
)
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of all that is drawn at random."
)
@click.option(
    "--recipe",
    type=click.Choice(["balanced", "varied", "recorded"]),
    default="balanced",
    show_default=True,
    help="What calls hold, alarms, music, crowds and soft speech included; a bit of everything; or mostly recorded "
    "noise at -6 to 16 dB.",
)
@click.option(
    "--audio-cache",
    type=click.Path(file_okay=False),
    help="Keep decoded recordings in this folder, 0.35 GB an hour, so that each is decoded once.",
)
@click.option(
    "--teacher",
    "teachers",
    multiple=True,
    help="Command that denoises the WAV files of one folder into another; its target is kept beside the ideal one;"
    " repeatable.",
)
@jobs_option
@scheduler_option
@click.option("-q", "--quiet", is_flag=True, help="Show no progress.")
def train_targets(
    folder: str,
    speech: tuple[str, ...],
    noise: tuple[str, ...],
    music: tuple[str, ...],
    rir: tuple[str, ...],
    split: str,
    hours: float,
    seed: int,
    recipe: str,
    audio_cache: str | None,
    teachers: tuple[str, ...],
    jobs: int | None,
    scheduler: str | None,
    quiet: bool,
) -> None:
    """Mix speech and noise into shards for training.

    OUTDIR gets the features of the mixtures and the ideal gains of their bands.

    A source is a folder or the URL of one (its sub-folders count as speakers), a .tsv or .csv table
    with a column "path" (and, if known, "speaker", "bandwidth_hz", "seconds", "collection", "kind"),
    or a text file with one path a line. No collection floods the others, whatever its size. The
    kind "words" marks single words, at most a tenth of the speech. The same seed and recordings
    give the same shards; after an interruption the same command makes what is missing.
    """
    import sys

    from tqdm import tqdm

    from percepnet_cli.parallel.pool import available_cores
    from percepnet_cli.training.data.corpus import Faults
    from percepnet_cli.training.data.generate import generate, make_plan
    from percepnet_cli.training.data.recipe import RECIPES

    faults = Faults()
    try:
        plan = make_plan(speech, noise, rir, split, seed, RECIPES[recipe], teachers, audio_cache, music)
        if not quiet:
            echo(
                f"{len(plan.speech)} recordings of {len({r.group for r in plan.speech})} speakers, "
                f"{len(plan.noise)} of noise, {len(plan.rirs)} RIRs",
                err=True,
            )
        bar = tqdm(
            unit="h",
            disable=quiet or not sys.stderr.isatty(),
            bar_format="{l_bar}{bar}| {n:.2f}/{total:.2f} h [{elapsed}<{remaining}]",
        )
        with bar:
            for done, total in generate(plan, folder, hours, jobs or available_cores(), faults, scheduler):
                bar.total = total
                bar.update(done - bar.n)
        _tell(faults.unreadable, "could not be read or are silent, and were left out")
        _tell(faults.unwhole, "end early or are damaged, and were used as far as they go")
    except (ValueError, OSError) as error:
        raise click.ClickException(printable(sentence_of(error))) from None


def _tell(paths: set[str], what: str) -> None:
    """Print what is wrong with recordings, if there are any, and name the first of them."""
    if paths:
        names = sorted(paths)
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        echo(f"{len(names)} recordings {what}: {', '.join(names[:NAMED])}{more}", err=True)
