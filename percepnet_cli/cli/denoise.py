"""``percepnet denoise``: one file in, one file out."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from percepnet_cli.cli.options import denoiser_options


@click.command()
@click.argument("source", metavar="IN", type=click.Path(path_type=Path))
@click.argument("target", metavar="OUT", type=click.Path(path_type=Path))
@denoiser_options
@click.option("--force", is_flag=True, help="Replace OUT if it exists.")
@click.option("--quiet", is_flag=True, help="Show no progress.")
def denoise(
    source: Path,
    target: Path,
    model: str | None,
    attenuation_limit_db: float | None,
    no_post_filter: bool,
    independent_channels: bool,
    force: bool,
    quiet: bool,
) -> None:
    """Remove the noise from a recording of speech.

    IN may have any sample rate from 8 to 192 kHz, any number of channels and any format of
    libsndfile: WAV, FLAC, MP3, Ogg Vorbis and Opus, AIFF, CAF... OUT gets the format of its
    extension, with the sample rate, channels, length and alignment of IN, and its bits per
    sample where the format has them.

    \b
    Example:
        percepnet denoise noisy.wav clean.wav
        percepnet denoise --attenuation-limit 12 interview.mp3 interview.flac
    """  # noqa: D301  (click wants the control character)
    from percepnet_cli.files import denoise_file

    with _progress(quiet) as progress:
        try:
            denoise_file(
                source,
                target,
                model=model,
                attenuation_limit_db=attenuation_limit_db,
                post_filter=not no_post_filter,
                linked=not independent_channels,
                force=force,
                progress=progress,
            )
        except ValueError as error:
            raise click.ClickException(str(error)) from error


@contextmanager
def _progress(quiet: bool) -> Iterator[Callable[[float, float | None], None]]:
    """Yield a function that shows seconds of audio done and expected on a terminal."""
    bar: Any = None

    def show(done: float, total: float | None) -> None:
        nonlocal bar
        if quiet:
            return
        if done == 0:
            _announce_compilation()
        if not sys.stderr.isatty():
            return
        if bar is None:
            from tqdm import tqdm

            counts = "{l_bar}{bar}| {n:.0f}/{total:.0f} s [{elapsed}<{remaining}]" if total else None
            bar = tqdm(total=total or None, unit="s", bar_format=counts)
        bar.update(done - bar.n)

    try:
        yield show
    finally:
        if bar is not None:
            bar.close()


def _announce_compilation() -> None:
    from percepnet_cli.jit import is_cold

    if is_cold():
        click.echo("compiling the kernels (first run only, some 10 s) ...", err=True)
