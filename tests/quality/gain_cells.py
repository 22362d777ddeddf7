"""What the gains of a network do to speech and to noise, and to the onsets of speech.

    gain_cells.py --pairs DIR [--model NAME|FILE ...] [--at-db SNR]

Prints a Markdown table for ``DIR/noisy`` and ``DIR/clean``: the measures of ``percepnet_cli/metrics/cells.py``, which a
training draws in its curves. The ideal gains are those of the signal path for the two recordings. The last column says
how many recordings are less intelligible (STOI) after denoising than before, with their noise at the ratio of
``--at-db``; pairs with a room are left out of it, since their difference is not the noise alone.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from conditions import at_ratio, pairs

from percepnet_cli import Denoiser, load_model
from percepnet_cli.constants import HOP_SIZE
from percepnet_cli.constants import SAMPLE_RATE as RATE
from percepnet_cli.evaluation.report import markdown
from percepnet_cli.ideal import band_targets
from percepnet_cli.metrics.cells import CellLevels, Gains, cell_levels, mean_levels
from percepnet_cli.metrics.scores import score_pair
from percepnet_cli.network.modelfile import Model
from percepnet_cli.signal_path import Analysis, analyze_signal


def found_gains(model: Model, noisy: np.ndarray) -> np.ndarray:
    """Return the gains that a network gives to each hop of a recording, float32 [hops, 34]."""
    seen: list[np.ndarray] = []

    def observe(channel: int, analysis: Analysis, gain: np.ndarray, strength: np.ndarray) -> None:
        seen.append(gain.copy())

    denoiser = Denoiser(model, observer=observe)
    denoiser.denoise(noisy)
    # windows that lie before the recording
    return np.concatenate(seen)[denoiser.latency // HOP_SIZE - 1 :]


def levels_of(model: Model, clean: np.ndarray, noisy: np.ndarray) -> CellLevels:
    """Return the measures of one pair, float32 [n] each."""
    of_noisy, of_clean = analyze_signal(noisy), analyze_signal(clean)
    ideal, _, _ = band_targets(of_noisy, of_clean)
    found = found_gains(model, noisy)
    hops = min(len(found), len(ideal))
    arrays = (found, ideal, of_noisy.E, of_noisy.coherence, np.ones_like(ideal))
    return cell_levels(Gains(*(array[:hops] for array in arrays)))


def loses_stoi(model: Model, clean: np.ndarray, noisy: np.ndarray) -> bool:
    """Return whether a recording is less intelligible after denoising."""
    out = Denoiser(model).denoise(noisy.astype(np.float32))
    before, after = (score_pair(clean, one, RATE, ("STOI",))["stoi"] for one in (noisy, out))
    return after < before


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=Path, required=True)
    parser.add_argument("--model", action="append")
    parser.add_argument("--at-db", type=float, default=15.0)
    args = parser.parse_args()
    everything = list(pairs(args.pairs))
    dry = [pair for pair in everything if pair.dry]
    lines = []
    for name in args.model or [None]:
        model = load_model(name)
        levels = [levels_of(model, *(part.astype(np.float32) for part in pair[:2])) for pair in everything]
        mean = mean_levels(levels)

        worse = sum(loses_stoi(model, *at_ratio(pair.clean, pair.noisy - pair.clean, args.at_db)) for pair in dry)
        treble = float(np.mean(mean.treble_error))
        lines.append(
            [
                model.name,
                *(f"{value:.1f}" for value in (mean.speech_db, mean.speech_worst_db, mean.noise_db, mean.harmonic_db)),
                f"{mean.onsets_cut} of {mean.onsets}",
                f"{treble:.2f}",
                f"{worse} of {len(dry)}",
            ]
        )
    heading = ["", "speech, dB", "worst tenth", "noise, dB", "harmonic noise", "onsets cut"]
    heading += ["gain error above 8 kHz", f"STOI lower at {args.at_db:g} dB"]
    print(markdown(heading, lines), end="")


if __name__ == "__main__":
    main()
