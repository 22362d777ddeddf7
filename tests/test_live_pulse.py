"""`percepnet live` on real PortAudio: a PulseAudio daemon of our own is the sound card."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pulse
import pytest
import soundfile
from batch_files import wait_for
from click.testing import CliRunner

from percepnet_cli.audio.whole import read_mono
from percepnet_cli.cli import main
from percepnet_cli.cli.panel import HELP
from percepnet_cli.denoiser import Denoiser
from percepnet_cli.file_denoiser import denoise_blocks

ROOT = Path(__file__).resolve().parents[1]
SECOND = pulse.RATE

if pulse.missing() is None:
    from percepnet_cli.live import exchange, priority
    from percepnet_cli.live.chain import Chain
    from percepnet_cli.live.session import Session
    from percepnet_cli.live.settings import Settings

pytestmark = [
    pytest.mark.alone,
    pytest.mark.skipif(pulse.missing() is not None, reason=str(pulse.missing())),
]


def street():
    """The noisy example with a different gain in every second, so that no part of it looks like another."""
    samples = np.tile(read_mono(ROOT / "examples" / "street.flac"), 4)
    gains = np.repeat(np.linspace(1, 0.5, len(samples) // SECOND + 1), SECOND)[: len(samples)]
    return (samples * gains).astype(np.float32)


@pytest.fixture(scope="module")
def server():
    with pulse.Server() as running:
        yield running


@pytest.fixture
def here(server, monkeypatch):
    """Let this process use the server."""
    use(server, monkeypatch)


def use(server, monkeypatch):
    """Let this process use a server."""
    from percepnet_cli.live import portaudio

    for name in ("XDG_RUNTIME_DIR", "HOME"):
        monkeypatch.setenv(name, server.env[name])
    for name in ("PULSE_SOURCE", "PULSE_SINK"):  # sessions set them
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    portaudio.refresh()


def live(server, *arguments, **options):
    command = [sys.executable, "-m", "percepnet_cli", "live", "--input", "mic", "--output", "speaker", *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    return server.popen([str(part) for part in command], text=True, cwd=ROOT, **pipes)


PART = 0.25
"""Seconds of a part that is looked for in what the speaker played."""


def loud_parts(samples, length, share=0.5):
    """Where the louder parts of a length begin, in order: that share of all."""
    energy = [np.dot(part, part) for part in samples[: len(samples) // length * length].reshape(-1, length)]
    return np.sort(np.argsort(energy)[-max(1, round(share * len(energy))) :]) * length


def compare(room, heard, wanted, rate):
    """Hold the speaker against what it should have played; return SI-SDR in dB and the delay in ms: medians over parts.

    The sound server may lose a buffer without a word: that moves what follows, and spoils one part.
    room: both sides; heard: what the session recorded; wanted: that, denoised; all at one rate, Hz.
    """
    length = round(PART * rate)
    found = []
    for start in rate // 2 + loud_parts(wanted[rate // 2 : -rate // 2], length):
        came = pulse.place(heard[start : start + length], room[:, 0])
        went = came + pulse.place(wanted[start : start + length], room[came : came + length + rate, 1])
        played = room[went : went + length, 1]
        found.append((pulse.si_sdr_db(played, wanted[start : start + length]), 1000 * (went - came) / rate))
    return np.median(found, axis=0)


def too_busy():
    """Why real-time sound cannot be expected of this machine now, or None."""
    load, processors = os.getloadavg()[0], os.cpu_count()
    return f"load average {load:.1f} on {processors} processors" if load > 1.5 * processors else None


ATTEMPTS = 6


def undisturbed(attempt):
    """Try until nothing disturbs: a machine that does other things may disturb one attempt, not all.

    attempt: returns None, or what shows that it was disturbed.
    """
    disturbed = []
    for _ in range(ATTEMPTS):
        if (signs := attempt()) is None:
            return
        disturbed.append(signs)
    if too_busy():
        pytest.skip(f"disturbed {ATTEMPTS} times; {too_busy()}")
    raise AssertionError(disturbed)


def run(server, options, seconds=2.8):
    """Run a session; return it, its last status, its message, the room."""
    recording, player = server.capture(), server.play(street())
    with Session(Denoiser(), Settings("mic", "speaker", **options), record=True) as session:
        session.status()
        end = time.monotonic() + seconds
        message = ""
        while time.monotonic() < end and not message:
            time.sleep(0.1)
            message = session.tick()
            status = session.status()
    room = pulse.captured(recording)
    player.kill()
    return session, status, message, room


@pytest.mark.parametrize(
    ("rate", "options"),
    [
        (SECOND, {}),
        pytest.param(44100, {"sample_rate": 44100, "block_frames": 512}, marks=pytest.mark.slow),
        pytest.param(SECOND, {"hop_ms": 20, "block_frames": 1000}, marks=pytest.mark.slow),
    ],
)
def test_the_speaker_plays_the_denoised_microphone_when_it_says(rate, options, monkeypatch):
    def attempt():
        session, status, message, room = run(server, options)
        if message or status.state != "running" or status.overloads or status.xruns or status.late_blocks:
            return message, status
        assert session.sample_rate == rate
        heard, clean = (np.concatenate([pair[side] for pair in session.recorded]) for side in (0, 1))
        wanted = Chain(Denoiser(), session.sample_rate, session._chain.lead).process(heard)
        assert np.array_equal(clean[: len(wanted)], wanted)
        if rate == SECOND:
            file = np.concatenate([b.copy() for b in denoise_blocks([heard], SECOND, 1, Denoiser())])
            assert np.array_equal(file[: len(wanted)], wanted)  # what `percepnet denoise` makes of it
        assert status.denoiser_ms == 30 and (status.buffer_ms == 0) == (options == {})
        room = room[-len(heard) - rate :]  # the example is played again and again
        si_sdr_db, delay_ms = compare(room, heard[:, 0], wanted[:, 0], rate)
        good = si_sdr_db > 40 and abs(status.latency_ms - delay_ms) < 2
        return None if good else (si_sdr_db, delay_ms, status.latency_ms)

    with pulse.Server(rate) as server:
        use(server, monkeypatch)
        undisturbed(attempt)


def first_played(room):
    """Return the frame at which the speaker begins, the end if it has not: a null sink that slept is silent for 2 s."""
    loud = np.abs(room[:, 1]) > 1e-3
    return int(np.argmax(loud)) if loud.any() else len(room)


def run_example(server):
    """Run the example until it has played for 2.5 s; return the room."""
    recording, player = server.capture(), server.play(street())
    env = server.env | {"PULSE_SOURCE": "mic", "PULSE_SINK": "speaker"}
    command = [sys.executable, "examples/live.py"]

    def played_enough():
        room = pulse.stored(recording)
        return len(room) - first_played(room) > 2.5 * SECOND

    with subprocess.Popen(command, cwd=ROOT, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert b"running" in process.stdout.readline()
        wait_for(played_enough, seconds=20, every=0.1)
        process.communicate(b"\n", timeout=20)
    room = pulse.captured(recording)
    player.kill()
    assert process.returncode == 0
    return room


def test_the_example_program(server):
    def attempt():
        room = run_example(server)
        begin = first_played(room)
        played = room[begin : begin + 2 * SECOND, 1]
        noisy = room[: begin + 3 * SECOND, 0]
        wanted = Denoiser().process(np.ascontiguousarray(noisy))
        nearer = []
        for start in loud_parts(played, SECOND // 4):
            part = played[start : start + SECOND // 4]
            places = [(side, pulse.place(part, side)) for side in (wanted, noisy)]
            near_db = [pulse.si_sdr_db(part, side[at : at + len(part)]) for side, at in places]
            nearer.append(near_db[0] - near_db[1])
        # its grid of hops lies elsewhere: near what a file gives, not the same, and not what came in
        return None if np.median(nearer) > 3 else nearer

    undisturbed(attempt)


def test_keys_and_meters_on_a_terminal(server):
    pty = pytest.importorskip("pty")
    leader, follower = pty.openpty()
    player = server.play(street())
    process = live(server, stdin=follower, stdout=follower, stderr=follower)
    os.close(follower)
    seen = ""

    def until(text):
        nonlocal seen
        deadline = time.monotonic() + 30
        seen = ""
        while text not in seen:
            assert time.monotonic() < deadline, seen[-2000:]
            seen += os.read(leader, 65536).decode("utf-8", "replace")

    try:
        until("looking for devices")
        os.write(leader, b"- ")  # while it starts: not shown, but obeyed
        until("BYPASS")
        assert "\n- " not in seen and not seen.startswith("- ")
        until("limit 24 dB   post-filter on")
        os.write(leader, b" -p")
        until("limit 21 dB   post-filter off")
        os.write(leader, b"m")
        until("MUTED")
        os.write(leader, b"?")
        until(HELP[0])
        os.write(leader, b"?q")
        until("late blocks")
        assert process.wait(timeout=10) == 0
    finally:
        process.kill()
        player.kill()
        os.close(leader)


def test_it_records_reports_and_ends_well_when_told_to(server, tmp_path):
    process = live(server, "--json", "--no-output", "--record", tmp_path / "a.flac", tmp_path / "b.wav")
    report = json.loads(process.stdout.readline())
    assert report["state"] == "running" and report["seconds"] > 0
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 0 and "nothing is played" in err and "late blocks" in err
    assert soundfile.info(tmp_path / "a.flac").frames == soundfile.info(tmp_path / "b.wav").frames > 0


def test_a_device_that_goes_and_a_server_that_dies_are_waited_for():
    with pulse.Server() as mortal:
        process = live(mortal, "--json", "--seconds", 60)

        def until_state(state):
            for _ in range(20):
                report = json.loads(process.stdout.readline())
                if report["state"] == state:
                    return report
            raise AssertionError(f"never {state}")

        until_state("running")
        mortal.unplug()
        until_state("waiting")
        mortal.plug()
        before = until_state("running")
        mortal.stop()
        until_state("waiting")
        mortal.start()
        assert until_state("running")["reopened"] > before["reopened"] >= 1
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
        assert process.returncode == 0 and "is back" in err


def test_devices_are_listed(server, here):
    done = CliRunner().invoke(main, ["devices", "--json"])
    found = {device["server_name"]: device for device in json.loads(done.stdout) if device["server_name"]}
    assert found["mic"]["inputs"] == 1 and found["mic"]["virtual"] and found["speaker"]["outputs"] == 1
    text = CliRunner().invoke(main, ["devices"]).stdout
    assert "[speaker], PulseAudio" in text and "ALSA" in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--output", "nonsense"), "no output device named like 'nonsense'"),
        (("--input", "mic", "--channels", "2"), "has only 1 input channel, not 2"),
        (("--input", "mic", "--record", "same.wav", "same.wav"), "cannot be both recordings"),
        (("--input", "mic", "--record", "a.xyz", "b.wav"), "needs an extension"),
    ],
)
def test_what_cannot_be_is_said_in_a_sentence(server, here, arguments, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, ["live", "--seconds", "1", *arguments])
    assert done.exit_code == 1 and words in done.stderr and done.stderr.count("\n") <= 2
    assert list(tmp_path.iterdir()) == []


def test_the_callback_goes_on_while_python_stands_still(server, here, random_model):
    """PortAudio's thread needs nothing of the interpreter: held for 1 s, it delivers and plays all the same."""
    usleep = ctypes.PyDLL(None).usleep  # a PyDLL keeps the interpreter's lock while it runs
    with Session(Denoiser(random_model), Settings("mic", "speaker")) as session:
        before = session._ring.control.copy()
        usleep(ctypes.c_uint(1_000_000))
        after = session._ring.control.copy()
        deadline = time.monotonic() + 20
        while session._ring.control[exchange.PASSING]:  # until the worker has caught up
            assert time.monotonic() < deadline
            time.sleep(0.05)
    assert after[exchange.CALLS] - before[exchange.CALLS] >= 20
    assert after[exchange.LATE_BLOCKS] > before[exchange.LATE_BLOCKS]  # the input passed meanwhile


def may_run_in_real_time():
    """Whether Linux lets a thread of this process do so."""
    allowed = []

    def ask():
        with contextlib.suppress(PermissionError):
            os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
            allowed.append(True)

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    return bool(allowed)


@pytest.mark.skipif(not may_run_in_real_time(), reason="the user may not")
def test_the_worker_and_the_thread_of_the_sound_server_run_in_real_time(server, here, random_model):
    before = priority.threads()
    with Session(Denoiser(random_model), Settings("mic", "speaker")):
        begun = [os.sched_getscheduler(thread) for thread in priority.threads() - before]
    assert sum(one == os.SCHED_RR | os.SCHED_RESET_ON_FORK for one in begun) == 2


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["worker"])
def test_ten_minutes_beside_a_busy_process(engine):
    command = [sys.executable, "tests/quality/live_engines.py", "--engine", engine, "--seconds", "600", "--load", "1"]
    report = json.loads(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout)
    assert report["late_blocks"] == report["xruns"] == report["wrong_hops"] == 0
    assert abs(report["latency_stated_ms"][0] - report["latency_measured_ms"][0]) < 1


@pytest.mark.slow
def test_an_hour_in_flat_memory():
    command = [sys.executable, "tests/quality/live_soak.py", "--seconds", "3600"]
    report = json.loads(
        subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()[-1]
    )
    assert report["rss_mib_at_last"] < report["rss_mib_at_first"] + 1
    assert report["overloads"] == report["late_blocks"] == 0
