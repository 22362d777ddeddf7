"""Pack recordings into few megabytes, for a machine that nothing but this folder reaches.

    python models/gpu/pack.py PACK --speech TABLE ... --noise TABLE ... --rir TABLE ... [--music TABLE ...] [--mib 44]

TABLE is what ``percepnet train-targets`` takes. PACK gets folders of Opus files with a table for each kind and split:
``train`` and ``validation`` hold what ``--split`` of the same names would draw from, so their mixtures are made with
``--split all``. Recordings are drawn by collection and speaker in turn until the kind's share of the room is used.
Responses are kept as FLAC. The same arguments draw the same recordings.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import soundfile

from percepnet_cli.audio.bitrate import compression_level
from percepnet_cli.constants import SAMPLE_RATE
from percepnet_cli.training.data import corpus

SHARES = {"speech": 0.55, "noise": 0.33, "music": 0.06, "rir": 0.06}
"""Of the room, by kind."""

OF_VALIDATION = 0.08
"""Of each kind's room, for the validation split."""

LONGEST_SECONDS = 20.0
"""Longer recordings give one piece: variety is worth more than length."""

BITS_PER_SECOND = 64_000
"""Of Opus, mono: enough to keep what lies above 16 kHz."""

COLUMNS = ("path", "speaker", "collection", "kind", "bandwidth_hz", "seconds")


def in_turn(recordings: Sequence[corpus.Recording], rng: np.random.Generator) -> Iterator[corpus.Recording]:
    """Yield recordings: a collection after the other, of each a speaker after the other, until all are given."""
    tree: dict[str, dict[str, list[corpus.Recording]]] = defaultdict(lambda: defaultdict(list))
    for one in recordings:
        tree[one.collection][one.group].append(one)
    queues = []
    for collection in sorted(tree):
        groups = [tree[collection][group] for group in sorted(tree[collection])]
        for group in groups:
            rng.shuffle(group)  # type: ignore[arg-type]
        rng.shuffle(groups)  # type: ignore[arg-type]
        queues.append(_round_robin(groups))
    yield from _round_robin(queues)


def _round_robin(parts: Sequence[object]) -> Iterator[corpus.Recording]:
    """Yield one of each part in turn until all are empty."""
    waiting = [iter(part) for part in parts]  # type: ignore[call-overload]
    while waiting:
        kept = []
        for one in waiting:
            try:
                yield next(one)
            except StopIteration:
                continue
            kept.append(one)
        waiting = kept


def write(samples: np.ndarray, path: Path, lossless: bool) -> int:
    """Write float32 [n] at 48 kHz; return the bytes of the file."""
    if lossless:
        soundfile.write(path, samples, SAMPLE_RATE, format="FLAC", subtype="PCM_24")
    else:
        level = compression_level("OPUS", BITS_PER_SECOND, SAMPLE_RATE, 1)
        soundfile.write(path, samples, SAMPLE_RATE, format="OGG", subtype="OPUS", compression_level=level)
    return path.stat().st_size


def pack(recordings: Sequence[corpus.Recording], folder: Path, room_bytes: float, seed: int, lossless: bool) -> int:
    """Fill a folder and write its table; return how many recordings it has."""
    library = corpus.Library()
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    rows: list[dict[str, object]] = []
    used = 0
    for one in in_turn(recordings, rng):
        try:
            bandwidth_hz = library.bandwidth_hz(one)
            samples = library.samples(one).astype(np.float32)
        except ValueError as error:
            print(f"left out: {error}", file=sys.stderr)
            continue
        longest = round(LONGEST_SECONDS * SAMPLE_RATE)
        if len(samples) > longest:
            first = int(rng.integers(len(samples) - longest))
            samples = samples[first : first + longest]

        path = folder / f"{len(rows):05}.{'flac' if lossless else 'ogg'}"
        size = write(samples, path, lossless)
        if used + size > room_bytes:
            path.unlink()
            break
        used += size
        seconds = round(len(samples) / SAMPLE_RATE, 2)
        row = (path.name, one.group, one.collection, one.kind, round(bandwidth_hz), seconds)
        rows.append(dict(zip(COLUMNS, row, strict=True)))

    with (folder / "table.tsv").open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, delimiter="\t", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return len(rows)


def main() -> None:
    """Pack all kinds of both splits."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    for kind in SHARES:
        parser.add_argument(f"--{kind}", type=Path, action="append", default=[], required=kind in ("speech", "noise"))
    parser.add_argument("--mib", type=float, default=44.0)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if args.out.exists():
        sys.exit(f"{args.out} exists; give the name of a new folder")
    for place, (kind, share) in enumerate(SHARES.items()):
        sources = getattr(args, kind)
        if not sources:
            continue
        found = [one for source in sources for one in corpus.find(source)]
        for split, part in (("validation", OF_VALIDATION), ("train", 1 - OF_VALIDATION)):
            room = args.mib * 2**20 * share * part
            chosen = corpus.select_split(found, split)
            count = pack(chosen, args.out / split / kind, room, args.seed + place, kind == "rir")
            print(f"{split}/{kind}: {count} of {len(chosen)} recordings")


if __name__ == "__main__":
    main()
