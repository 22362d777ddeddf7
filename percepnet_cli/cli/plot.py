"""``percepnet plot``: pictures of what the program hears and does."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from percepnet_cli.cli.options import CommandWithSections, Number, as_options, post_filter_option
from percepnet_cli.cli.printed import echo, warn
from percepnet_cli.constants import DEFAULT_FILE_MODEL

LEAD_SECONDS = 3.0
"""What the network has heard before the segment that is drawn, if there is so much."""

EXAMPLES = """
    percepnet plot noisy.wav
    percepnet plot --output picture.svg --start 1 --seconds 0.5 noisy.wav

  Several recordings, a picture each:
    percepnet plot --output pictures/ --format svg recordings/one.wav recordings/two/three.flac
"""

OPTION_GROUPS = {
    "Picture": ["--output", "--format", "--force", "--start", "--seconds", "--highest"],
    "Sound": ["--model", "--post-filter"],
    "Work": ["--quiet"],
}


@click.command(cls=CommandWithSections, examples=EXAMPLES, option_groups=OPTION_GROUPS)
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--output",
    metavar="FILE|FOLDER",
    help="The picture, .png, .svg or .pdf; a folder for them, made if needed, with several FILEs or if it ends with "
    "'/'.  [default: FILE's name with .png, in the current folder]",
)
@click.option(
    "--format", "kind", type=click.Choice(["png", "svg", "pdf"]), help="Of pictures in a folder.  [default: png]"
)
@click.option("--start", "start_seconds", type=Number(min=0), default=0.0, metavar="SECONDS", help="Begin here.")
@click.option(
    "--seconds",
    type=Number(min=0, min_open=True),
    metavar="SECONDS",
    help="Draw so much.  [default: to the end]",
)
@click.option(
    "--highest",
    "highest_khz",
    type=Number(0.5, 24),
    default=16.0,
    show_default=True,
    metavar="KHZ",
    help="Where the spectrograms end.",
)
@click.option("--model", metavar="NAME|FILE", help=f"Network to use.  [default: {DEFAULT_FILE_MODEL}]")
@post_filter_option
@click.option("-f", "--force", is_flag=True, help="Replace pictures that exist.")
@click.option("-q", "--quiet", is_flag=True, help="Do not name the pictures.")
def plot(
    files: tuple[Path, ...],
    output: str | None,
    kind: str | None,
    start_seconds: float,
    seconds: float | None,
    highest_khz: float,
    model: str | None,
    post_filter: bool | None,
    force: bool,
    quiet: bool,
) -> None:
    """Draw recordings before and after.

    One picture for each FILE (the mean of its channels), from top to bottom over time: the spectrogram before and
    after; the pitch that was tracked, darker where its correlation is high; how coherent each of the 34 bands is with
    the comb-filtered signal; the gains and the filtering strengths that the network gives them. Coherence, pitch and
    its correlation are, with the bands' energies, all that the network gets to see.

    Needs the extra plots. With --start, three seconds before it are heard, so that the network knows the noise.
    """
    from percepnet_cli.plotting import figure as plots

    plots.require()
    folder, targets = _targets(files, output, kind)
    for target in targets:
        if folder is None or folder.is_dir():
            plots.check(target, force)
    from percepnet_cli.cli.progress import prepare
    from percepnet_cli.errors import PercepnetError
    from percepnet_cli.network.modelfile import load_file_model
    from percepnet_cli.storage.target import make_folder

    loaded = load_file_model(model)
    prepare(quiet)
    failures = []
    for path, target in zip(files, targets, strict=True):
        try:
            if folder is not None:
                make_folder(folder)
            _one(path, target, loaded, post_filter, start_seconds, seconds, highest_khz, force)
        except PercepnetError as error:
            failures.append(as_options(str(error)))
            continue
        if not quiet:
            echo(str(target))
    for text in failures:
        echo(f"Error: {text}", err=True)
    if failures:
        sys.exit(1)


def _targets(files: tuple[Path, ...], output: str | None, kind: str | None) -> tuple[Path | None, list[Path]]:
    """Return the folder to make, if any, and where each picture goes; refuse those that would overwrite each other."""
    many = len(files) > 1
    if output is not None and not many and not output.endswith("/") and not Path(output).is_dir():
        if kind is not None:
            raise click.UsageError("--format is for pictures in a folder; the name of a picture has its own.")
        return None, [Path(output)]
    if output is not None and many and Path(output).is_file():
        raise click.UsageError(f"{output} is a file; with several FILEs, give a folder.")
    targets = [Path(output or "") / f"{path.stem}.{kind or 'png'}" for path in files]
    if len(set(targets)) < len(targets):  # files of one name in several folders, or of several formats
        names = ["-".join((*path.parts[:-1], path.name)).lstrip("/-") for path in files]
        targets = [Path(output or "") / f"{name}.{kind or 'png'}" for name in names]
    if len(set(targets)) < len(targets):
        raise click.UsageError("a FILE is named twice.")
    return Path(output or ""), targets


def _one(
    path: Path,
    target: Path,
    model: object,
    post_filter: bool | None,
    start_seconds: float,
    seconds: float | None,
    highest_khz: float,
    force: bool,
) -> None:
    from percepnet_cli.audio.whole import read_mono
    from percepnet_cli.constants import HOP_SIZE, SAMPLE_RATE
    from percepnet_cli.errors import AudioError
    from percepnet_cli.network.modelfile import Model
    from percepnet_cli.plotting import figure as plots
    from percepnet_cli.plotting import views
    from percepnet_cli.plotting.trace import trace

    assert isinstance(model, Model)
    lead_hops = int(min(LEAD_SECONDS, start_seconds) * SAMPLE_RATE / HOP_SIZE)
    lead = lead_hops * HOP_SIZE
    begin = start_seconds - lead / SAMPLE_RATE
    samples = read_mono(path, begin, None if seconds is None else seconds + lead / SAMPLE_RATE, warn, any_scale=False)
    if len(samples) <= lead:
        raise AudioError(f"{path} ends before {start_seconds:g} s" if start_seconds else f"{path} holds no samples")
    seen = trace(samples, model, post_filter).after(lead_hops)
    figure = views.overview(str(path), samples[lead:], seen, start_seconds, highest_khz)
    plots.check(target, force)
    plots.save(figure, target, force)
