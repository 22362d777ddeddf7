"""What perfect answers of the network would sound like, rung by rung: the ceiling of the method.

    python tests/quality/oracle.py --pairs PAIRS --out OUT
    python tests/quality/dev_table.py --pairs PAIRS --enhanced bins=OUT/bins bands=OUT/bands \
        comb=OUT/comb attenuated=OUT/attenuated postfilter=OUT/postfilter

Rungs: ideal magnitudes of all 481 bins on the noisy phase; ideal gains of 34 bands; the same with the
comb filter at ideal strengths (its period tracked on the noisy signal, as at run time); the same with the
paper's attenuation of under-periodic bands; comb with the post-filter.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import soundfile

from percepnet_cli.constants import HOP_SIZE, LATENCY_SAMPLES, SAMPLE_RATE
from percepnet_cli.dsp import gains, stft
from percepnet_cli.signal_path import MAX_HOPS, Analyzer, Synthesizer
from percepnet_cli.training.targets import band_targets

RUNGS = ("bins", "bands", "comb", "attenuated", "postfilter")


class BinSynthesizer:
    """Ideal magnitudes bin by bin, through the same windows and overlap-add."""

    def __init__(self) -> None:
        self._overlap = np.zeros(HOP_SIZE, np.float32)
        self._windows = np.zeros((MAX_HOPS, 2 * HOP_SIZE), np.float32)

    def synthesize(self, noisy: np.ndarray, clean: np.ndarray, out: np.ndarray) -> None:
        """Give the noisy spectra (complex64 [hops, 481]) the clean magnitudes, never more than their own."""
        gain = np.minimum(np.abs(clean) / np.maximum(np.abs(noisy), 1e-12), 1)
        stft.synthesize((noisy * gain).astype(np.complex64), self._overlap, self._windows[: len(out)], out)


def climb(noisy: np.ndarray, clean: np.ndarray) -> dict[str, np.ndarray]:
    """Return the output of every rung, float32 [n], for signals of equal length at 48 kHz."""
    size = len(noisy)
    padded = -(-(size + LATENCY_SAMPLES) // HOP_SIZE) * HOP_SIZE - size
    y = np.pad(noisy, (0, padded)).reshape(-1, HOP_SIZE)
    x = np.pad(clean, (0, padded)).reshape(-1, HOP_SIZE)
    noisy_analyzer, clean_analyzer = Analyzer(), Analyzer()
    bins, synthesizers = BinSynthesizer(), {rung: Synthesizer() for rung in RUNGS[1:]}
    outputs: dict[str, list[np.ndarray]] = {rung: [] for rung in RUNGS}
    for start in range(0, len(y), MAX_HOPS):
        a = noisy_analyzer.analyze(y[start : start + MAX_HOPS])
        b = clean_analyzer.analyze(x[start : start + MAX_HOPS])
        gain, attenuation, strength = band_targets(a, b)
        filtered = np.empty_like(gain)
        gains.postfilter_hops(gain, a.E, filtered)
        settings = {
            "bands": (gain, np.zeros_like(strength)),
            "comb": (gain, strength),
            "attenuated": (gain * attenuation, strength),
            "postfilter": (filtered, strength),
        }
        out = np.empty((len(gain), HOP_SIZE), np.float32)
        bins.synthesize(a.Y, b.Y, out)
        outputs["bins"].append(out.ravel().copy())
        for rung, (g, r) in settings.items():
            synthesizers[rung].synthesize(a, g, r, 0.0, out)
            outputs[rung].append(out.ravel().copy())
    return {rung: np.concatenate(parts)[LATENCY_SAMPLES:][:size] for rung, parts in outputs.items()}


def main() -> None:
    """Write every rung of every pair."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--pairs", type=Path, required=True, help="folder with noisy/ and clean/, 48 kHz mono")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    for rung in RUNGS:
        (arguments.out / rung).mkdir(parents=True, exist_ok=True)
    for path in sorted((arguments.pairs / "noisy").iterdir()):
        noisy, rate = soundfile.read(path, dtype="float32")
        clean, _ = soundfile.read(arguments.pairs / "clean" / path.name, dtype="float32")
        if rate != SAMPLE_RATE or noisy.ndim != 1:
            raise SystemExit(f"{path}: pairs must be mono at {SAMPLE_RATE} Hz")
        size = min(len(noisy), len(clean))
        for rung, samples in climb(noisy[:size], clean[:size]).items():
            soundfile.write(arguments.out / rung / path.name, samples, SAMPLE_RATE, subtype="PCM_16")


if __name__ == "__main__":
    main()
