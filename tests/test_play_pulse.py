"""`percepnet play` and `demo` on real PortAudio: a PulseAudio daemon of our own is the sound card."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import numpy as np
import pulse
import pytest
import soundfile
from batch_files import EXAMPLE, wait_for

from percepnet_cli.file_denoiser import denoise_file

pytestmark = [
    pytest.mark.alone,
    pytest.mark.skipif(pulse.missing() is not None, reason=str(pulse.missing())),
]


@pytest.fixture(scope="module")
def server():
    with pulse.Server() as running:
        yield running


@pytest.fixture
def recording(tmp_path):
    samples = soundfile.read(EXAMPLE, dtype="float32", frames=240000)[0]
    soundfile.write(tmp_path / "noisy.wav", samples, 48000, subtype="FLOAT")
    denoise_file(tmp_path / "noisy.wav", tmp_path / "clean.wav", model="lite")
    return tmp_path / "noisy.wav"


def start(server, *arguments):
    """Begin a command whose standard input is a terminal; return the process and where keys are typed."""
    keys, terminal = os.openpty()
    command = [sys.executable, "-m", "percepnet_cli", *map(str, arguments)]
    process = server.popen(command, stdin=terminal, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    os.close(terminal)
    return process, keys


def played(server, recording):
    return pulse.captured(recording)[:, 1]


def found(samples, speaker):
    """Return how well samples came out and where: medians over parts, since a busy machine may spoil one."""
    parts = [samples[at : at + 32000] for at in range(0, len(samples) - 31999, 32000)]
    places = [pulse.place(part, speaker) for part in parts]
    quality = [pulse.si_sdr_db(speaker[at : at + len(part)], part) for part, at in zip(parts, places, strict=True)]
    return np.median(quality), np.median(places)


def test_space_changes_between_before_and_after_at_the_same_position(server, recording):
    room = server.capture()
    process, keys = start(server, "play", "--model", "lite", "--output", "speaker", recording)
    wait_for(lambda: np.abs(pulse.stored(room)[:, 1]).max(initial=0) > 0.01)
    time.sleep(1.5)
    os.write(keys, b"w ")
    _, messages = process.communicate(timeout=60)
    os.close(keys)
    time.sleep(0.5)
    assert process.returncode == 0, messages
    speaker = played(server, room)

    # The first second is the denoised one, the last the recorded one, as far apart as in the file
    noisy, clean = (soundfile.read(path, dtype="float32")[0] for path in (recording, recording.with_name("clean.wav")))
    after, first = found(clean[24000:60000], speaker)
    before, last = found(noisy[204000:236000], speaker)
    assert after > 20 and before > 20
    assert first < last

    # What was heard was written when w was pressed
    assert f"{recording.with_name('noisy-denoised.wav')} is written, all of the noise lowered" in messages
    written = soundfile.read(recording.with_name("noisy-denoised.wav"), dtype="float32")[0]
    np.testing.assert_array_equal(written, clean)


def test_keys_end_it_and_lead_elsewhere(server, recording):
    room = server.capture()
    process, keys = start(server, "play", "--model", "lite", "--output", "speaker", "--start", "4", recording)
    wait_for(lambda: np.abs(pulse.stored(room)[:, 1]).max(initial=0) > 0.003)
    os.write(keys, b"\x1b[D")  # back to the start: else it would end within a second
    time.sleep(2)
    os.write(keys, b"q")
    _, messages = process.communicate(timeout=30)
    os.close(keys)
    assert (process.returncode, messages) == (0, "")
    clean = soundfile.read(recording.with_name("clean.wav"), dtype="float32")[0]
    quality, _ = found(clean[12000:48000], played(server, room))
    assert quality > 20


def test_the_end_waits_for_the_file(server, recording):
    """A long one, of which little is played."""
    samples = soundfile.read(recording, dtype="float32")[0]
    path = recording.with_name("long.wav")
    soundfile.write(path, np.tile(samples, 60), 48000)
    room = server.capture()
    process, keys = start(server, "play", "--model", "lite", "--output", "speaker", path)
    wait_for(lambda: np.abs(pulse.stored(room)[:, 1]).max(initial=0) > 0.01)
    os.write(keys, b"wwq")
    _, messages = process.communicate(timeout=300)
    os.close(keys)
    written = path.with_name("long-denoised.wav")
    assert process.returncode == 0 and messages.splitlines() == [
        "the file is being written",
        "the file is still being written",
        "waiting for the file that is being written; Ctrl-C gives it up",
        f"{written} is written, all of the noise lowered",
    ]
    assert soundfile.info(written).frames == 60 * len(samples)


def test_keys_change_the_amount_and_lead_on(server, recording):
    """Minus five times, w, and 5 s on: what is written and what is heard have the amount, and 5 s are not heard."""
    samples = soundfile.read(EXAMPLE, dtype="float32")[0]
    samples = np.concatenate((samples, samples[: 3 * 48000 - 1 : -1]))
    path, limited = recording.with_name("long.wav"), recording.with_name("limited.wav")
    soundfile.write(path, samples, 48000, subtype="FLOAT")
    denoise_file(path, limited, model="lite", attenuation_limit_db=12)

    room = server.capture()
    process, keys = start(server, "play", "--model", "lite", "--output", "speaker", path)
    wait_for(lambda: np.abs(pulse.stored(room)[:, 1]).max(initial=0) > 0.01)
    os.write(keys, b"-----")
    time.sleep(1.5)
    os.write(keys, b"w\x1b[C")
    _, messages = process.communicate(timeout=120)
    os.close(keys)
    time.sleep(0.5)
    assert process.returncode == 0, messages
    written = recording.with_name("long-denoised.wav")
    assert f"{written} is written, 75 % of the noise lowered (limit 12 dB)" in messages
    expected = soundfile.read(limited, dtype="float32")[0]
    np.testing.assert_array_equal(soundfile.read(written, dtype="float32")[0], expected)

    speaker = played(server, room)
    quality, _ = found(expected[-3 * 48000 :], speaker)
    assert quality > 20
    # What the server holds is still heard after the key: up to 2 s of it
    assert len(expected) - 6 * 48000 < np.count_nonzero(speaker) < len(expected) - 2 * 48000


@pytest.mark.slow  # it takes as long as it plays
def test_the_demo_is_played(server, tmp_path):
    room = server.capture()
    process, keys = start(server, "demo", "--output", "speaker", tmp_path)
    _, messages = process.communicate(timeout=120)
    os.close(keys)
    time.sleep(0.5)
    assert process.returncode == 0, messages
    assert messages.count("playing") == 2
    speaker = played(server, room)
    places = []
    for name in ("percepnet-before.wav", "percepnet-after.wav"):
        samples = soundfile.read(tmp_path / name, dtype="float32")[0]
        quality, at = found(samples[48000:240000], speaker)
        assert quality > 20
        places.append(at)
    assert places[1] - places[0] > 5 * 48000


def test_a_device_that_is_not_there_is_named(server, recording):
    process, keys = start(server, "play", "--output", "trumpet", recording)
    _, messages = process.communicate(timeout=60)
    os.close(keys)
    assert process.returncode == 1
    assert messages.splitlines()[-1].startswith("Error: there is no output device named like 'trumpet'")
