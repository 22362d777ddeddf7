"""The recordings of the listening page in several versions, their spectrograms, and the players of both.

Our versions are made while the site is built. Those of other programs lie in ``others``, or in the folder that the
environment variable PEERS names: a folder for each program, with WAV, FLAC or Opus files named after the recordings. A
program that has no folder there is left out.
"""

from __future__ import annotations

import html
import io
import json
import os
import re
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
from matplotlib.figure import Figure

from percepnet_cli.audio.whole import read_mono
from percepnet_cli.plotting.views import draw_spectrogram

MARK = re.compile(r"<!-- (player|players)(?: (\w+))? -->")
"""Where players go: all of them, or that of one recording, before and after."""


class Recording(NamedTuple):
    """One recording of the page."""

    file: str
    """Name in examples/, whose README says where it comes from."""
    heard: str
    snr_db: int


RECORDINGS = (
    Recording("street.flac", "A street", 4),
    Recording("waves.opus", "Waves at a shore", 5),
    Recording("fan.opus", "A fan and mains hum, made by a computer", 3),
    Recording("crickets.opus", "Crickets", 0),
)
OWN = {
    "after": ("studio", ()),
    "percepnet": ("percepnet", ("--model", "percepnet")),
    "lite": ("lite", ("--model", "lite")),
    "limit": ("at most 12 dB", ("--attenuation-limit", "12")),
}
"""Versions that we make: what the button says, and the options."""
PEERS = {"rnnoise": ("RNNoise 0.2", "RNNoise 0.2"), "dfn": ("DeepFilterNet 3", "DeepFilterNet 3")}
"""Versions of others: what the button says, and the folder."""
OTHERS = Path(__file__).with_name("others")
"""What they made of the recordings of this page; docs/samples.md says with which versions."""
PICTURE_INCHES, PICTURE_DPI = (7.0, 2.0), 110


class Version(NamedTuple):
    """A recording as it is heard."""

    key: str
    name: str
    samples: np.ndarray
    rate: int


class Sample(NamedTuple):
    """A recording, all its versions, and what the program said of it."""

    recording: Recording
    versions: list[Version]
    report: dict[str, float]


@cache
def samples(root: Path) -> list[Sample]:
    """Return all recordings in all versions."""
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        for recording in RECORDINGS:
            sound, rate = soundfile.read(root / "examples" / recording.file, dtype="float32")
            soundfile.write(work / f"{stem(recording)}.flac", sound, rate, subtype="PCM_16")
        reports = {}
        for key, (_, options) in OWN.items():
            command = [sys.executable, "-m", "percepnet_cli", "denoise", "--quiet", "--report", "-", *options]
            command += [*(str(work / f"{stem(recording)}.flac") for recording in RECORDINGS), str(work / key)]
            answer = subprocess.run(command, cwd=root, check=True, stdout=subprocess.PIPE).stdout
            reports[key] = {Path(one["source"]).stem: one for one in json.loads(answer)["files"]}

        found = []
        for recording in RECORDINGS:
            name = stem(recording)
            versions = [version("before", "before", work / f"{name}.flac")]
            versions += [version(key, title, work / key / f"{name}.flac") for key, (title, _) in OWN.items()]
            versions += of_others(name)
            found.append(Sample(recording, versions, reports["after"][name]))
        return found


def stem(recording: Recording) -> str:
    """Return the name of a recording in the site."""
    return Path(recording.file).stem


def version(key: str, name: str, path: Path) -> Version:
    """Read a version from a file."""
    sound, rate = soundfile.read(path, dtype="int16")
    return Version(key, name, sound, rate)


def of_others(name: str) -> list[Version]:
    """Return the versions of other programs that are there."""
    peers = Path(os.environ.get("PEERS") or OTHERS)
    found = []
    for key, (title, folder) in PEERS.items():
        for suffix in (".flac", ".wav", ".opus"):
            path = peers / folder / f"{name}{suffix}"
            if path.is_file():
                found.append(version(key, title, path))
                break
    return found


def picture(sound: Path) -> bytes:
    """Return the spectrogram of a sound file as PNG, without axes, so that its width is the recording's length."""
    drawing = Figure(figsize=PICTURE_INCHES, dpi=PICTURE_DPI)
    axes = drawing.add_axes((0, 0, 1, 1))
    draw_spectrogram(axes, read_mono(sound))
    axes.set_axis_off()
    memory = io.BytesIO()
    drawing.savefig(memory, format="png")
    return memory.getvalue()


def files(root: Path) -> dict[str, bytes]:
    """Return the sound files of the page and their pictures: FLAC, which loses nothing and every browser plays."""
    made = {}
    with tempfile.TemporaryDirectory() as folder:
        for sample in samples(root):
            for one in sample.versions:
                name = f"{one.key}-{stem(sample.recording)}"
                path = Path(folder) / f"{name}.flac"
                soundfile.write(path, one.samples, one.rate, subtype="PCM_16")
                made[f"samples/{name}.flac"] = path.read_bytes()
                made[f"samples/{name}.png"] = picture(path)
    return made


def player(sample: Sample, keys: list[str] | None = None) -> str:
    """Return the player of a recording, of some versions or of all."""
    recording, name = sample.recording, stem(sample.recording)
    numbers = (
        f"SNR {recording.snr_db} dB",
        f"noise lowered by {sample.report['gain_reduction_db']:.0f} dB",
        f"speech in {100 * sample.report['speech_share']:.0f} % of the time",
    )

    parts = []
    for one in sample.versions:
        if keys is not None and one.key not in keys:
            continue
        title, file = html.escape(one.name), f"samples/{one.key}-{name}"
        alt = f"Spectrogram, 0 to 16 kHz: {html.escape(recording.heard)}, {title}"
        parts.append(
            f'<div class="player-version" data-name="{title}"><span class="player-name">{title}</span>'
            f'<img src="{file}.png" alt="{alt}" width="770" height="220">'
            f'<audio controls preload="metadata" src="{file}.flac" aria-label="{title}"></audio></div>'
        )

    caption = f"<figcaption><b>{html.escape(recording.heard)}</b><br>{', '.join(numbers)}</figcaption>"
    seconds = sample.report["seconds"]
    return (
        f'<figure class="player" data-seconds="{seconds}">{caption}<div class="player-versions">{"".join(parts)}</div>'
        "</figure>"
    )


def with_players(markdown: str, root: Path) -> str:
    """Put the players where a page asks for them."""

    def replace(match: re.Match[str]) -> str:
        if match[1] == "player":
            (sample,) = (one for one in samples(root) if stem(one.recording) == match[2])
            return player(sample, ["before", "after"])
        return "\n\n".join(player(sample) for sample in samples(root))

    return MARK.sub(replace, markdown)
