"""``percepnet info``: what a sound file or a model says of itself."""

from __future__ import annotations

import sys
from typing import Any

import click

from percepnet_cli.cli.options import CommandWithSections
from percepnet_cli.cli.printed import echo, printable

EXAMPLES = """
    percepnet info noisy.wav talk.mp4
    percepnet info lite
    percepnet info --json runs/lite/model.safetensors
"""


@click.command(cls=CommandWithSections, examples=EXAMPLES)
@click.argument("paths", metavar="FILE|MODEL...", nargs=-1, required=True)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
def info(paths: tuple[str, ...], as_json: bool) -> None:
    """Say what is known of sound files and models.

    Of a sound file (nothing is decoded but its header): container, encoding, sample rate, channels, length, tags. Of a
    model, by file or by the name of a shipped one: kind, layers, weights, latency, SHA-256, and where it comes from.
    """
    import json

    from percepnet_cli.errors import AudioError, ModelError

    found, errors = [], []
    for path in paths:
        try:
            found.append(_describe(path))
        except (AudioError, ModelError) as error:
            errors.append(str(error))
    if as_json:
        echo(json.dumps(found, indent=2))
    else:
        for description in found:
            _print(description)
    for text in errors:
        echo(f"Error: {text}", err=True)
    if errors:
        sys.exit(1)


def _describe(path: str) -> dict[str, Any]:
    import os
    from pathlib import Path

    from percepnet_cli.errors import AudioError
    from percepnet_cli.network.modelfile import shipped_names
    from percepnet_cli.storage import remote

    path = remote.local(path)
    if (not os.path.exists(path) and path in shipped_names()) or path.lower().endswith(".safetensors"):
        return _describe_model(path)
    from percepnet_cli.audio import chunks, tags
    from percepnet_cli.audio.files import open_reader

    with open_reader(path) as reader:
        if not isinstance(reader.path, Path):
            raise AudioError(f"{path} is no file")
        beside, found = chunks.read(reader.path, reader.subtype), tags.read(reader.path)
        container, encoding = _names(reader)
        text = reader.tags | {name: "; ".join(values) for name, values in found.text.items()}
        return {
            "file": path,
            "container": container,
            "encoding": encoding,
            "sample_rate": reader.sample_rate,
            "channels": reader.channels,
            "frames": reader.frames,
            "seconds": reader.seconds,
            "kbit_per_second": reader.bits_per_second and round(reader.bits_per_second / 1000),
            "bytes": os.path.getsize(path),
            "warning": reader.warning,  # as far as the header tells
            "chunks": beside.kinds if beside else [],
            "pictures": [f"{one.mime}, {len(one.data)} bytes" for one in found.pictures],
            "chapters": [f"{begin:.3f} s: {name}" for begin, _, name in found.chapters or reader.chapters],
            "tracks": _tracks(reader),
            "tags": text,
        }


def _names(reader: Any) -> tuple[str, str]:
    """Return container and encoding: by soundfile's names, or by ffmpeg's of what that reads."""
    media = getattr(reader, "media", None)
    if media is None:
        return reader.format, reader.subtype
    return media.container, media.audio[0].codec


def _tracks(reader: Any) -> list[str]:
    """Return a line for each track of a film."""
    media = getattr(reader, "media", None)
    lines = []
    for track in media.tracks if media else ():
        rate = f"{track.sample_rate} Hz, {track.channels} channels" if track.kind == "audio" else ""
        speed = f"{track.bits_per_second / 1000:.0f} kbit/s" if track.bits_per_second else ""
        parts = (track.kind, track.codec, rate, speed, track.language, track.title)
        lines.append(" ".join(part for part in parts if part))
    return lines


def _describe_model(name: str) -> dict[str, Any]:
    from percepnet_cli.constants import SAMPLE_RATE
    from percepnet_cli.errors import ModelError
    from percepnet_cli.network.modelfile import find_model, load_model

    kind = "int8"
    try:
        model = load_model(name)
    except ModelError as error:
        try:
            model, kind = load_model(name, "float"), "float"
        except ModelError:
            raise error from None  # of the two, the kind that is to be expected
    return {
        "model": model.name,
        "file": str(find_model(name)[1]),
        "kind": kind,
        "sha256": model.digest,
        "weights": model.num_weights,
        "latency_ms": 1000 * model.latency_samples / SAMPLE_RATE,
        "bytes": find_model(name)[1].stat().st_size,
    } | {key: value for key, value in model.metadata.items() if key not in ("kind", "weights")}


def _print(description: dict[str, Any], indent: str = "  ") -> None:
    """Print one value a line, under the first, which is the name; what holds values itself stands further in."""
    name, *rest = description.items()
    if indent == "  ":
        echo(printable(str(name[1])))
    for key, value in rest if indent == "  " else description.items():
        label = printable(f"{indent}{key.replace('_', ' ')}")
        if isinstance(value, dict) and value:
            echo(label)
            _print(value, indent + "  ")
        elif value not in (None, {}, []):
            text = ", ".join(map(str, value)) if isinstance(value, list) else value
            echo(f"{label:<22} {f'{text:.3f}' if isinstance(text, float) else printable(str(text))}")
