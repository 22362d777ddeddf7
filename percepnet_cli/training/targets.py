"""What the network should have answered: ideal gain and strength of every band, and where that is known.

Both signals of a mixture go through the very ``Analyzer`` of inference.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from percepnet_cli.compute.jit import kernel
from percepnet_cli.constants import (
    BAND_HZ,
    COMB_PERIODS,
    HOP_SIZE,
    LOOKAHEAD_HOPS,
    NOISE_MASKING_TONE,
    NUM_BANDS,
    SILENCE_ENERGY,
)
from percepnet_cli.dsp import bands, comb
from percepnet_cli.signal_path import MAX_HOPS, Analysis, Analyzer
from percepnet_cli.training.mixture import Mixture
from percepnet_cli.training.shards import mean_by_roots

ZERO = np.float32(0)
ONE = np.float32(1)
TWO = np.float32(2)
LARGE = np.float32(1e3)
SILENCE = np.float32(SILENCE_ENERGY)
N0 = np.float32(NOISE_MASKING_TONE)
PERIODIC_MARGIN = np.float32(0.2)
"""Speech whose coherence is less than this above that of white noise counts as not periodic: r = 0."""
QUIET = np.float32(1e-7)
"""Band energies of the noisy signal below this are digital silence: no gain can be judged."""
ACTIVE_RANGE = 1e-4
"""Speech is active in windows within 40 dB of its loud ones."""
AUDIBLE_RANGE = 1e-3
"""A band's periodicity is judged within 30 dB of the window's strongest band."""


def noise_coherence(noise_gain: np.ndarray) -> np.ndarray:
    """Return the coherence that white noise has with its own comb-filtered copy.

    The centre tap passes a share w_0 of the noise itself and sigma_w^2 of its energy: w_0 / sigma_w. Both follow
    from the taps that were left; sigma_w^2 alone tells how many. noise_gain: float32 [hops], as ``comb`` wrote it.
    """
    half = COMB_PERIODS
    taps = comb.TAPS.astype(np.float64)
    kept = [taps[half - future :] / taps[half - future :].sum() for future in range(half + 1)]
    squares = np.array([np.sum(w * w) for w in kept])
    centre = np.array([w[future] for future, w in enumerate(kept)])
    nearest = np.argmin(np.abs(noise_gain[:, None] - squares), axis=1)
    return (centre[nearest] / np.sqrt(squares[nearest])).astype(np.float32)


@kernel
def mixed_coherence(mix: np.float32, qy: np.float32, qphat: np.float32, c: np.float32) -> np.float32:
    """Coherence with p of y/|y| + mix p_hat/|p_hat|."""
    return (qy + mix * qphat) / np.sqrt(ONE + TWO * mix * c + mix * mix)


@kernel
def best_mix(qy: np.float32, qphat: np.float32, c: np.float32) -> np.float32:
    """Return the mix >= 0 that is most coherent with p; a large number stands for p_hat alone."""
    above = qphat - qy * c
    below = qy - qphat * c
    if above <= ZERO:
        return ZERO
    if below <= above / LARGE:
        return LARGE
    return above / below


@kernel
def to_strength(mix: np.float32, d: np.float32) -> np.float32:
    """Turn y/|y| + mix p_hat/|p_hat| into (1 - r) y + r p_hat; d = |p_hat|/|y|."""
    if mix >= LARGE:
        return ONE
    return mix / (mix + d) if mix > ZERO else ZERO


@kernel
def ideal(
    E: np.ndarray,
    Ex: np.ndarray,
    Ephat: np.ndarray,
    coherence: np.ndarray,
    qx: np.ndarray,
    qy: np.ndarray,
    qphat: np.ndarray,
    floor: np.ndarray,
    gain: np.ndarray,
    attenuation: np.ndarray,
    strength: np.ndarray,
) -> None:
    """Ideal gain, attenuation and strength of each band.

    g = X/Y, at most 1 (V21 eq. 2). r makes z = (1 - r) y + r p_hat as coherent with the periodic part p as the
    speech is, q_z = q_x. With everything measured and z = y/Y + m p_hat/P_hat, m = r d/(1 - r), d = P_hat/Y, c the
    coherence of y and p_hat, that is A m^2 + 2 B m - C = 0 with A = q_phat^2 - q_x^2, B = q_y q_phat - q_x^2 c,
    C = q_x^2 - q_y^2; the first positive root is C / (B + sqrt(B^2 + A C)). (The paper's own root assumes |p_hat| =
    |y| and independent noise, and filters too little.)
    Where no mix is periodic enough, r is the one that comes nearest (r = 1 where p_hat alone does, as in the paper,
    but r = 0 where a wrong period makes things worse), and sqrt((1 + n0 - q_x^2)/(1 + n0 - q_z^2)) is the paper's
    attenuation for what stays too noisy. Speech that is not periodic (q_x below ``floor``) gets r = 0.

    E, Ex, Ephat: float32 [hops, 34], energies of noisy, clean and comb-filtered noisy; coherence: of noisy
    and comb-filtered noisy; qx, qy, qphat: coherence with the clean periodic part of clean, noisy and comb-filtered
    noisy, 0..1; floor: float32 [hops]. Written, float32 [hops, 34], 0..1: gain, attenuation, strength.
    """
    hops, count = E.shape
    for hop in range(hops):
        for band in range(count):
            e = E[hop, band]
            g = ZERO
            if e > SILENCE:
                g = min(np.sqrt(Ex[hop, band] / e), ONE)
            x = qx[hop, band]
            y = qy[hop, band]
            p = qphat[hop, band]
            c = coherence[hop, band]
            r = ZERO
            attenuation[hop, band] = ONE
            if x > y and x > floor[hop] and e > SILENCE:
                d = np.sqrt(Ephat[hop, band] / e)
                most = best_mix(y, p, c)
                reached = mixed_coherence(most, y, p, c)
                if reached <= x:
                    r = to_strength(most, d)
                    attenuation[hop, band] = np.sqrt((ONE + N0 - x * x) / (ONE + N0 - reached * reached))
                else:
                    C = x * x - y * y
                    A = p * p - x * x
                    B = y * p - x * x * c
                    denominator = B + np.sqrt(max(B * B + A * C, ZERO))
                    # reached > x: a root lies between 0 and ``most``, rounding apart
                    r = to_strength(min(C / denominator, most) if denominator > ZERO else most, d)
            gain[hop, band] = g
            strength[hop, band] = r


def band_targets(noisy: Analysis, clean: Analysis) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return ideal gain, attenuation, strength, float32 [hops, 34] each, of two analyses of the same hops."""
    shape = noisy.E.shape
    cross, qy, qphat, gain, attenuation, strength = (np.empty(shape, np.float32) for _ in range(6))
    bands.cross(clean.P, noisy.Y, cross)
    bands.coherence(cross, clean.Ep, noisy.E, qy)
    bands.cross(clean.P, noisy.P, cross)
    bands.coherence(cross, clean.Ep, noisy.Ep, qphat)
    floor = noise_coherence(clean.noise_gain) + PERIODIC_MARGIN
    ideal(
        noisy.E,
        clean.E,
        noisy.Ep,
        noisy.coherence,
        clean.coherence,
        qy,
        qphat,
        floor,
        gain,
        attenuation,
        strength,
    )
    return gain, attenuation, strength


@dataclass(frozen=True)
class Example:
    """One sequence of a shard."""

    features: np.ndarray
    """float16 [hops, 70]."""
    gain: np.ndarray
    """float16 [hops, 34], 0..1."""
    strength: np.ndarray
    """float16 [hops, 34], 0..1."""
    gain_weight: np.ndarray
    """uint8 [hops, 34]: 1 where the gain is known."""
    strength_weight: np.ndarray
    """uint8 [hops, 34]: 1 where the strength matters and is known."""
    voice: np.ndarray
    """uint8 [hops]: 1 where the speech is active."""
    taught_gain: np.ndarray | None = None
    """float16 [hops, 34], 0..1: the gain in the opinion of the teachers, if there are any."""
    taught_strength: np.ndarray | None = None
    """float16 [hops, 34], 0..1: likewise the strength."""


def _join(rows: Sequence[tuple[np.ndarray, ...]]) -> tuple[np.ndarray, ...]:
    """Return the parts of a stream as wholes, without the windows before its start."""
    return tuple(np.concatenate(part)[LOOKAHEAD_HOPS:] for part in zip(*rows, strict=True))


def example(mixture: Mixture, attenuation_power: float, taught: Sequence[np.ndarray] = ()) -> Example:
    """Analyze a mixture and its clean speech side by side.

    attenuation_power: how much of the attenuation goes into the gain, 0 (none) .. 1 (the paper). taught: what teachers
    made of the mixture, float32 [hops * 480] each; their opinion is the answer that would be ideal if that were the
    clean speech.

    The analyzers see the stream from its start; the first LOOKAHEAD_HOPS windows, which lie before
    it, are dropped and the stream is continued with zeros, so hop l of the result is window l of the mixture.
    """
    hops = len(mixture.noisy) // HOP_SIZE
    pad = np.zeros(LOOKAHEAD_HOPS * HOP_SIZE, np.float32)
    noisy, *voices = (
        np.concatenate((signal, pad)).reshape(-1, HOP_SIZE) for signal in (mixture.noisy, mixture.clean, *taught)
    )
    noisy_analyzer, analyzers = Analyzer(), [Analyzer() for _ in voices]
    rows = []
    opinions: list[list[tuple[np.ndarray, np.ndarray]]] = [[] for _ in voices]
    for start in range(0, hops + LOOKAHEAD_HOPS, MAX_HOPS):
        a = noisy_analyzer.analyze(noisy[start : start + MAX_HOPS])
        energies = []
        for analyzer, voice, opinion in zip(analyzers, voices, opinions, strict=True):
            b = analyzer.analyze(voice[start : start + MAX_HOPS])
            energies.append(b.E)
            gain, attenuation, strength = band_targets(a, b)
            opinion.append((gain * attenuation**attenuation_power, strength))
        rows.append((a.features.copy(), a.E.copy(), energies[0].copy()))
    features, E, Ex = _join(rows)
    (gain, strength), *rest = (_join(opinion) for opinion in opinions)

    total = Ex.sum(axis=1)
    positive = total[total > QUIET * NUM_BANDS]
    loud = np.percentile(positive, 90) if len(positive) else math.inf
    voice = total > loud * ACTIVE_RANGE
    band_hz = np.array(BAND_HZ)
    beyond_recording = 0.97 * mixture.bandwidth_hz < band_hz
    beyond_both = 0.97 * mixture.cutoff_hz < band_hz
    gain_weight = (E > QUIET) & ~beyond_both & ~(beyond_recording & voice[:, None])
    audible = Ex > AUDIBLE_RANGE * Ex.max(axis=1, keepdims=True)
    strength_weight = gain_weight & voice[:, None] & audible & ~beyond_recording
    return Example(
        features.astype(np.float16),
        gain.astype(np.float16),
        strength.astype(np.float16),
        gain_weight.astype(np.uint8),
        strength_weight.astype(np.uint8),
        voice.astype(np.uint8),
        *(mean_by_roots(parts).astype(np.float16) for parts in zip(*rest, strict=True)),
    )
