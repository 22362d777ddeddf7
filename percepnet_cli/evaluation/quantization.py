"""Float against 8 bits, on real audio: how far gains, strengths and samples differ."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from percepnet_cli.constants import HOP_SIZE, NUM_BANDS
from percepnet_cli.denoiser import Denoiser, Predictor
from percepnet_cli.network.float_reference import FloatState
from percepnet_cli.network.modelfile import Model
from percepnet_cli.network.percepnet import State
from percepnet_cli.signal_path import MAX_HOPS, analyze_signal


@dataclass(frozen=True)
class Difference:
    """What 8 bits change."""

    hops: int
    gain_mean: float
    """Mean of |g8 - g|."""
    gain_p99: float
    strength_mean: float
    strength_p99: float
    snr_db: float
    """Energy of the float network's output over that of the difference, dB."""


def compare(float_model: Model, model: Model, samples: np.ndarray) -> Difference:
    """Run both networks over the same audio.

    samples: float32 [n] at 48 kHz, one second or more. Raises ValueError if shorter.
    """
    hops = len(samples) // HOP_SIZE
    if hops < 100:
        raise ValueError("at least one second of audio is needed to compare on")
    cut = np.ascontiguousarray(samples[: hops * HOP_SIZE], np.float32)

    # Gains and strengths of both networks, from the same features
    features = analyze_signal(cut).features
    rows = len(features)
    gain, strength = np.zeros((2, rows, NUM_BANDS), np.float32), np.zeros((2, rows, NUM_BANDS), np.float32)
    states: tuple[Predictor, Predictor] = (FloatState(float_model), State(model, MAX_HOPS))
    for start in range(0, rows, MAX_HOPS):
        block = slice(start, min(start + MAX_HOPS, rows))
        for which, state in enumerate(states):
            state.run(features[block], gain[which, block], strength[which, block])

    # Samples of both
    reference = Denoiser(float_model, predictor=FloatState).process(cut)
    error = Denoiser(model).process(cut) - reference
    dg, dr = np.abs(gain[1] - gain[0]), np.abs(strength[1] - strength[0])
    power = float(np.mean(np.square(reference, dtype=np.float64)))
    noise = float(np.mean(np.square(error, dtype=np.float64)))
    return Difference(
        hops,
        float(dg.mean()),
        float(np.percentile(dg, 99)),
        float(dr.mean()),
        float(np.percentile(dr, 99)),
        10 * float(np.log10((power + 1e-20) / (noise + 1e-20))),
    )
