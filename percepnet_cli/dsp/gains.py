"""From the network's gains and strengths to the output spectrum.

Paper: mix the window with its comb-filtered copy by the strength, post-filter the
gains, then scale every band to the magnitude that is wanted, which also undoes
what the comb itself took away.
"""

from __future__ import annotations

import numpy as np

from percepnet_cli.compute.jit import kernel, part
from percepnet_cli.compute.struct import Struct
from percepnet_cli.constants import NUM_BANDS, NUM_BINS, POSTFILTER_BETA, SILENCE_ENERGY
from percepnet_cli.dsp import bands
from percepnet_cli.dsp.elementary import exp2, log2, quarter_sine

ZERO = np.float32(0)
ONE = np.float32(1)
BETA = np.float32(POSTFILTER_BETA)
SILENCE = np.float32(SILENCE_ENERGY)
VANISHING = np.float32(1e-30)
"""Smaller energies are not divided by: their reciprocal would overflow. Nor has a smaller sine a logarithm."""


@kernel
def mix(Y: np.ndarray, P: np.ndarray, strength: np.ndarray, out: np.ndarray) -> None:
    """Blend a window with its comb-filtered copy: z = (1 - r) y + r p.

    Y, P: complex64 [481]; strength: float32 [481], r per bin, 0..1. out: complex64 [481], written.
    """
    for k in range(out.shape[0]):
        out[k] = Y[k] + strength[k] * (P[k] - Y[k])


@kernel
def postfilter(gain: np.ndarray, E: np.ndarray, share: np.float32, out: np.ndarray) -> None:
    """Push small gains down and the whole window up again: G g sin(pi g / 2)^share.

    The envelope post-filter of [Valin 2020], G = sqrt((1 + b) x / (1 + b x^2)), x = E0/E1, the energies
    with the gains before and after, b = 0.02; G is at most 5.57 dB and the product may exceed 1. There the share is 1;
    a smaller one is a milder filter, and 0 leaves the gains alone.
    gain: float32 [34], 0..1; E: float32 [34], band energies; share: 0..1. out: float32 [34], written.
    """
    # w = g sin(pi g / 2)^share leaves large gains and lowers small ones
    before = ZERO
    after = ZERO
    for band in range(gain.shape[0]):
        g = gain[band]
        sine = quarter_sine(g)
        if share != ONE:
            sine = exp2(share * log2(max(sine, VANISHING)))
        w = g * sine
        out[band] = w
        before += g * g * E[band]
        after += w * w * E[band]

    # G gives the window back most of the energy that this took
    if after > SILENCE:
        x = before / after
        G = np.sqrt((ONE + BETA) * x / (ONE + BETA * x * x))
        for band in range(gain.shape[0]):
            out[band] *= G


@kernel
def band_scale(gain: np.ndarray, E: np.ndarray, Ez: np.ndarray, noise_gain: np.float32, out: np.ndarray) -> None:
    """Factor that gives each band of the mix the wanted magnitude g Y.

    gain: float32 [34]; E, Ez: float32 [34], band energies of the window and of the mix; noise_gain:
    sigma_w^2 of this window's comb. out: float32 [34], written: g sqrt(E / Ez), at most g / sigma_w, which
    is what a band of pure noise needs (so a wrong period cannot blow a canceled band up).
    """
    for band in range(gain.shape[0]):
        # E / Ez undoes what mixing did to the band's energy
        scale = gain[band]
        largest = max(Ez[band], noise_gain * E[band])
        if largest > VANISHING:
            scale *= np.sqrt(E[band] / largest)
        out[band] = scale


@kernel
def apply(Z: np.ndarray, scale: np.ndarray, Y: np.ndarray, dry: np.float32, out: np.ndarray) -> None:
    """Scale the mix and leave a share of the input in: out = (1 - dry) s z + dry y.

    Z, Y: complex64 [481]; scale: float32 [481]; dry: 0 (all of the effect) .. 1 (the input).
    out: complex64 [481], written.
    """
    wet = ONE - dry
    for k in range(out.shape[0]):
        out[k] = (wet * scale[k]) * Z[k] + dry * Y[k]


class Renderer(Struct):
    """The working space of one channel's way from gains to spectra."""

    per_band: np.ndarray
    per_bin: np.ndarray
    mixed: np.ndarray

    def __init__(self) -> None:
        super().__init__(
            per_band=np.zeros((2, NUM_BANDS), np.float32),
            per_bin=np.zeros(NUM_BINS, np.float32),
            mixed=np.zeros((1, NUM_BINS), np.complex64),
        )


@part
def render_hops(
    renderer: Renderer,
    Y: np.ndarray,
    P: np.ndarray,
    E: np.ndarray,
    noise_gain: np.ndarray,
    gain: np.ndarray,
    strength: np.ndarray,
    dry: np.float32,
    out: np.ndarray,
) -> None:
    """Mix, scale and blend, hop by hop.

    Y, P: complex64 [hops, 481]; E: float32 [hops, 34]; noise_gain: float32 [hops]; gain: float32 [hops, 34],
    after the post-filter; strength: float32 [hops, 34], 0..1; dry: 0..1.
    out: complex64 [hops, 481], written.
    """
    per_band, per_bin, mixed = renderer.per_band, renderer.per_bin, renderer.mixed
    for hop in range(out.shape[0]):
        # z = (1 - r) y + r p_hat, bin by bin
        bands.interpolate(strength[hop], per_bin)
        mix(Y[hop], P[hop], per_bin, mixed[0])

        # What each band of the mix must be scaled by to have the magnitude g Y
        bands.cross(mixed, mixed, per_band[:1])
        band_scale(gain[hop], E[hop], per_band[0], noise_gain[hop], per_band[1])

        # Scale, and leave the wanted share of the input in
        bands.interpolate(per_band[1], per_bin)
        apply(mixed[0], per_bin, Y[hop], dry, out[hop])


@kernel
def postfilter_hops(gain: np.ndarray, E: np.ndarray, share: np.float32, out: np.ndarray) -> None:
    """Apply ``postfilter`` to each hop. gain, E, out: float32 [hops, 34]; share: 0..1."""
    for hop in range(gain.shape[0]):
        postfilter(gain[hop], E[hop], share, out[hop])
