"""What a perfect network would predict: the ideal gain and strength of every band.

Both signals of a pair go through the very ``Analyzer`` of inference; what it finds decides. Training targets and the
oracle use it alike.
"""

from __future__ import annotations

import numpy as np

from percepnet_cli.compute.jit import kernel
from percepnet_cli.constants import COMB_PERIODS, NOISE_MASKING_TONE, SILENCE_ENERGY
from percepnet_cli.dsp import bands, comb
from percepnet_cli.signal_path import Analysis

ZERO = np.float32(0)
ONE = np.float32(1)
TWO = np.float32(2)
LARGE = np.float32(1e3)
SILENCE = np.float32(SILENCE_ENERGY)
N0 = np.float32(NOISE_MASKING_TONE)
PERIODIC_MARGIN = np.float32(0.2)
"""Speech whose coherence is less than this above that of white noise counts as not periodic: r = 0."""


def _comb_on_noise() -> tuple[np.ndarray, np.ndarray]:
    """Return what the comb does to white noise, for each number of future taps that were left.

    float64 [6] each: the energy it leaves, and the coherence of what it leaves with what came.
    """
    half = COMB_PERIODS
    taps = comb.TAPS.astype(np.float64)
    kept = [taps[half - future :] / taps[half - future :].sum() for future in range(half + 1)]
    energies = np.array([np.sum(w * w) for w in kept])
    center = np.array([w[future] for future, w in enumerate(kept)])
    return energies, center / np.sqrt(energies)


COMB_ENERGIES, COMB_COHERENCES = _comb_on_noise()


def noise_coherence(noise_gain: np.ndarray) -> np.ndarray:
    """Return the coherence that white noise has with its own comb-filtered copy.

    The center tap passes a share w_0 of the noise itself and sigma_w^2 of its energy: w_0 / sigma_w. Both follow
    from the taps that were left; sigma_w^2 alone tells how many. noise_gain: float32 [hops], as ``comb`` wrote it.
    """
    nearest = np.argmin(np.abs(noise_gain[:, None] - COMB_ENERGIES), axis=1)
    return COMB_COHERENCES[nearest].astype(np.float32)


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

    g = X/Y, at most 1 ([Valin 2021] eq. 2). r makes z = (1 - r) y + r p_hat as coherent with the periodic part p as the
    speech is, q_z = q_x. With everything measured and z = y/Y + m p_hat/P_hat, m = r d/(1 - r), d = P_hat/Y, c the
    coherence of y and p_hat, that is A m^2 + 2 B m - C = 0 with A = q_phat^2 - q_x^2, B = q_y q_phat - q_x^2 c,
    C = q_x^2 - q_y^2; the first positive root is C / (B + sqrt(B^2 + A C)). (The root of [Valin 2020] assumes |p_hat| =
    |y| and independent noise, and filters too little.)
    Where no mix is periodic enough, r is the one that comes nearest (r = 1 where p_hat alone does, as in [Valin 2020],
    but r = 0 where a wrong period makes things worse), and sqrt((1 + n0 - q_x^2)/(1 + n0 - q_z^2)) is the
    attenuation of [Valin 2020] for what stays too noisy. Speech that is not periodic (q_x below ``floor``) gets r = 0.

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

            # How periodic: the speech, the noisy signal, its comb-filtered copy, and what the two have in common
            x = qx[hop, band]
            y = qy[hop, band]
            p = qphat[hop, band]
            c = coherence[hop, band]

            r = ZERO
            attenuation[hop, band] = ONE

            # Only where speech is more periodic than what is heard; else nothing is to be filtered
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

    # Coherence with the periodic part of the speech: of the noisy signal, and comb-filtered
    bands.cross(clean.P, noisy.Y, cross)
    bands.coherence(cross, clean.Ep, noisy.E, qy)
    bands.cross(clean.P, noisy.P, cross)
    bands.coherence(cross, clean.Ep, noisy.Ep, qphat)

    # What noise alone would reach, and a margin
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
