"""Damaged files of every kind against the readers: no traceback, no crash, no hang, no more than a gigabyte.

A case is (kind, seed, number) and nothing else decides what it is, so that a failure can be shown again:

    python tests/fuzzing.py --number 100000 --seed 1
    python tests/fuzzing.py --case wav-PCM_16:1:4711

The readers are loaded once; processes forked from there take some cases each. What a reader may do with a damaged file
is to read it, or to raise one of the errors that become a sentence.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import re
import select
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import soundfile
from safetensors.numpy import save

from percepnet_cli.audio import chunks, ffmpeg, tags
from percepnet_cli.audio.files import open_reader
from percepnet_cli.audio.pipes import PipeReader, RawFormat
from percepnet_cli.batch import report as batch_report
from percepnet_cli.benchmark import report as bench_report
from percepnet_cli.cli import main
from percepnet_cli.errors import PercepnetError
from percepnet_cli.network.modelfile import load_model
from percepnet_cli.training.data.corpus import find
from percepnet_cli.training.data.shard_file import ShardFile

MOST_BYTES = 2**30
"""Memory that a case may take beyond what its process has at the start."""

MOST_SECONDS = 30
"""Time that a case may take, with room for a busy machine."""

PER_PROCESS = 50
"""Cases that a forked process takes one after the other."""

MOST_SHOWN = 2**22
"""Samples after which a case is read far enough."""

SOUNDS = [
    ("wav", "WAV", "PCM_16"), ("wav", "WAV", "PCM_U8"), ("wav", "WAV", "FLOAT"), ("wav", "WAV", "ULAW"),
    ("wav", "WAV", "IMA_ADPCM"), ("wav", "WAV", "GSM610"), ("wav", "WAVEX", "PCM_24"), ("rf64", "RF64", "PCM_16"),
    ("w64", "W64", "PCM_16"), ("aiff", "AIFF", "PCM_16"), ("aifc", "AIFF", "FLOAT"), ("au", "AU", "PCM_16"),
    ("caf", "CAF", "PCM_16"), ("caf", "CAF", "ALAC_16"), ("flac", "FLAC", "PCM_16"), ("ogg", "OGG", "VORBIS"),
    ("opus", "OGG", "OPUS"), ("mp3", "MP3", "MPEG_LAYER_III"), ("voc", "VOC", "PCM_16"), ("paf", "PAF", "PCM_16"),
    ("sf", "IRCAM", "PCM_16"), ("nist", "NIST", "PCM_16"), ("avr", "AVR", "PCM_16"), ("htk", "HTK", "PCM_16"),
    ("sds", "SDS", "PCM_16"), ("mat", "MAT5", "PCM_16"), ("svx", "SVX", "PCM_16"), ("xi", "XI", "DPCM_16"),
]  # fmt: skip
"""Extension, container and encoding of the seeds."""

NASTY = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x7FFFF000)
"""Numbers that are put into a file as 1, 2, 4 or 8 bytes."""


@dataclass(frozen=True)
class Kind:
    """One kind of file, and what reads it."""

    seeds: tuple[bytes, ...]
    suffix: str
    read: Callable[[Path], object]
    errors: tuple[type[Exception], ...] = (PercepnetError,)
    share: float = 1.0
    """Of the cases, in comparison with others."""


# --- What reads a damaged file -----------------------------------------------------------------


def read_sound(path: Path) -> None:
    """Read a sound file, and what stands beside its samples."""
    done = 0
    with open_reader(path) as reader:
        for block in reader.blocks(20_000):
            assert block.dtype == np.float32 and block.shape[1] == reader.channels and np.isfinite(block).all()
            done += block.size
            if done > MOST_SHOWN:
                return
        chunks.read(path, reader.subtype)
        tags.read(path)


def read_pipe(path: Path) -> None:
    """Read a WAV as it would come through a pipe, and bare samples."""
    content = path.read_bytes()
    for raw in (RawFormat(16000, 3, "s24le"), None):
        done = 0
        for block in PipeReader(io.BufferedReader(io.BytesIO(content)), "pipe", raw).blocks(20_000):
            assert np.isfinite(block).all()
            done += block.size
            if done > MOST_SHOWN:
                break


def run_info(path: Path) -> None:
    """Run a command from end to end: its exit code, and nothing on the terminal that steers it."""
    out = io.StringIO()
    with redirect_stdout(out), redirect_stderr(out):
        try:
            main.main(["info", str(path)], prog_name="percepnet")
        except SystemExit as end:
            assert end.code in (0, 1), f"exit code {end.code}"
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f]", out.getvalue()), "control characters are shown"


def read_table(path: Path) -> None:
    """Read a table of recordings for training."""
    find(path)


# --- Seeds -------------------------------------------------------------------------------------


MONO = {"SDS", "SVX", "XI", "HTK"}


def _sound(folder: Path, suffix: str, container: str, subtype: str) -> bytes:
    rate, count = (44100 if container == "XI" else 16000), 4000
    channels = 1 if container in MONO or subtype == "GSM610" else 2
    samples = 0.1 * np.random.default_rng(3).standard_normal((count, channels))
    path = folder / f"seed.{suffix}"
    with soundfile.SoundFile(path, "w", rate, channels, format=container, subtype=subtype) as file:
        for name in ("title", "artist", "comment"):
            with suppress(soundfile.LibsndfileError):
                setattr(file, name, f"a {name} of the seed")
        file.write(samples)
    return _timeless(path.read_bytes(), container)


def _timeless(content: bytes, container: str) -> bytes:
    """Return a seed without what differs from run to run: times of writing, the random number of an Ogg stream."""
    data = bytearray(content)
    if (at := data.find(b"PEAK")) > 0:
        data[at + 12 : at + 16] = bytes(4)
    if container == "MAT5":  # "MATLAB 5.0 MAT-file, written by libsndfile..., DATE UTC"
        at = data.find(b", 20")
        data[at + 2 : at + 25] = b"2000-01-01 00:00:00 UTC"
    at = 0
    while container == "OGG" and at < len(data):
        end = at + 27 + data[at + 26] + sum(data[at + 27 : at + 27 + data[at + 26]])
        data[at + 14 : at + 18], data[at + 22 : at + 26] = b"seed", bytes(4)
        data[at + 22 : at + 26] = _ogg_checksum(data[at:end]).to_bytes(4, "little")
        at = end
    return bytes(data)


def _ogg_checksum(page: bytes) -> int:
    """Return the checksum of a page, CRC-32 with the polynomial 0x04c11db7 (RFC 3533)."""
    value = 0
    for byte in page:
        value ^= byte << 24
        for _ in range(8):
            value = (value << 1) ^ (0x104C11DB7 if value & 0x80000000 else 0)
    return value


def _texts() -> dict[str, Kind]:
    """Return the kinds that are no sound."""
    header = json.dumps({"kind": "network", "format_version": 1, "layers": [1, 2], "post_filter": False})
    model = save(
        {"dense.weight": np.zeros((4, 4), np.int8), "dense.bias": np.zeros(4, np.float32)}, {"percepnet": header}
    )
    shard = save(
        {"features": np.zeros((2, 3, 70), np.float16), "gains": np.zeros((2, 3, 34), np.uint8)},
        {"percepnet": json.dumps({"kind": "targets", "format_version": 1, "seed": 1})},
    )

    row = {name: None for name in batch_report.COLUMNS} | {"source": "a.wav", "target": "b.wav", "status": "done"}
    report = batch_report.as_json([row, row], {"name": "lite", "sha256": "0"}).encode()
    table = (",".join(row) + "\n" + ",".join(str(value or "") for value in row.values()) + "\n").encode()
    bench = json.dumps({"times_realtime": 9.5, "system": {"processor": "x", "cores": 2}, "stages": [1.5]}).encode()
    corpus = b"path\tspeaker\tstart\tend\na.wav\tanna\t0.5\t1.5\nb/c.flac\tbert\t\t\n"

    return {
        "model": Kind((model,), ".safetensors", load_model),
        "shard": Kind((shard,), ".safetensors", ShardFile, (PercepnetError, ValueError)),
        "report-json": Kind((report,), ".json", batch_report.read),
        "report-csv": Kind((table,), ".csv", batch_report.read),
        "bench": Kind((bench,), ".json", bench_report.read),
        "table": Kind((corpus,), ".tsv", read_table, (PercepnetError, ValueError)),
    }


def kinds() -> dict[str, Kind]:
    """Return all kinds by name."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for suffix, container, subtype in SOUNDS:
            seed = _sound(Path(folder), suffix, container, subtype)
            found[f"{container.lower()}-{subtype}"] = Kind((seed,), f".{suffix}", read_sound)
        waves = tuple(found[name].seeds[0] for name in ("wav-PCM_16", "wavex-PCM_24", "rf64-PCM_16"))
        tagged = tuple(found[name].seeds[0] for name in ("flac-PCM_16", "ogg-VORBIS", "mp3-MPEG_LAYER_III"))
    found["pipe"] = Kind(waves, ".wav", read_pipe, share=3)
    found["info"] = Kind((*waves, *tagged), ".bin", run_info, share=2)
    return found | _texts()


# --- Cases -------------------------------------------------------------------------------------


def mutated(content: bytes, other: bytes, rng: random.Random) -> bytes:
    """Damage a file in one to eight ways; most of it near its start, where the headers are."""
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 5, 8))):
        if not data:
            break
        at = rng.randrange(min(len(data), rng.choice((64, 512, len(data)))))
        what = rng.randrange(9)
        size = rng.choice((1, 2, 4, 8))
        if what == 0:
            data[at] ^= 1 << rng.randrange(8)
        elif what == 1:
            data[at] = rng.randrange(256)
        elif what in (2, 3):
            number = rng.choice((*NASTY, len(data), len(data) + 1, 2 * len(data)))
            data[at : at + size] = (number % 256**size).to_bytes(size, rng.choice(("little", "big")))
        elif what == 4:
            del data[at:]
        elif what == 5:
            del data[at : at + rng.choice((1, 2, 4, 100))]
        elif what == 6:
            data[at:at] = rng.choice((rng.randbytes(size), bytes(rng.choice((1, 2, 100, 5000))), data[at : at + 200]))
        elif what == 7:
            start = rng.randrange(len(other)) if other else 0
            data[at : at + rng.choice((1, 20, 500))] = other[start : start + rng.choice((1, 20, 500))]
        else:
            data += rng.choice((rng.randbytes(300), bytes(3000), content[:500], b"TAG" + bytes(125)))

    return bytes(data)


def content_of(kind: Kind, name: str, seed: int, number: int) -> bytes:
    """Return the file of a case."""
    rng = random.Random(f"{name}:{seed}:{number}")
    if rng.random() < 0.02:
        return rng.randbytes(rng.choice((0, 1, 3, 11, 12, 44, 1000)))
    return mutated(rng.choice(kind.seeds), rng.choice(kind.seeds), rng)


def cases(found: dict[str, Kind], seed: int, count: int) -> Iterator[tuple[str, int]]:
    """Yield (kind, number) of so many cases, in turn over all kinds."""
    names = [name for name, kind in found.items() for _ in range(round(kind.share))]
    numbers = dict.fromkeys(found, 0)
    for position in range(count):
        name = names[position % len(names)]
        yield name, numbers[name]
        numbers[name] += 1


def run_case(kind: Kind, name: str, seed: int, number: int, folder: Path) -> str | None:
    """Do one case; return what is wrong, None if nothing is."""
    path = folder / f"case{kind.suffix}"
    path.write_bytes(content_of(kind, name, seed, number))
    try:
        kind.read(path)
    except kind.errors as error:
        return None if "\n" not in str(error).strip() else f"not one sentence: {error}"
    except BaseException:
        return traceback.format_exc()
    return None


@dataclass(frozen=True)
class Failure:
    """What went wrong in a case."""

    kind: str
    seed: int
    number: int
    what: str

    def __str__(self) -> str:
        return f"--case {self.kind}:{self.seed}:{self.number}\n{self.what}"


def run(seed: int, count: int, only: str | None = None, with_ffmpeg: bool = False) -> list[Failure]:
    """Do so many cases; return the failures."""
    found = {name: kind for name, kind in kinds().items() if only in (None, name)}
    if not with_ffmpeg:  # a process for each damaged file takes longer than all the rest
        ffmpeg.installed = lambda: False
    waiting = cases(found, seed, count)
    failures: list[Failure] = []
    with tempfile.TemporaryDirectory() as folder:
        while block := list(islice(waiting, PER_PROCESS)):
            while block:
                done, failure = _fork(found, seed, block, Path(folder))
                failures += failure
                block = block[done:]
    return failures


def _fork(found: dict[str, Kind], seed: int, block: list[tuple[str, int]], folder: Path) -> tuple[int, list[Failure]]:
    """Do a block in a process of its own; return how many cases are over with, and the failures."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        _child(found, seed, block, folder, writer)
    os.close(writer)

    # A line for each case that is over: null, or what is wrong
    received, began, hung = b"", time.monotonic(), False
    while True:
        ready, _, _ = select.select([reader], [], [], max(0.0, began + MOST_SECONDS - time.monotonic()))
        if not ready:
            hung = True
            os.kill(child, signal.SIGKILL)
            break
        new = os.read(reader, 65536)
        if not new:
            break
        received += new
        began = time.monotonic()
    os.close(reader)
    _, status = os.waitpid(child, 0)
    lines = [json.loads(line) for line in received.splitlines()]
    failures = []
    for (name, number), wrong in zip(block, lines, strict=False):
        if wrong is not None:
            failures.append(Failure(name, seed, number, wrong))
    over = len(lines)
    if over < len(block):
        name, number = block[over]
        what = f"no end after {MOST_SECONDS} s" if hung else f"the process died (status {status})"
        failures.append(Failure(name, seed, number, what))
        over += 1
    return over, failures


def _child(found: dict[str, Kind], seed: int, block: list[tuple[str, int]], folder: Path, writer: int) -> None:
    import resource

    null = os.open(os.devnull, os.O_RDWR)  # libraries complain of what they read
    for number in (0, 1, 2):
        os.dup2(null, number)
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if os.path.exists("/proc/self/statm") else 0
    if pages:
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MOST_BYTES,) * 2)
    for name, number in block:
        wrong = run_case(found[name], name, seed, number, folder)
        os.write(writer, json.dumps(wrong).encode() + b"\n")
    os._exit(0)


def _command_line() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--number", type=int, default=2000, help="cases")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kind", choices=sorted(kinds()), help="only these")
    parser.add_argument("--ffmpeg", action="store_true", help="let ffmpeg try what libsndfile refuses")
    parser.add_argument("--case", metavar="KIND:SEED:NUMBER", help="show one case again, its file kept")
    options = parser.parse_args()
    if options.case:
        name, seed, number = options.case.split(":")
        folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
        wrong = run_case(kinds()[name], name, int(seed), int(number), folder)
        print(f"{next(folder.iterdir())}\n{wrong or 'nothing is wrong'}")
        sys.exit(wrong is not None)
    begin = time.monotonic()
    failures = run(options.seed, options.number, options.kind, options.ffmpeg)
    for failure in failures:
        print(failure)
    print(f"{options.number} cases of seed {options.seed}, {len(failures)} failures, {time.monotonic() - begin:.0f} s")
    sys.exit(bool(failures))


if __name__ == "__main__":
    _command_line()
