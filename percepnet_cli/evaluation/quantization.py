"""Float against 8 bits, on real audio: how far gains, strengths and samples differ."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from percepnet_cli.channel.predictor import Predictor
from percepnet_cli.constants import HOP_SIZE
from percepnet_cli.denoiser import Denoiser
from percepnet_cli.network.float_reference import FloatState
from percepnet_cli.network.modelfile import Model
from percepnet_cli.signal_path import Analysis


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
    gain, strength, reference = _run(float_model, cut, FloatState)
    gain8, strength8, output = _run(model, cut)

    dg, dr = np.abs(gain8 - gain), np.abs(strength8 - strength)
    power = float(np.mean(np.square(reference, dtype=np.float64)))
    noise = float(np.mean(np.square(output - reference, dtype=np.float64)))
    return Difference(
        hops,
        float(dg.mean()),
        float(np.percentile(dg, 99)),
        float(dr.mean()),
        float(np.percentile(dr, 99)),
        10 * float(np.log10((power + 1e-20) / (noise + 1e-20))),
    )


def _run(
    model: Model, samples: np.ndarray, predictor: Callable[[Model], Predictor] | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Denoise samples; return gains and strengths, float32 [hops + 1, 34] each, and the output."""
    seen: list[tuple[np.ndarray, np.ndarray]] = []

    def observe(channel: int, analysis: Analysis, gain: np.ndarray, strength: np.ndarray) -> None:
        seen.append((gain.copy(), strength.copy()))

    denoiser = Denoiser(model, predictor=predictor, observer=observe)
    output = denoiser.denoise(samples)
    before = denoiser.latency // HOP_SIZE - 1  # windows that lie before the recording
    gain, strength = (np.concatenate(part)[before:] for part in zip(*seen, strict=True))
    return gain, strength, output
