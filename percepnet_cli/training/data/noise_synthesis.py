"""New noises from recorded ones: the time course of one on the sound of another, and grains in a new order.

The network must not overfit to the recordings; a few hours of them become as many as there are pairs.
"""

from __future__ import annotations

import numpy as np

from percepnet_cli.compute.jit import fast_kernel
from percepnet_cli.constants import HOP_SIZE, NUM_BANDS, NUM_BINS, SAMPLE_RATE, WINDOW_SIZE
from percepnet_cli.dsp import bands, stft

LARGEST_GAIN = np.float32(30.0)
"""Bands are raised by at most this (30 dB): what the carrier lacks is not made of its rounding noise."""
GRAIN_S = (0.03, 0.5)
FADE_SAMPLES = HOP_SIZE // 2


@fast_kernel
def _scale_bins(spectra: np.ndarray, gain: np.ndarray, row: np.ndarray) -> None:
    """Multiply spectra, complex64 [hops, 481], by gains, float32 [hops, 34]. row: float32 [481], working space."""
    for hop in range(spectra.shape[0]):
        bands.interpolate(gain[hop], row)
        for k in range(spectra.shape[1]):
            spectra[hop, k] *= row[k]


def cross_synthesis(carrier: np.ndarray, course: np.ndarray) -> np.ndarray:
    """Give a sound the band energies that another has over time. Both float32 [n]; returns float32 [n]."""
    size = len(carrier)
    hops = -(-size // HOP_SIZE)

    # Spectra and band energies of both, with half a window of silence before and behind
    spectra, energies = [], []
    for samples in (carrier, course):
        signal = np.zeros((hops + 1) * HOP_SIZE + HOP_SIZE, np.float32)
        signal[HOP_SIZE : HOP_SIZE + size] = samples[:size]
        windows = np.empty((hops + 1, WINDOW_SIZE), np.float32)
        stft.window_hops(signal, 0, stft.WINDOW, windows)
        spectrum = np.empty((hops + 1, NUM_BINS), np.complex64)
        stft.transform(windows, spectrum)
        energy = np.empty((hops + 1, NUM_BANDS), np.float32)
        bands.energy(spectrum, energy)

        spectra.append(spectrum)
        energies.append(energy)

    # Each band of the carrier gets the energy of the course, as far as there is anything to raise
    floor = np.float32(1e-9) + np.float32(1e-6) * energies[0].mean(axis=0)
    gain = np.minimum(np.sqrt(energies[1] / (energies[0] + floor)), LARGEST_GAIN)
    _scale_bins(spectra[0], gain, np.empty(NUM_BINS, np.float32))

    out = np.empty((hops + 1, HOP_SIZE), np.float32)
    stft.synthesize(spectra[0], np.zeros(HOP_SIZE, np.float32), windows, out)
    return out.ravel()[HOP_SIZE : HOP_SIZE + size]


def shuffle_grains(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Cut a sound into grains of one random length and lay them in random order, some backwards.

    samples: float32 [n]; returns float32 [n]. Grains cross-fade over 5 ms.
    """
    grain = int(SAMPLE_RATE * np.exp(rng.uniform(*np.log(GRAIN_S))))
    if len(samples) < 2 * (grain + FADE_SAMPLES):
        return samples
    ramp = np.linspace(0, 1, FADE_SAMPLES, dtype=np.float32)
    shape = np.concatenate((ramp, np.ones(grain - FADE_SAMPLES, np.float32), ramp[::-1]))
    out = np.zeros(len(samples) + grain + FADE_SAMPLES, np.float32)
    for position in range(0, len(samples), grain):
        start = int(rng.integers(len(samples) - len(shape) + 1))
        piece = samples[start : start + len(shape)]
        out[position : position + len(shape)] += (piece[::-1] if rng.random() < 0.3 else piece) * shape
    return out[: len(samples)]
