"""`percepnet live` in the rooms that users have: the recipes of docs/live.md on PulseAudio and on PipeWire."""

from __future__ import annotations

import json
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pipewire
import pulse
import pytest
from batch_files import wait_for
from click.testing import CliRunner
from test_live_pulse import PART, SECOND, loud_parts, street, undisturbed, use

from percepnet_cli.audio.whole import read_mono
from percepnet_cli.cli import main
from percepnet_cli.errors import DeviceError
from percepnet_cli.live import pactl
from percepnet_cli.live.virtual_mic import VirtualMicrophone

ROOT = Path(__file__).resolve().parents[1]
LONGEST_LATENCY_MS = 130

needs_pulse = pytest.mark.skipif(pulse.missing() is not None, reason=str(pulse.missing()))
needs_pipewire = pytest.mark.skipif(
    (pulse.missing() or pipewire.missing()) is not None, reason=str(pulse.missing() or pipewire.missing())
)
SERVERS = [
    pytest.param(pulse.Server, marks=needs_pulse, id="pulseaudio"),
    pytest.param(pipewire.Server, marks=needs_pipewire, id="pipewire"),
]
pytestmark = pytest.mark.alone


def commands(heading):
    """Return the commands of a section of docs/live.md up to `percepnet live`, as lists of words."""
    page = (ROOT / "docs" / "live.md").read_text(encoding="utf-8")
    section = page.partition(f"\n{heading}\n")[2].partition("\n## ")[0].replace("\\\n", " ")
    lines = [shlex.split(line) for line in re.findall(r"^ {4,}((?:pactl|percepnet) .+)$", section, re.MULTILINE)]
    last = next(i for i, words in enumerate(lines) if words[:2] == ["percepnet", "live"])
    return [words for words in lines[: last + 1] if words[:2] != ["percepnet", "devices"]]


@pytest.fixture(scope="module", params=SERVERS)
def server(request):
    """A server with nothing but a microphone, which is a null sink's monitor."""
    with request.param(room=pulse.CABLE) as running:
        yield running


@pytest.fixture
def here(server, monkeypatch):
    """Let this process use the server, and find it without modules of an earlier test."""
    use(server, monkeypatch)
    yield server
    for module in reversed(pactl.modules()):
        if "percepnet" in module.arguments:
            pactl.unload(module.number)


def live(server, *arguments):
    command = [sys.executable, "-m", "percepnet_cli", "live", *map(str, arguments)]
    return server.popen(command, text=True, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def report_after(process, seconds):
    """Return the line of --json that comes when so much sound has gone through."""
    for text in process.stdout:
        report = json.loads(text)
        if report["seconds"] > seconds:
            return report
    raise AssertionError(process.stderr.read())


def named(kind):
    """Return the names of the server's sinks or sources."""
    return [entry["name"] for entry in pactl.query("list", kind)]


@pytest.mark.parametrize(
    "listener",
    [pytest.param(False, marks=pytest.mark.slow, id="nobody listens"), pytest.param(True, id="a listener")],
)
@pytest.mark.parametrize(
    "heading",
    [
        pytest.param("## The recipe", id="virtual-mic"),
        pytest.param("## A cable by hand", marks=pytest.mark.slow, id="by-hand"),
    ],
)
def test_the_recipe(here, heading, listener, tmp_path):
    """At once, quickly, without opening anything anew; and what the call program hears is the denoised sound.

    The commands stand under a heading of docs/live.md.
    """
    *before, percepnet = commands(heading)
    for words in before:
        subprocess.run(words, check=True, env=here.env, capture_output=True)

    def attempt():
        last, heard = follow(here, percepnet[2:], listener, tmp_path)
        if last["latency_ms"] > LONGEST_LATENCY_MS:
            return last
        if not listener:
            return None

        # A gap moves what follows, and spoils one part
        clean = read_mono(tmp_path / "clean.wav")
        heard, length = heard[SECOND : 3 * SECOND], round(PART * SECOND)
        parts = [heard[start : start + length] for start in loud_parts(heard, length)]
        places = [pulse.place(part, clean) for part in parts]
        found = [pulse.si_sdr_db(part, clean[at : at + length]) for part, at in zip(parts, places, strict=True)]
        return None if np.median(found) > 20 else found

    undisturbed(attempt)


def follow(server, options, listener, folder):
    """Run `percepnet live` for four seconds; return its last report, and what a call program heard.

    It has to end well, and to have opened nothing anew; it records into the folder.
    """
    player = server.play(street(), "hw")
    process = live(server, *options, "--json", "--force", "--record", folder / "noisy.wav", folder / "clean.wav")
    first = report_after(process, 0)

    # A call program comes, or never does
    heard = folder / "heard.raw"
    heard.write_bytes(b"")
    if listener:
        command = ["parec", "-d", "percepnet_mic", "--format=float32le", "--rate=48000", "--channels=1", "--raw"]
        with heard.open("wb") as file:
            caller = server.popen([*command, "--latency-msec=20"], stdout=file)
    last = report_after(process, first["seconds"] + 4)

    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=20)
    player.kill()
    if listener:
        caller.kill()
        caller.wait()
    assert process.returncode == 0, err
    assert last["reopened"] == 0, err
    return last, np.fromfile(heard, np.float32)


def test_it_is_made_and_taken_away(here):
    with VirtualMicrophone("Room 3") as microphone:
        assert microphone.sink_name in named("sinks") and microphone.source_name in named("sources")
        descriptions = {entry["name"]: entry["description"] for entry in pactl.query("list", "sources")}
        assert descriptions[microphone.source_name] == "Room 3"
        number = [module.number for module in pactl.modules() if microphone.source_name in module.arguments]
        pactl.unload(number[0])  # as a server that was restarted
        microphone.ensure()
        assert microphone.source_name in named("sources")
    assert "room_3" not in named("sinks") and "room_3_mic" not in named("sources")


def test_what_was_killed_is_used_and_taken_away_by_the_next(here):
    process = live(here, "--virtual-mic", "--json")
    report_after(process, 0)
    in_use = CliRunner().invoke(main, ["live", "--virtual-mic"])
    assert in_use.exit_code == 1 and "is in use by 'percepnet live' (process" in in_use.stderr

    process.kill()
    process.wait()
    left = named("sinks")
    assert "percepnet" in left

    process = live(here, "--virtual-mic", "--json")
    report_after(process, 0)
    assert named("sinks") == left
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 0 and "choose 'PercepNet' as the microphone" in err
    assert "percepnet" not in named("sinks") and "percepnet_mic" not in named("sources")


def test_a_microphone_that_is_the_virtual_one_is_refused(here):
    before = pactl.query("info")["default_source_name"]
    microphone = VirtualMicrophone()
    microphone.ensure()
    here.pactl("set-default-source", microphone.source_name)
    try:
        done = CliRunner().invoke(main, ["live", "--virtual-mic", "--seconds", "1"])
    finally:
        here.pactl("set-default-source", before)
    assert done.exit_code == 1 and "the default input is the other end of the output" in done.stderr
    assert microphone.sink_name not in named("sinks")

    # Named, it would hear itself just as well
    for name in (microphone.source_name, f"{microphone.sink_name}.monitor"):
        done = CliRunner().invoke(main, ["live", "--virtual-mic", "--input", name, "--seconds", "1"])
        assert done.exit_code == 1 and f"'{name}' is the other end of the output" in done.stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_while_it_compiles_ends_it_at_once(here, number, code, tmp_path):
    """With an empty cache, compiling takes half a minute."""
    here.env["PERCEPNET_CACHE_DIR"] = str(tmp_path)
    try:
        process = live(here, "--virtual-mic", "--json")
    finally:
        del here.env["PERCEPNET_CACHE_DIR"]
    wait_for(lambda: "percepnet_mic" in named("sources"), seconds=20)
    begun = time.monotonic()
    process.send_signal(number)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == code and not out and time.monotonic() - begun < 15
    assert "percepnet" not in named("sinks") and "percepnet_mic" not in named("sources")


@needs_pulse
def test_after_a_restart_of_the_server_it_is_there_again():
    with pulse.Server(room=pulse.CABLE) as mortal:
        process = live(mortal, "--virtual-mic", "--json")
        report_after(process, 0)
        mortal.stop()
        mortal.start()
        deadline = time.monotonic() + 60
        while (report := json.loads(process.stdout.readline()))["state"] != "running" or not report["reopened"]:
            assert time.monotonic() < deadline
        assert "percepnet_mic" in mortal.pactl("list", "short", "sources")
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)
        assert process.returncode == 0


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--virtual-mic", "--output", "x"), 2, "--virtual-mic is an output"),
        (("--virtual-mic", "--no-output"), 2, "--virtual-mic is an output"),
        (("--virtual-mic", "it's"), 1, "cannot name a virtual microphone"),
    ],
)
def test_what_cannot_be(arguments, code, words):
    done = CliRunner().invoke(main, ["live", *arguments])
    assert done.exit_code == code and words in done.stderr


def test_without_a_server(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("PULSE_SERVER", f"unix:{tmp_path}/nothing")
    with (
        pytest.raises(DeviceError, match=r"no sound server answers|not installed|needs PulseAudio"),
        VirtualMicrophone(),
    ):
        pass
