"""What the arguments of ``percepnet denoise`` stand for: inputs, and a file, folder or pipe for what comes of them."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import click

from percepnet_cli.cli import standard_streams
from percepnet_cli.cli.printed import echo


def say_what_would_be_done(
    sources: list[str], target: str, folder: bool, suffix: str | None, force: bool, skip_existing: bool
) -> None:
    """Print a line for each file: its name, that of its result, and what happens to one that is there."""
    from percepnet_cli.batch.inputs import Item, collect
    from percepnet_cli.storage import remote

    items = collect(sources, target, suffix) if folder else [Item(sources[0], target, 0)]
    there = remote.existing([item.target for item in items if item.target != "-"])
    fate = "replaced" if force else "skipped" if skip_existing else "exists, so this fails; --force or --skip-existing"
    for item in items:
        echo(f"{item.source} -> {item.target}" + (f" ({fate})" if item.target in there else ""))


def sources_and_target(paths: tuple[str, ...], output: str | None, suffix: str | None) -> tuple[list[str], str]:
    """Return what goes in and where it goes; a file or folder alone gets a name beside it."""
    if output is not None:
        return list(paths), output
    if len(paths) > 1:
        return list(paths[:-1]), paths[-1]
    from percepnet_cli.audio.suffixes import CONTAINERS, FFMPEG_CONTAINERS
    from percepnet_cli.storage import remote

    source = paths[0]
    if source == "-":
        return [source], "-"
    if remote.is_pattern(source) or remote.is_url(source):
        raise click.UsageError("OUT is needed for a glob or URL.")
    path = remote.local(source)
    if os.path.isdir(path):
        return [source], os.path.join(os.path.abspath(path) + "-denoised", "")
    stem, own = os.path.splitext(path)
    kept = own if own.lower() in {*CONTAINERS, *FFMPEG_CONTAINERS} else ".wav"
    return [source], f"{stem}-denoised{suffix or kept}"


def means_folder(sources: Sequence[str], target: str) -> bool:
    """Return whether OUT is a folder. Raises AudioError if it must be one and is not."""
    from percepnet_cli.audio.suffixes import CONTAINERS, FFMPEG_CONTAINERS
    from percepnet_cli.errors import AudioError
    from percepnet_cli.storage import remote

    path = remote.local(target)
    if target != "-" and (path.endswith(("/", os.sep)) or os.path.isdir(path)):
        return True
    named = os.path.splitext(path)[1].lower() in {**CONTAINERS, **FFMPEG_CONTAINERS} or target == "-"
    many = len(sources) > 1 or remote.is_pattern(sources[0]) or (os.path.isdir(remote.local(sources[0])) and not named)
    if many and (os.path.exists(path) or named):
        raise AudioError(f"{target} is a file; with several inputs, give a folder for the results")
    return many or (remote.is_url(sources[0]) and not named)


def refuse_terminals(source: str, target: str) -> None:
    """Raise UsageError if sound would come from a terminal, or go to one or to nowhere."""
    if source == "-" and sys.stdin.isatty():
        raise click.UsageError("standard input is a terminal; sound is expected there.")
    if target == "-" and 1 in standard_streams.closed:
        raise click.UsageError("standard output is closed; sound is to go there.")
    if target == "-" and sys.stdout.isatty():
        raise click.UsageError("standard output is a terminal; redirect it.")
