"""Gross errors of the pitch tracker on real speech, against a simple reference on the clean signal.

    python tests/quality/pitch_error.py --pairs PAIRS

The reference knows nothing of the tracker: float64, 40 ms windows of the clean speech low-passed at
1.2 kHz, normalized autocorrelation, the shortest peak within 0.04 of the highest; windows count as voiced
where that is above 0.88, within 25 dB of the loudest and continuous (8 %) with both neighbors. A gross error is
a period more than 20 % off.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import soundfile

from percepnet_cli.constants import HOP_SIZE, PERIOD_MAX, SAMPLE_RATE
from percepnet_cli.signal_path import analyze_signal

DECIMATION = 4
WINDOW = 480
STEP = HOP_SIZE // DECIMATION


def reference(clean: np.ndarray) -> np.ndarray:
    """Return the fundamental of each hop, Hz, 0 where there is none to be sure of: float64 [hops]."""
    spectrum = np.fft.rfft(clean)
    frequency = np.fft.rfftfreq(len(clean), 1 / SAMPLE_RATE)
    spectrum[(frequency > 1200) | (frequency < 50)] = 0
    signal = np.fft.irfft(spectrum, len(clean))[::DECIMATION]
    longest = PERIOD_MAX // DECIMATION
    margin = WINDOW // 2 + longest
    hops = len(signal) // STEP
    energy = np.array([np.mean(signal[max(0, i * STEP - 240) : i * STEP + 240] ** 2) for i in range(hops)])
    found = np.zeros(hops)

    for hop in range(hops):
        center = hop * STEP
        if center < margin or center + margin > len(signal) or energy[hop] < energy.max() * 10**-2.5:
            continue
        correlation = np.zeros(longest + 1)
        for lag in range(24, longest + 1):
            start = center - WINDOW // 2 - lag // 2
            u, v = signal[start : start + WINDOW], signal[start + lag : start + lag + WINDOW]
            correlation[lag] = 2 * (u @ v) / (u @ u + v @ v + 1e-12)
        middle = correlation[25:-1]
        peaks = 25 + np.flatnonzero((middle > correlation[24:-2]) & (middle >= correlation[26:]))
        if len(peaks) and correlation[peaks].max() >= 0.88:
            good = peaks[correlation[peaks] > correlation[peaks].max() - 0.04]
            found[hop] = SAMPLE_RATE / DECIMATION / good[0]

    before, after = np.roll(found, 1), np.roll(found, -1)
    steady = (np.abs(before / np.maximum(found, 1) - 1) < 0.08) & (np.abs(after / np.maximum(found, 1) - 1) < 0.08)
    return np.where(steady, found, 0)


def tracked(samples: np.ndarray) -> np.ndarray:
    """Return the tracker's fundamental of each hop, Hz, float64 [hops]."""
    return SAMPLE_RATE / analyze_signal(samples.astype(np.float32)).period.astype(np.float64)


def main() -> None:
    """Print a table: clean speech, then the noisy files by SNR (the end of their names)."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--pairs", type=Path, required=True, help="folder with noisy/ and clean/, 48 kHz mono")
    pairs: Path = parser.parse_args().pairs

    rows: dict[str, list[np.ndarray]] = {}
    for path in sorted((pairs / "clean").iterdir()):
        clean, _ = soundfile.read(path)
        noisy, _ = soundfile.read(pairs / "noisy" / path.name)
        truth = reference(clean)
        for name, samples in (("clean", clean), (path.stem.rpartition("_")[2], noisy)):
            f0 = tracked(samples)
            size = min(len(f0), len(truth))
            voiced = truth[:size] > 0
            rows.setdefault(name, []).append(f0[:size][voiced] / truth[:size][voiced])

    print("| signal | voiced windows | gross errors % | octave down % | octave up % | median error % |")
    print("| :-- | --: | --: | --: | --: | --: |")

    for name, parts in sorted(rows.items(), key=lambda row: (row[0] != "clean", len(row[0]), row[0])):
        ratio = np.concatenate(parts)
        off = np.abs(ratio - 1) > 0.2
        down, up = np.abs(ratio - 0.5) < 0.1, np.abs(ratio - 2) < 0.3
        middle = np.median(np.abs(ratio[~off] - 1)) if (~off).any() else np.nan
        shares = " | ".join(f"{100 * v:.2f}" for v in (off.mean(), down.mean(), up.mean(), middle))
        print(f"| {name} | {len(ratio)} | {shares} |")


if __name__ == "__main__":
    main()
