"""A sound file written anew by the program's own reader and writer, nothing denoised."""

from __future__ import annotations

from pathlib import Path

from percepnet_cli.audio.files import open_reader, open_writer

BLOCK = 5000
"""Samples at a time: no multiple of anything."""


def rewrite(source: Path, target: Path, scale: float = 1.0, force: bool = True, quality: float | None = None) -> Path:
    """Write a file as another one of its kind, times a scale; return the other one."""
    with open_reader(source) as reader, open_writer(target, like=reader, force=force, quality=quality) as writer:
        for block in reader.blocks(BLOCK):
            writer.write(block * scale)
    return target
