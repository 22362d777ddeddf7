"""Which devices a user means, and what is said when it is none or several."""

from __future__ import annotations

import json
import os
import stat
from dataclasses import replace

import pytest

from percepnet_cli.errors import DeviceError
from percepnet_cli.live.devices import VIRTUAL, Device, choose, pulse_devices

BASE = Device(0, "", "ALSA", 0, 0, 48000, None, None, False, False, False, 0)


def device(index, name, api, inputs, outputs, default=False, server_name="", port=None):
    return replace(
        BASE,
        index=index,
        name=name,
        host_api=api,
        inputs=inputs,
        outputs=outputs,
        default_input=default and inputs > 0,
        default_output=default and outputs > 0,
        server_name=server_name,
        port=index if port is None else port,
    )


WINDOWS = [
    device(0, "Headset Microphone (USB)", "MME", 1, 0, default=True),
    device(1, "CABLE Input (VB-Audio Virtual Cable)", "MME", 0, 2),
    device(2, "Speakers", "MME", 0, 2, default=True),
    device(3, "Headset Microphone (USB)", "Windows WASAPI", 1, 0),
    device(4, "CABLE Input (VB-Audio Virtual Cable)", "Windows WASAPI", 0, 2),
    device(5, "CABLE Output (VB-Audio Virtual Cable)", "Windows WASAPI", 2, 0),
]
LINUX = [
    device(0, "pulse", "ALSA", 32, 32),
    device(1, "default", "ALSA", 32, 32, default=True),
    device(2, "Built-in Audio", "PulseAudio", 2, 0, default=True, server_name="alsa_input.pci", port=0),
    device(3, "Clean microphone", "PulseAudio", 0, 2, server_name="clean", port=0),
    device(4, "Speakers", "PulseAudio", 0, 2, default=True, server_name="alsa_output.pci", port=0),
]


def indices(pair):
    return tuple(None if d is None else d.index for d in pair)


@pytest.mark.parametrize(
    ("devices", "source", "target", "duplex", "found"),
    [
        (LINUX, None, None, True, (2, 4)),
        (LINUX, None, "clean", True, (2, 3)),
        (LINUX, None, "CLEAN MIC", True, (2, 3)),
        (LINUX, "alsa_input.pci", "clean", True, (2, 3)),
        (LINUX, "0", "0", True, (0, 0)),
        (LINUX, "pulse", "clean", True, (0, 3)),
        (LINUX, "2", None, False, (2, None)),
        (WINDOWS, None, None, True, (0, 2)),
        (WINDOWS, "headset", "cable input", True, (3, 4)),
        (WINDOWS, None, "cable", True, (0, 1)),
        (WINDOWS, "cable out", None, False, (5, None)),
    ],
)
def test_found(devices, source, target, duplex, found):
    assert indices(choose(devices, source, target, duplex)) == found


@pytest.mark.parametrize(
    ("devices", "source", "target", "words"),
    [
        ([], None, None, "no default input"),
        (LINUX, "9", None, "no device 9"),
        (LINUX, "3", None, "has no inputs"),
        (LINUX, None, "2", "has no outputs"),
        (LINUX, "nonsense", None, "no input device named like 'nonsense'"),
        (LINUX, None, "e", "could be any of 3 (Clean microphone, PulseAudio), 4 (Speakers, PulseAudio)"),
        (WINDOWS, "3", "2", "different sound systems"),
    ],
)
def test_not_found(devices, source, target, words):
    with pytest.raises(DeviceError) as caught:
        choose(devices, source, target, duplex=True)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("name", "virtual"),
    [
        ("BlackHole 2ch", True),
        ("CABLE Output (VB-Audio Virtual Cable)", True),
        ("VoiceMeeter Aux", True),
        ("Monitor of Null Output", True),
        ("Built-in Microphone", False),
        ("HDMI 1", False),
    ],
)
def test_virtual_cables_by_their_names(name, virtual):
    assert bool(VIRTUAL.search(name)) == virtual


@pytest.mark.skipif(os.name == "nt", reason="needs a shell script")
def test_what_a_sound_server_offers(tmp_path, monkeypatch):
    reports = {
        "info": {"default_source_name": "mic", "default_sink_name": "out"},
        "list sources": [
            {
                "name": "mic",
                "description": "Webcam",
                "driver": "module-alsa-card.c",
                "sample_specification": "s16le 1ch 16000Hz",
            }
        ],
        "list sinks": [
            {
                "name": "out",
                "description": "(null)",
                "driver": "module-null-sink.c",
                "sample_specification": "s16le 2ch 44100Hz",
            }
        ],
    }
    for name, report in reports.items():
        (tmp_path / name.replace(" ", "-")).write_text(json.dumps(report))
    script = tmp_path / "pactl"
    script.write_text(f'#!/bin/sh\nshift\ncat "{tmp_path}/$(echo "$*" | tr " " -)"\n')
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("PULSE_SINK", raising=False)
    monkeypatch.delenv("PULSE_SOURCE", raising=False)
    mic, out = pulse_devices(7, port=3, rate=48000)

    assert (mic.index, mic.name, mic.inputs, mic.outputs, mic.sample_rate) == (7, "Webcam", 1, 0, 16000)
    assert (out.index, out.name, out.outputs, out.server_name) == (8, "out", 2, "out")
    assert mic.default_input and out.default_output and out.virtual and not mic.virtual and mic.port == 3
    monkeypatch.setenv("PULSE_SOURCE", "other")
    assert not pulse_devices(7, port=3, rate=48000)[0].default_input
    script.write_text("#!/bin/sh\necho 'Connection refused' >&2\nexit 1\n")
    assert pulse_devices(7, port=3, rate=48000) == []
