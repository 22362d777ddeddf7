"""Much too soft recordings: raised by a power of two, and lowered again."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from percepnet_cli import Denoiser, denoise_file
from percepnet_cli.audio import level
from percepnet_cli.audio.level import LevelMeter, find_gain, raised
from percepnet_cli.audio.pipes import RawFormat

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def street():
    """Two seconds of the example with speech in them, float32 [n]."""
    return soundfile.read(ROOT / "examples" / "street.flac", frames=96000, dtype="float32")[0]


def metered(samples: np.ndarray, rate: int = 48000) -> LevelMeter:
    meter = LevelMeter(rate)
    meter.add(samples if samples.ndim == 2 else samples[:, None])
    return meter


@pytest.mark.parametrize("db", [-95, -80, -60, -45, -41, -39, -20, 0])
def test_the_gain_is_a_power_of_two_and_brings_the_usual_level(db):
    noise = np.random.default_rng(0).standard_normal(96000).astype(np.float32) * np.float32(10 ** (db / 20))
    meter = metered(noise)
    assert abs(meter.level_db - db) < 1
    if db > level.SOFT_DB:
        assert meter.gain == 1
    else:
        assert np.frexp(meter.gain)[0] == 0.5
        assert abs(db + 20 * np.log10(meter.gain) - level.USUAL_DB) < 4


@settings(deadline=None, max_examples=40)
@given(
    cuts=st.lists(st.integers(0, 30000), max_size=6),
    rate=st.sampled_from([8000, 44100, 48000]),
    channels=st.integers(1, 3),
)
def test_the_level_is_the_same_however_cut(cuts, rate, channels):
    samples = np.random.default_rng(1).standard_normal((30000, channels)).astype(np.float32)
    samples *= np.linspace(0, 1e-3, 30000, dtype=np.float32)[:, None]
    meter = LevelMeter(rate)
    for part in np.split(samples, sorted(cuts)):
        meter.add(part)
    assert meter.level_db == metered(samples, rate).level_db
    # the slow way
    hop = rate // 100
    energy = [
        max(np.mean(samples[start : start + hop, c].astype(float) ** 2) for c in range(channels))
        for start in range(0, len(samples) - hop + 1, hop)
    ]
    place = min(max(len(energy) // 10, 1), 100)
    assert meter.level_db == pytest.approx(10 * np.log10(sorted(energy)[-place]))


def test_silence_stays_and_a_click_raises_nothing():
    assert metered(np.zeros(48000, np.float32)).gain == 1
    assert metered(np.zeros(10, np.float32)).gain == 1
    soft = np.random.default_rng(0).standard_normal(480000).astype(np.float32) * np.float32(1e-3)
    soft[1000:1100] = 1.0
    assert metered(soft).gain > 8  # nor does it keep speech from being raised
    soft[:52800] = 0.5 * np.sign(soft[:52800])
    assert metered(soft).gain == 1  # a loud second is


class Recording:
    """A reader of soft noise that becomes loud."""

    def __init__(self, blocks: int, loud_from: int | None) -> None:
        self.blocks_left, self.loud_from, self.given = blocks, loud_from, 0

    def blocks(self, frames: int):
        rng = np.random.default_rng(0)
        for number in range(self.blocks_left):
            self.given += 1
            loud = self.loud_from is not None and number >= self.loud_from
            yield rng.standard_normal((frames, 1)).astype(np.float32) * np.float32(0.1 if loud else 1e-4)

    def __enter__(self):
        return self

    def __exit__(self, *exception) -> None:
        pass


@pytest.mark.parametrize(
    ("loud_from", "soft", "reopened", "read_ahead"),
    [(0, False, False, 2), (3, False, False, 5), (None, True, True, 42), (90, False, True, 42)],
)
def test_files_are_read_ahead_only_until_it_is_certain(monkeypatch, loud_from, soft, reopened, read_ahead):
    monkeypatch.setattr(level, "READ_AHEAD_BYTES", 4 * 48000 * 41)
    opened = []

    def reopen() -> Recording:
        opened.append(Recording(100, loud_from))
        return opened[-1]

    recording = Recording(100, loud_from)
    gain, blocks = find_gain(recording.blocks(48000), 48000, reopen, 48000)
    assert (gain > 1, bool(opened)) == (soft, reopened)
    assert recording.given <= read_ahead
    expected = list(Recording(100, loud_from).blocks(48000))
    assert all(np.array_equal(*pair) for pair in zip(blocks, expected, strict=True))


def denoised(folder: Path, samples: np.ndarray, name: str = "in.wav") -> np.ndarray:
    soundfile.write(folder / name, samples, 48000, subtype="FLOAT")
    denoise_file(folder / name, folder / "out.wav", model="percepnet", force=True)
    return soundfile.read(folder / "out.wav", dtype="float32")[0]


def test_a_soft_file_is_denoised_like_a_loud_one(tmp_path, street):
    usual = denoised(tmp_path, street)
    for exponent in (-10, -14):
        # powers of two: nothing is rounded, so the two differ by the gain alone
        soft = street * np.float32(2.0**exponent)
        factor = np.float32(metered(soft).gain * 2.0**exponent)
        expected = denoised(tmp_path, street * factor) / factor
        np.testing.assert_array_equal(denoised(tmp_path, soft) * np.float32(2.0**-exponent), expected)
        assert np.mean((expected - usual) ** 2) < 0.05 * np.mean(usual**2)


def test_what_is_loud_enough_and_what_comes_raw_is_not_touched(tmp_path, street, monkeypatch):
    np.testing.assert_array_equal(denoised(tmp_path, street), Denoiser("percepnet").denoise(street))
    soft = street * np.float32(2.0**-10)
    (tmp_path / "in.raw").write_bytes(soft.tobytes())
    denoise_file(tmp_path / "in.raw", tmp_path / "raw.wav", model="percepnet", raw=RawFormat(48000, 1, "f32le"))
    stream = Denoiser("percepnet")
    expected = np.concatenate((stream.process(soft), stream.flush()))[stream.latency :]
    np.testing.assert_array_equal(soundfile.read(tmp_path / "raw.wav", dtype="float32")[0], expected)


@pytest.mark.parametrize("rate", [48000, 16000])
def test_soft_arrays_are_denoised_as_loud_ones(street, rate):
    denoiser = Denoiser("lite")
    loud = denoiser.denoise(street, rate)
    for factor in (2.0**-10, 2.0**-12):
        soft = denoiser.denoise(street * np.float32(factor), rate)
        raised = metered(street * np.float32(factor), rate).gain
        np.testing.assert_allclose(
            soft / factor, denoiser.denoise(street * np.float32(factor * raised), rate) / (factor * raised), atol=1e-6
        )
        assert np.mean((soft / factor) ** 2) > 0.5 * np.mean(loud**2)


def test_samples_of_denormals_are_raised_by_what_float32_holds():
    samples = np.full((48000, 1), 1e-41, np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        louder, gain = raised(samples, 48000)
    assert gain == 2.0**126 and np.array_equal(louder, samples * np.float32(gain))
    assert np.isfinite(louder).all() and np.array_equal(louder / np.float32(gain), samples)
