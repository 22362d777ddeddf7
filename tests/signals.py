"""Test signals, float32 in +-1 at 48 kHz, and how to compare two of them."""

from __future__ import annotations

import numpy as np
from scipy.signal import lfilter

RATE = 48000
FORMANTS = ((600.0, 80.0), (1300.0, 100.0), (2600.0, 150.0), (3600.0, 250.0))
"""Resonances of the speech-like signal: frequency and bandwidth, Hz."""


def tone(frequency_hz, samples, amplitude=0.5, phase=0.0):
    """A sine."""
    time = np.arange(samples) / RATE
    return (amplitude * np.sin(2 * np.pi * frequency_hz * time + phase)).astype(np.float32)


def harmonics(period, samples, rng, rolloff=1.0, highest_hz=8000.0, rms=0.1):
    """Harmonics of a tone with amplitudes 1/k^rolloff and random phases.

    period: samples at 48 kHz, one number or one per sample (a glide).
    """
    phase = 2 * np.pi * np.cumsum(np.broadcast_to(1 / np.asarray(period, float), samples))
    count = int(highest_hz * np.min(period) / RATE)
    total = np.zeros(samples)
    for k in range(1, max(count, 1) + 1):
        total += k**-rolloff * np.sin(k * phase + rng.uniform(0, 2 * np.pi))
    return (total * (rms / np.sqrt(np.mean(total**2)))).astype(np.float32)


def noise(samples, rng, rms=0.1):
    """White Gaussian noise."""
    return (rms * rng.standard_normal(samples)).astype(np.float32)


def speech(samples, rng, rms=0.1, f0_hz=130.0):
    """Words of 0.4 s: a pulse train with vibrato through four formants, a hiss at each end, then 0.2 s of silence.

    Returns the signal and, per sample, its pitch period (0 where there is no voice).
    """
    time = np.arange(samples) / RATE
    f0 = f0_hz * 2 ** (0.15 * np.sin(2 * np.pi * 1.3 * time) + 0.02 * np.sin(2 * np.pi * 5.5 * time))
    cycles = np.cumsum(f0) / RATE
    pulses = np.diff(np.floor(cycles), prepend=0.0) + 0.003 * rng.standard_normal(samples)
    within = time % 0.6
    voiced = (within > 0.05) & (within < 0.35)
    hissing = (within < 0.4) & ~voiced
    voice = np.where(voiced, pulses, 0.0)
    for frequency, bandwidth in FORMANTS:
        radius = np.exp(-np.pi * bandwidth / RATE)
        a = [1.0, -2 * radius * np.cos(2 * np.pi * frequency / RATE), radius * radius]
        voice = lfilter([sum(a)], a, voice)
    hiss = lfilter([1.0, -1.0], [1.0], np.where(hissing, rng.standard_normal(samples), 0.0))
    total = voice / np.sqrt(np.mean(voice**2)) + 0.2 * hiss / np.sqrt(np.mean(hiss**2))
    total[within > 0.5] = 0.0  # the resonances have died away by then
    total *= rms / np.sqrt(np.mean(total**2))
    return total.astype(np.float32), np.where(voiced, RATE / f0, 0.0)


def noisy_speech():
    """Four seconds of a voice in noise, float32 [192123], always the same."""
    rng = np.random.default_rng(5)
    clean = speech(48000 * 4 + 123, rng, f0_hz=130.0)[0]
    return (clean + noise(len(clean), rng, 0.02)).astype(np.float32)


def snr_db(expected, actual):
    """Energy of what is expected over the energy of the difference, dB; infinite if they are equal."""
    expected = np.asarray(expected)
    assert expected.shape == np.shape(actual), f"{np.shape(actual)} instead of {expected.shape}"
    signal = np.sum(np.abs(expected.astype(complex)) ** 2)
    difference = np.sum(np.abs(expected.astype(complex) - actual) ** 2)
    assert np.isfinite(signal) and signal > 0, "nothing to compare with"
    if difference == 0:
        return np.inf
    return 10 * np.log10(signal / difference)
