"""Lossy results are about as large as their inputs, unless a quality is wanted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from rewritten import rewrite

from percepnet_cli.audio.files import open_reader
from percepnet_cli.audio.resample import resample

ROOT = Path(__file__).resolve().parents[1]


def copy(source: Path, target: Path, quality: float | None = None) -> float:
    with open_reader(rewrite(source, target, quality=quality)) as reader:
        return reader.bits_per_second


@pytest.mark.parametrize("name", ["mp3", "ogg", "opus"])
@pytest.mark.parametrize(("rate", "channels"), [(48000, 1), (48000, 2), (16000, 1)])
def test_the_bitrate_is_about_the_inputs(tmp_path, name, rate, channels):
    samples = resample(soundfile.read(ROOT / "examples" / "street.flac", frames=192000)[0], 48000, rate)
    samples = np.stack([samples, np.roll(samples, 40)][:channels], axis=1)
    kind = {"format": "OGG", "subtype": "OPUS"} if name == "opus" else {}
    for level in (0.15, 0.8):
        source = tmp_path / f"{level}.{name}"
        soundfile.write(source, samples, rate, compression_level=level, **kind)
        with open_reader(source) as reader:
            before = reader.bits_per_second
        assert before == pytest.approx(
            8 * source.stat().st_size * rate / len(samples), rel=0.25
        )  # headers do not count
        least = 0.6 if name == "ogg" else 0.8  # Vorbis takes what the sound needs
        assert least < copy(source, tmp_path / f"out.{name}") / before < 1 / least
        assert soundfile.info(tmp_path / f"out.{name}").frames == len(samples)


@pytest.mark.parametrize("name", ["mp3", "ogg", "opus"])
def test_a_quality_overrules_it(tmp_path, name):
    rates = [copy(ROOT / "examples" / "street.flac", tmp_path / f"out.{name}", quality) for quality in (0, 3, 6, 10)]
    assert rates == sorted(rates)
    assert rates[-1] > 2 * rates[0]


def test_a_cover_is_no_sound(tmp_path):
    source = tmp_path / "a.mp3"
    soundfile.write(source, soundfile.read(ROOT / "examples" / "street.flac", frames=192000)[0], 48000)
    with open_reader(source) as reader:
        before = reader.bits_per_second
    source.write_bytes(b"ID3\x04\0\0\0\x10\0\0" + bytes(0x10 << 14) + source.read_bytes())
    with open_reader(source) as reader:
        assert reader.bits_per_second == before
