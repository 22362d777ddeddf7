"""A real recording sounds as it did when the golden files were made, and better than before denoising."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import soundfile

GOLDEN = Path(__file__).resolve().parent / "golden"
sys.path.insert(0, str(GOLDEN))

import make_golden  # noqa: E402


def si_sdr_db(estimate: np.ndarray, clean: np.ndarray) -> float:
    scaled = clean * (estimate @ clean) / (clean @ clean)
    return float(10 * np.log10(np.sum(scaled**2) / np.sum((estimate - scaled) ** 2)))


def segmental_snr_db(signal: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """SNR of each 20 ms, dB; the reference's silence counts as -60 dBFS."""
    reference, error = (a[: len(a) // 960 * 960].reshape(-1, 960) for a in (reference, signal - reference))
    power = np.mean(reference**2, axis=1) + 1e-6
    return 10 * np.log10(power / (np.mean(error**2, axis=1) + 1e-12))


def test_denoised_recording_is_the_golden_one() -> None:
    golden, _ = soundfile.read(GOLDEN / "denoised.flac")
    snr_db = segmental_snr_db(make_golden.denoised().astype(np.float64), golden)
    # other CPUs add in another order, and a rounded activation may then fall to the other side
    assert np.median(snr_db) > 40
    assert snr_db.min() > 20


def test_features_are_the_golden_ones() -> None:
    golden = np.load(GOLDEN / "features.npz")["features"]
    off = np.abs(make_golden.features() - golden).max(axis=1) > 0.02
    assert off.mean() < 0.02  # a hop at the edge of two pitch paths may take the other one elsewhere


def test_speech_is_there_and_nearer_to_the_clean_one() -> None:
    clean, _ = soundfile.read(GOLDEN / "clean.flac")
    noisy = make_golden.noisy()[make_golden.START :].astype(np.float64)
    denoised = make_golden.denoised().astype(np.float64)
    assert si_sdr_db(denoised, clean) > si_sdr_db(noisy, clean)
    assert 0.5 < denoised @ clean / (clean @ clean) < 1.2


def test_noise_before_the_speech_is_25_db_lower() -> None:
    noisy = make_golden.noisy()[: make_golden.START]
    settled = slice(noisy.size // 4, None)
    out = make_golden.whole()[: make_golden.START]
    assert np.mean(out[settled] ** 2) < 10**-2.5 * np.mean(noisy[settled] ** 2)
