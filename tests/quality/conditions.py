"""What a denoiser is known to fail at: measure it under conditions made from pairs of noisy and clean recordings.

    conditions.py --pairs DIR [--music TABLE|FOLDER ...] [--model NAME|FILE] [--post-filter|--no-post-filter]

Prints a Markdown table of means before and after. Speech counts as lost as in ``extremes.py``, but of what is clean in
the mixture: where 100 ms of it lie within 30 dB of the loud ones and come out more than 12 dB quieter than they were
without noise. Pairs without a room (DIR.tsv beside the pairs says which) give their noise at other ratios; music is
what ``train-targets`` keeps for validation.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
from dev_table import COLUMNS
from extremes import dry_files, lost_blocks

from percepnet_cli import Denoiser, load_model
from percepnet_cli.audio.level import LevelMeter
from percepnet_cli.audio.resample import resample
from percepnet_cli.constants import SAMPLE_RATE as RATE
from percepnet_cli.evaluation import oracle
from percepnet_cli.evaluation.report import markdown
from percepnet_cli.metrics.scores import score_pair
from percepnet_cli.training.data import corpus

REVERBERATION_S = 1.0
"""Time in which the tail falls by 60 dB; it starts as loud as the direct sound."""
KEPT = ("pesq_wb", "stoi", "si_sdr")


class Pair(NamedTuple):
    """Float64 [n] at 48 kHz: what should come out and what goes in; whether their difference is the noise alone."""

    clean: np.ndarray
    noisy: np.ndarray
    dry: bool


Condition = Callable[[int, Pair], tuple[np.ndarray, np.ndarray] | None]
"""What makes of the pair of a number the reference and the input, or None of one that does not serve."""


def at_ratio(clean: np.ndarray, noise: np.ndarray, snr_db: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the clean signal and the mixture with so much of the noise."""
    clean, noisy = oracle.mix(clean[:, None], noise[:, None], snr_db)
    return clean[:, 0], noisy[:, 0]


def lower_level(db: float) -> Condition:
    """Return what brings a pair to a lower level, as if it had been recorded so."""
    scale = 10 ** (-db / 20)
    return lambda _, pair: (scale * pair.clean, scale * pair.noisy)


def through(rate: int, samples: np.ndarray) -> np.ndarray:
    """Return the recording as it is when it has been stored at a lower rate."""
    return resample(resample(samples, RATE, rate), rate, RATE)[: len(samples)]


def reverberant(clean: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the clean signal, and what a long diffuse tail makes of it, as loud as before."""
    n = np.arange(1, round(REVERBERATION_S * RATE))
    tail = np.random.default_rng(0).standard_normal(len(n)) * 10 ** (-3 * n / RATE / REVERBERATION_S)
    response = np.concatenate(([1.0], tail / np.linalg.norm(tail)))
    size = len(clean) + len(response)
    heard = np.fft.irfft(np.fft.rfft(clean, size) * np.fft.rfft(response, size), size)[: len(clean)]
    return clean, heard * np.sqrt((clean @ clean) / (heard @ heard))


def conditions(music: list[np.ndarray]) -> dict[str, Condition]:
    """Return all conditions by name."""
    made: dict[str, Condition] = {
        "as they are": lambda _, pair: pair[:2],
        "of these, in a room": lambda _, pair: None if pair.dry else pair[:2],
        **{f"level {db} dB lower": lower_level(db) for db in (10, 20, 30)},
        "stored at 44.1 kHz": lambda _, pair: (pair.clean, through(44_100, pair.noisy)),
        "stored at 16 kHz": lambda _, pair: (through(16_000, pair.clean), through(16_000, pair.noisy)),
        "stored at 8 kHz": lambda _, pair: (through(8_000, pair.clean), through(8_000, pair.noisy)),
        "nearly clean, 30 dB": lambda _, pair: at_ratio(pair.clean, pair.noisy - pair.clean, 30) if pair.dry else None,
        "no noise, reverberation of 1 s": lambda _, pair: reverberant(pair.clean),
    }
    if music:
        made["music at 5 dB"] = lambda index, pair: at_ratio(pair.clean, music[index % len(music)], 5)
    return made


def as_a_file(denoiser: Denoiser, noisy: np.ndarray) -> np.ndarray:
    """Denoise float32 [n] as a file of it is denoised: raised before and lowered after if it is much too soft."""
    meter = LevelMeter(RATE)
    meter.add(noisy[:, None])
    gain = np.float32(meter.gain)
    return denoiser.denoise(noisy * gain) / gain


def pairs(folder: Path) -> Iterator[Pair]:
    """Yield the pairs of a folder in the order of their names."""
    dry = dry_files(folder)
    for path in sorted((folder / "clean").iterdir()):
        yield Pair(soundfile.read(path)[0], soundfile.read(folder / "noisy" / path.name)[0], path.name in dry)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=Path, required=True)
    parser.add_argument("--music", type=Path, action="append", default=[])
    parser.add_argument("--model")
    parser.add_argument("--post-filter", action=argparse.BooleanOptionalAction)
    args = parser.parse_args()
    model = load_model(args.model)
    kept = (
        corpus.select_split([one for source in args.music for one in corpus.find(source)], "validation")
        if args.music
        else []
    )
    library = corpus.Library()
    music = [library.samples(one).astype(np.float64) for one in kept]
    everything, lines = list(pairs(args.pairs)), []

    for name, make in conditions(music).items():
        rows, lost = [], np.zeros(2, int)
        for index, pair in enumerate(everything):
            made = make(index, pair)
            if made is None:
                continue
            clean, noisy = made
            out = as_a_file(Denoiser(model, post_filter=args.post_filter), noisy.astype(np.float32))
            before, after = (score_pair(clean, one, RATE, ("PESQ", "STOI")) for one in (noisy, out))
            rows.append([[scores[key] for key in KEPT] for scores in (before, after)])
            lost += lost_blocks(clean, out)
        cells = []
        for index, key in enumerate(KEPT):
            before, after = np.nanmean(np.array(rows)[:, :, index], axis=0)
            digits = COLUMNS[key][1]
            cells.append(f"{before:{digits}} to {after:{digits}}")
        lines.append([name, str(len(rows)), *cells, f"{100 * lost[0] / lost[1]:.1f} %"])
        print(name, flush=True)

    print(markdown(["", "recordings", *(COLUMNS[key][0] for key in KEPT), "speech lost"], lines), end="")


if __name__ == "__main__":
    main()
