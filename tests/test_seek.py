"""Positions in recordings: what is read after a jump is what reading up to there would have given."""

from __future__ import annotations

import subprocess

import numpy as np
import pytest
import soundfile
from batch_files import EXAMPLE

from percepnet_cli import denoise_file
from percepnet_cli.audio import whole
from percepnet_cli.audio.files import open_reader
from percepnet_cli.audio.sndfile import Reader

RATE = 16000

KINDS = {
    "wav": "PCM_16", "flac": "PCM_16", "ogg": "VORBIS", "opus": "OPUS", "mp3": "MPEG_LAYER_III", "aiff": "PCM_24",
    "w64": "FLOAT", "caf": "ALAC_16", "WAV": "IMA_ADPCM", "Wav": "GSM610",
}  # fmt: skip


@pytest.fixture(scope="module")
def samples():
    """Noisy speech of 24 s at 16 kHz, float32 [n]."""
    speech = soundfile.read(EXAMPLE, dtype="float32")[0]
    return np.concatenate([speech, speech[::-1], speech])[::3]


@pytest.fixture
def recording(samples, tmp_path, request):
    suffix, encoding = request.param
    path = tmp_path / f"long.{suffix}"
    soundfile.write(path, samples, RATE, subtype=encoding, format="OGG" if suffix == "opus" else None)
    return path


def read(reader, frames=5000):
    return np.concatenate([np.zeros((0, reader.channels), np.float32), *reader.blocks(frames)])


def assert_same(found, expected):
    """Compare what decoders gave: those of Opus, and of MP3 at low rates, never forget quite where they began."""
    assert found.shape == expected.shape
    assert np.sum((found - expected) ** 2) <= 1e-5 * np.sum(expected**2)


@pytest.mark.parametrize("recording", KINDS.items(), indirect=True, ids=KINDS.values())
def test_what_follows_a_jump_is_what_reading_gives(recording):
    with open_reader(recording) as reader:
        expected = read(reader)
    with open_reader(recording) as reader:
        next(reader.blocks(100))
        for frame in (15 * RATE + 7, 999, len(expected) - 100, 8 * RATE, 0, len(expected) + 1):
            begin = reader.seek(frame)
            assert 0 <= begin <= frame
            if reader.subtype != "GSM610":  # which leads only forward
                assert begin == max(0, min(frame, len(expected)) - RATE)
            skipped = max(0, frame - begin)
            assert_same(read(reader)[skipped:], expected[frame:])


@pytest.mark.parametrize("recording", [("ogg", "VORBIS"), ("mp3", "MPEG_LAYER_III")], indirect=True)
def test_a_part_is_the_same_whether_its_beginning_is_read_or_skipped(recording, tmp_path, monkeypatch):
    part = {"model": "lite", "start_seconds": 18.3, "duration_seconds": 2.0}
    denoise_file(recording, tmp_path / "jumped.wav", **part)
    mono = whole.read_mono(recording, 18.3, 2.0)

    monkeypatch.setattr(Reader, "seek", None)  # nobody asks for it any more
    original = Reader.__init__

    def opened(self, *arguments):
        original(self, *arguments)
        self.seeks_exactly = False

    monkeypatch.setattr(Reader, "__init__", opened)
    denoise_file(recording, tmp_path / "read.wav", **part)
    assert_same(*(soundfile.read(tmp_path / name)[0] for name in ("jumped.wav", "read.wav")))
    assert_same(mono, whole.read_mono(recording, 18.3, 2.0))


@pytest.mark.ffmpeg
@pytest.mark.parametrize("suffix", ["m4a", "mka", "ts", "wma"])
def test_ffmpeg_leads_near_a_position(samples, tmp_path, suffix):
    soundfile.write(tmp_path / "long.wav", samples, RATE)
    path = tmp_path / f"long.{suffix}"
    subprocess.run(["ffmpeg", "-v", "error", "-i", tmp_path / "long.wav", "-b:a", "96k", path], check=True)
    with open_reader(path) as reader:
        expected = read(reader)[:, 0]
        for frame in (15 * RATE, 0, 8 * RATE):
            assert reader.seek(frame) == frame
            found = read(reader)[4000:36000, 0]
            nearby = expected[max(0, frame - RATE) :][: 4 * RATE]
            spectrum = np.fft.rfft(nearby, 131072) * np.fft.rfft(found, 131072).conj()
            place = np.argmax(np.fft.irfft(spectrum)) - 4000 - min(frame, RATE)
            assert abs(place) < 0.2 * RATE
        reader.seek(len(expected) + RATE)
        assert len(read(reader)) == 0


@pytest.mark.ffmpeg
def test_appended_parts_are_read_from_their_start(samples, tmp_path):
    for number in range(2):
        soundfile.write(tmp_path / f"{number}.mp3", samples[: 3 * RATE], RATE)
    path = tmp_path / "both.mp3"
    path.write_bytes((tmp_path / "0.mp3").read_bytes() + (tmp_path / "1.mp3").read_bytes())
    with open_reader(path) as reader:
        expected = read(reader)
        assert len(expected) > 5.9 * RATE and reader.seek(4 * RATE) == 0
        np.testing.assert_array_equal(read(reader), expected)
