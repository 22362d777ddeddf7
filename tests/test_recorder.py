"""Recordings of a session, begun and ended by a key."""

from __future__ import annotations

from collections import deque

import numpy as np
import pytest
import soundfile

from percepnet_cli.errors import AudioError
from percepnet_cli.live.recorder import Recordings


def pairs(count):
    return deque((np.full((480, 1), 0.1, np.float32), np.full((480, 1), 0.2, np.float32)) for _ in range(count))


def test_two_recordings_one_after_the_other(tmp_path):
    with Recordings(48000, 1) as recordings:
        collected = pairs(3)
        assert recordings.write(collected) is None and not collected  # nothing is written: it is let go
        for number in range(2):
            names = [tmp_path / f"{number}-{side}.wav" for side in ("noisy", "clean")]
            recordings.begin(*names)
            assert recordings.names == f"{number}-noisy.wav, {number}-clean.wav"
            recordings.write(pairs(5 + number))
            if number == 0:
                recordings.end()
                assert recordings.names == ""
    for number in range(2):
        for side, value in (("noisy", 0.1), ("clean", 0.2)):
            samples, rate = soundfile.read(tmp_path / f"{number}-{side}.wav")
            assert (rate, len(samples)) == (48000, 480 * (5 + number)) and np.allclose(samples, value, atol=1e-4)


def test_names_by_the_time(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with Recordings(48000, 1) as recordings:
        recordings.begin_here()
        recordings.write(pairs(1))
        recordings.end()
    found = sorted(path.name for path in tmp_path.iterdir())
    assert len(found) == 2 and found[0].endswith("-clean.wav") and found[1].endswith("-noisy.wav")


def test_what_exists_is_not_replaced(tmp_path):
    (tmp_path / "a.wav").write_bytes(b"mine")
    with Recordings(48000, 1) as recordings, pytest.raises(AudioError, match="already exists"):
        recordings.begin(tmp_path / "a.wav", tmp_path / "b.wav")
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]
