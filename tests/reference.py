"""Every stage of the signal path once more: float64, slow, written from the published formulas.

Nothing here comes from the package, so the numbers of the algorithm stand here a second time.
"""

from __future__ import annotations

import numpy as np
from scipy.signal import lfilter

HOP = 480
WINDOW = 960
BINS = 481
LATENCY = 1440
BAND_CENTERS = [
    0, 2, 4, 6, 8, 10, 12, 15, 18, 21, 24, 28, 32, 36, 41, 47, 53,
    60, 68, 77, 87, 98, 110, 124, 140, 157, 176, 198, 223, 251, 282, 317, 356, 400,
]  # fmt: skip
SILENCE = 1e-9


def highpass(samples):
    """The input filter from rest: Butterworth poles of 3 Hz, two zeros at 0 Hz."""
    poles = np.exp(2 * np.pi * 3 / 48000 * np.exp(1j * np.pi * np.array([0.75, 1.25])))
    a = np.poly(poles).real
    return lfilter(np.array([1.0, -2.0, 1.0]) * (a @ [1, -1, 1]) / 4, a, np.asarray(samples, float))


def vorbis_window():
    n = np.arange(WINDOW)
    return np.sin(np.pi / 2 * np.sin(np.pi * (n + 0.5) / WINDOW) ** 2)


def dft_matrix():
    """Complex exponentials, [481, 960]."""
    k, n = np.arange(BINS)[:, None], np.arange(WINDOW)[None, :]
    return np.exp(-2j * np.pi * (k * n % WINDOW) / WINDOW)


def cut(samples, first):
    """Samples first .. first + 960; what lies outside the signal is 0."""
    index = np.arange(first, first + WINDOW)
    inside = (index >= 0) & (index < len(samples))
    return np.where(inside, np.asarray(samples, float)[np.clip(index, 0, len(samples) - 1)], 0.0)


def spectra(samples, firsts):
    """Spectra of the windows that begin at the given samples, complex [windows, 481]."""
    windows = np.array([cut(samples, first) for first in firsts]) * vorbis_window()
    return windows @ dft_matrix().T


def time_windows(Z):
    """Inverse transform of half spectra, weighted again, [windows, 960]."""
    full = np.concatenate((Z, np.conj(Z[:, -2:0:-1])), axis=1)
    k, n = np.arange(WINDOW)[:, None], np.arange(WINDOW)[None, :]
    return np.real(full @ np.exp(2j * np.pi * (k * n % WINDOW) / WINDOW)) / WINDOW * vorbis_window()


def overlap_add(Z):
    """Samples of consecutive windows, [windows * 480]: the first window's second half waits for the second."""
    windows = time_windows(Z)
    out = np.zeros((len(Z) + 1) * HOP)
    for index, window in enumerate(windows):
        out[index * HOP : index * HOP + WINDOW] += window
    return out[: len(Z) * HOP]


def band_weights():
    """Triangles of height 1 with their centers at BAND_CENTERS, [34, 481]; each reaches to the neighbors' centers."""
    weights = np.zeros((len(BAND_CENTERS), BINS))
    for band, center in enumerate(BAND_CENTERS):
        weights[band, center] = 1.0
        if band > 0:
            low = BAND_CENTERS[band - 1]
            for k in range(low + 1, center):
                weights[band, k] = (k - low) / (center - low)
        if band < len(BAND_CENTERS) - 1:
            high = BAND_CENTERS[band + 1]
            for k in range(center + 1, high):
                weights[band, k] = (high - k) / (high - center)
    return weights


def cross(A, B):
    """Real part of the scalar product per band, [hops, 34]; the one-sided end bands count double."""
    sums = np.real(np.conj(A) * B) @ band_weights().T
    sums[:, [0, -1]] *= 2
    return sums


def energy(Y):
    return cross(Y, Y)


def coherence(C, Ea, Eb):
    q = np.zeros(C.shape)
    there = (Ea > SILENCE) & (Eb > SILENCE)
    q[there] = C[there] / np.sqrt(Ea[there] * Eb[there])
    return np.clip(q, 0, 1)


def interpolate(values):
    """Straight lines from center to center, the last value above the last center, [481]."""
    return np.interp(np.arange(BINS), BAND_CENTERS, values)


def comb_taps(period, lookahead=960, periods=5):
    """Weights by period offset k (k > 0 is the past): {k: w_k}, without those that need unknown samples."""
    raw = {
        k: 0.5 - 0.5 * np.cos(2 * np.pi * (k + periods + 1) / (2 * periods + 2))
        for k in range(-periods, periods + 1)
        if -k * period <= lookahead
    }
    total = sum(raw.values())
    return {k: w / total for k, w in raw.items()}


def comb(samples, firsts, period):
    """Comb-filtered windows, not yet weighted, [windows, 960], and the noise gain of each."""
    out, noise_gain = [], []
    for first, T in zip(firsts, period, strict=True):
        taps = comb_taps(int(T))
        out.append(sum(w * cut(samples, first - k * int(T)) for k, w in taps.items()))
        noise_gain.append(sum(w * w for w in taps.values()))
    return np.array(out), np.array(noise_gain)


def features(E, q, period, correlation):
    columns = (np.log10(E + 1e-6), q, np.log2(period / 96)[:, None], correlation[:, None])
    return np.concatenate(columns, axis=1)


def postfilter(gain, E, share=1.0):
    """Envelope post-filter of one window; a share below 1 is a milder one."""
    warped = gain * np.sin(np.pi / 2 * gain) ** share
    after = np.sum(warped**2 * E)
    if after <= SILENCE:
        return warped
    x = np.sum(gain**2 * E) / after
    return warped * np.sqrt(1.02 * x / (1 + 0.02 * x * x))


def render(Y, P, E, noise_gain, gain, strength, dry=0.0):
    """Output spectra: mix with the comb, scale the bands, leave a share of the input in."""
    out = np.zeros(Y.shape, complex)
    for hop in range(len(Y)):
        Z = Y[hop] + interpolate(strength[hop]) * (P[hop] - Y[hop])
        Ez = energy(Z[None])[0]
        scale = np.array(gain[hop], float)
        largest = np.maximum(Ez, noise_gain[hop] * E[hop])
        there = largest > 0
        scale[there] *= np.sqrt(E[hop][there] / largest[there])
        out[hop] = (1 - dry) * interpolate(scale) * Z + dry * Y[hop]
    return out


def window_starts(hops):
    """First sample of the window that is filtered when hop 0, 1, ... has arrived: three hops behind its start."""
    return HOP * (np.arange(hops) - 3)


def analyze(samples, period):
    """Y, P, E, coherence, noise gain and E of the newest windows, for given periods [hops]."""
    filtered = highpass(samples)
    hops = len(period)
    firsts = window_starts(hops)
    Y = spectra(filtered, firsts)
    windows, noise_gain = comb(filtered, firsts, period)
    P = windows * vorbis_window() @ dft_matrix().T
    E = energy(Y)
    q = coherence(cross(Y, P), E, energy(P))
    newest = energy(spectra(filtered, firsts + 2 * HOP))
    return Y, P, E, q, noise_gain, newest


def link(E, gain, strength):
    """Gain that keeps as much energy of all channels as their own gains would, and the mean strength by energy."""
    total = E.sum(axis=0) + 1e-30
    return np.sqrt((E * gain**2).sum(axis=0) / total), (E * strength).sum(axis=0) / total


def denoise(samples, period, gain, strength, post_filter=0.0, dry=0.0):
    """The whole path but pitch tracker and network: samples out, [hops * 480], LATENCY behind."""
    Y, P, E, _, noise_gain, _ = analyze(samples, period)
    if post_filter:
        gain = [postfilter(g, e, post_filter) for g, e in zip(gain, E, strict=True)]
    return overlap_add(render(Y, P, E, noise_gain, gain, strength, dry))


def mixed_coherence(r, d, qy, qphat, c):
    """Coherence with p of (1 - r) y + r p_hat; d = |p_hat|/|y|, c the coherence of the two."""
    a, b = 1 - r, r * d
    return (a * qy + b * qphat) / np.sqrt(np.maximum(a * a + b * b + 2 * a * b * c, 1e-300))


def strength(qx, d, qy, qphat, c, steps=20001):
    """Try all strengths: the smallest r that is as coherent as the speech, else the most coherent one.

    Returns r and the coherence that it reaches.
    """
    if qx <= qy:
        return 0.0, qy
    r = np.linspace(0, 1, steps)
    q = mixed_coherence(r, d, qy, qphat, c)
    enough = np.flatnonzero(q >= qx)
    best = enough[0] if len(enough) else int(np.argmax(q))
    return r[best], q[best]


def attenuation(qx, reached, n0=0.03):
    """The attenuation of [Valin 2020] for what stays noisier than the speech."""
    return np.sqrt((1 + n0 - qx**2) / (1 + n0 - reached**2))
