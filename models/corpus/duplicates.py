"""Find recordings for training that are also in a test set, whatever their name, rate or coding; write duplicates.tsv.

    python models/corpus/duplicates.py OUT --dev DIR

Collections of free sounds share recordings. What is compared is how the levels of 16 bands move every 50 ms: windows
of 4 s (1 s of shorter recordings) of the noises of held_out.tsv, of the noises in dev36 below DIR (dev/noisy
less dev/clean) and of the recordings in OUT/never, with every place of every noise and track for training; and those
for closing with those for choosing. OUT is as measure.py leaves it, with noise.tsv, music.tsv and held_out.tsv. What
duplicates.tsv names already stays in it; run measure.py again afterwards.
"""

from __future__ import annotations

import argparse
import csv
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile as sf
from tqdm import tqdm

from percepnet_cli.audio.whole import read_mono
from percepnet_cli.constants import SAMPLE_RATE

HERE = Path(__file__).resolve().parent
DUPLICATES = HERE / "duplicates.tsv"

STEP_S = 0.05
BANDS = 16
LOWEST_HZ, HIGHEST_HZ = 100, 7000
LONG, SHORT = 80, 20
"""Frames of a window: 4 s, and 1 s where a recording has no 4."""
STILL_DB = 0.5
"""Windows that move less than this (standard deviation) hold nothing to compare: tones, digital silence."""
ALIKE = {LONG: 0.6, SHORT: 0.96}
"""Correlation from which two windows are one recording. The same bird song at 128 and 192 kb/s: 0.89; the next
pair of 4 s below that is of two clocks that tick alike: 0.7. Drums and bangs of 1 s reach 0.9 by chance."""


def fluctuations(samples: np.ndarray, shift_s: float = 0.0) -> np.ndarray:
    """Return how the bands differ from their course over 0.45 s and from each other, dB, within +-6.

    Fades, decays and gusts look alike in all recordings; what is left of a steady noise is its own.
    samples: at 48 kHz, the first ``shift_s`` are skipped. Returns [frames, 16] float32.
    """
    size = round(STEP_S * SAMPLE_RATE)
    samples = samples[round(shift_s * SAMPLE_RATE) :]
    count = len(samples) // size - 1
    if count < SHORT:
        return np.zeros((0, BANDS), np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(samples, 2 * size)[::size][:count]
    power = np.square(np.abs(np.fft.rfft(frames * np.hanning(2 * size).astype(np.float32), axis=1)))
    edges = (np.geomspace(LOWEST_HZ, HIGHEST_HZ, BANDS + 1) * 2 * STEP_S).astype(int)
    bands = np.add.reduceat(power[:, : edges[-1]], edges[:-1], axis=1)
    level = 10 * np.log10(bands + bands.max(axis=0) * 1e-5 + 1e-12)
    level -= level.mean(axis=1, keepdims=True)
    course = np.stack([np.convolve(band, np.full(9, 1 / 9), "same") for band in level.T], axis=1)
    return np.clip(level - course, -6, 6).astype(np.float32)


def windows(bands: np.ndarray, size: int, step: int) -> np.ndarray:
    """Return windows of unit length; those that hardly move are zero. Returns [windows, size * 16]."""
    if len(bands) < size:
        return np.zeros((0, size * BANDS), np.float32)
    cut = np.lib.stride_tricks.sliding_window_view(bands, size, axis=0)[::step]  # [windows, 16, size]
    cut = cut.reshape(len(cut), -1)
    norm = np.linalg.norm(cut, axis=1, keepdims=True)
    still = norm < STILL_DB * np.sqrt(cut.shape[1])
    return np.where(still, 0, cut / np.maximum(norm, 1e-9)).astype(np.float32)


def test_noises(out: Path, dev: Path | None) -> Iterator[tuple[str, str, np.ndarray]]:
    """Yield the split, the name and the samples of every noise that a test set holds."""
    for row in read_table(out / "held_out.tsv"):
        if row["use"] != "speech":
            yield row["split"], row["path"], read_mono(out / row["path"])
    if dev:
        for noisy in sorted((dev / "noisy").glob("*.flac")):
            samples, _ = sf.read(noisy, dtype="float32")
            clean, _ = sf.read(dev / "clean" / noisy.name, dtype="float32")
            yield "dev", f"dev/{noisy.stem}", samples - clean
    for path in sorted((out / "never").glob("*.*")):
        yield "never", path.relative_to(out).as_posix(), read_mono(path)


def read_table(path: Path) -> list[dict[str, str]]:
    """Return the rows of a table."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def main() -> None:
    """Compare and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--dev", type=Path, help="folder of dev36")
    arguments = parser.parse_args()
    out: Path = arguments.out

    # Windows of the test sets, without overlap, at two places half a step apart.
    names: dict[int, list[tuple[str, str]]] = defaultdict(list)
    parts: dict[int, list[np.ndarray]] = defaultdict(list)
    for split, name, samples in tqdm(test_noises(out, arguments.dev), "test sets", unit="file"):
        for shift_s in (0.0, STEP_S / 2):
            bands = fluctuations(samples, shift_s)
            size = LONG if len(bands) >= LONG else SHORT
            cut = windows(bands, size, size)
            cut = cut[np.any(cut != 0, axis=1)]
            names[size] += [(split, name)] * len(cut)
            parts[size].append(cut)
    tests = {size: np.concatenate(cuts) for size, cuts in parts.items()}

    # Every place of every recording for training; those for closing look at those for choosing alone.
    found = {row["path"]: row for row in read_table(DUPLICATES)}
    rows = [row | {"split": "train"} for name in ("noise", "music") for row in read_table(out / f"{name}.tsv")]
    rows += [row for row in read_table(out / "held_out.tsv") if row["split"] == "closing" and row["use"] != "speech"]
    for row in tqdm(rows, "compare", unit="file"):
        bands = fluctuations(read_mono(out / row["path"]))
        for size, test in tests.items():
            places = windows(bands, size, 1)
            if not len(places):
                continue
            alike = (places @ test.T).max(axis=0)
            if row["split"] == "closing":
                alike[[split != "choosing" for split, _ in names[size]]] = 0
            best = int(alike.argmax())
            if alike[best] > ALIKE[size]:
                value = f"{alike[best]:.3f}"
                found[row["path"]] = {"path": row["path"], "other": names[size][best][1], "correlation": value}

    with DUPLICATES.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ("path", "other", "correlation"), delimiter="\t", lineterminator="\n")
        writer.writeheader()
        writer.writerows(found[path] for path in sorted(found))
    print(f"{len(found)} recordings are in a test set")


if __name__ == "__main__":
    main()
