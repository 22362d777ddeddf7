"""Every number of the algorithm, once: unit, derivation, source.

Sources: [Amazon 2020], [Valin 2020], [Valin 2021] of ``percepnet_cli``; "RNNoise" is xiph/rnnoise (Valin). What none
of them states is marked as our choice.
"""

from __future__ import annotations

import math

DEFAULT_MODEL = "percepnet"
"""Name of the shipped model that is used for streams unless another is asked for."""

DEFAULT_FILE_MODEL = "studio"
"""The same for files, which could wait for a network that hears ahead."""

SAMPLE_RATE = 48000
"""Hz; all processing runs at this rate [Amazon 2020]."""

HOP_SIZE = 480
"""Samples between windows: 10 ms [Amazon 2020]."""

WINDOW_SIZE = 2 * HOP_SIZE
"""Samples in a window: 20 ms, 50 % overlap [Amazon 2020]."""

NUM_BINS = WINDOW_SIZE // 2 + 1
"""Bins of the real transform of a window: 481, spaced 50 Hz."""

LOOKAHEAD_HOPS = 2
"""Windows of look-ahead for features, pitch and comb ([Amazon 2020]: 20 ms)."""

LATENCY_SAMPLES = (LOOKAHEAD_HOPS + 1) * HOP_SIZE
"""Added delay, 1440 samples = 30 ms: the look-ahead plus one hop of overlap-add [Amazon 2020]."""

# --- bands ---------------------------------------------------------------------------------

BAND_CENTERS = (
    0, 2, 4, 6, 8, 10, 12, 15, 18, 21, 24, 28, 32, 36, 41, 47, 53,
    60, 68, 77, 87, 98, 110, 124, 140, 157, 176, 198, 223, 251, 282, 317, 356, 400,
)  # fmt: skip
"""Bins on which the triangular bands peak, 0..20 kHz (RNNoise ``eband20ms``).

Derivation: from bin 400 downwards in steps of max(2, round(ERB(f)/50 Hz)) with
ERB(f) = 24.7 (4.37 f/kHz + 1) at the upper edge; 14 and 16 become 15. The
table of [Valin 2020] is not public; 34 triangles of at least 100 Hz are."""

NUM_BANDS = len(BAND_CENTERS)
"""34 bands [Amazon 2020]."""

BAND_HZ = tuple(center * SAMPLE_RATE / WINDOW_SIZE for center in BAND_CENTERS)
"""Hz at the center of each band."""

# --- input high-pass -----------------------------------------------------------------------

HIGHPASS_HZ = 3.0
"""Corner of the filter that removes a constant; our choice. RNNoise has its corner near 24 Hz and turns the phase
by 0.3 rad at 100 Hz, which alone holds SI-SDR of a low voice below 12 dB; here it is 0.04 rad."""

_DECAY = math.exp(-math.sqrt(0.5) * 2 * math.pi * HIGHPASS_HZ / SAMPLE_RATE)
_COSINE = math.cos(math.sqrt(0.5) * 2 * math.pi * HIGHPASS_HZ / SAMPLE_RATE)

HIGHPASS_A = (1.0, -2 * _DECAY * _COSINE, _DECAY**2)
"""Denominator: the poles of a Butterworth filter of second order at z = exp(s T)."""

HIGHPASS_B = tuple(sum(abs(a) for a in HIGHPASS_A) / 4 * b for b in (1.0, -2.0, 1.0))
"""Numerator: two zeros at 0 Hz, a gain of 1 at half the sample rate."""

# --- pitch ---------------------------------------------------------------------------------

PERIOD_MIN = 96
"""Samples at 48 kHz: 500 Hz (range of LPCNet's tracker, Valin)."""

PERIOD_MAX = 768
"""Samples at 48 kHz: 62.5 Hz (same)."""

# --- comb filter ---------------------------------------------------------------------------

COMB_PERIODS = 5
"""Periods on each side of the comb filter ([Valin 2020]: M = 5)."""

COMB_LOOKAHEAD_SAMPLES = LOOKAHEAD_HOPS * HOP_SIZE
"""Samples known beyond the end of the window that is filtered: 960."""

NOISE_MASKING_TONE = 0.03
"""n0, ratio of energies (-15.2 dB): noise this far below a tone is masked by it [Valin 2020]."""

# --- features ------------------------------------------------------------------------------

NUM_FEATURES = 2 * NUM_BANDS + 2
"""70 inputs: band energies, pitch coherences, period, pitch correlation [Valin 2020]."""

ENERGY_FLOOR = 1e-6
"""Added to band energies before the logarithm; our choice: about 110 dB below a full-scale
sine (energy 5e4..1e5 with samples in +-1 and an unscaled transform), just above the noise of 16 bits."""

FEATURE_CLIP = 6.0
"""Normalized features are limited to this many standard deviations, in training as in use; our choice."""

# --- a network in both directions ----------------------------------------------------------

BIDIRECTIONAL_BLOCK_HOPS = 100
"""Hops whose gains a network in both directions finds at once; our choice."""

BIDIRECTIONAL_FUTURE_HOPS = 50
"""Hops behind a block from whose end its layers run against time; our choice.

Measured on a network of 1.3 M weights: blocks of 100 hops with 20 to 100 hops of future lose nothing against whole
recordings (PESQ-wb 1.778 and 1.780), blocks of 20 with 20 lose 0.016. On one of 8.1 M weights after 25 h of training
blocks of 100 with 50 give 1.668, whole recordings 1.664 (``tests/quality/blocks.py``). The future is computed again
with the next block: half as much again in the recurrent layers. The first hop of a block waits for the last of its
future: 100 + 50 - 1 hops."""

# --- output --------------------------------------------------------------------------------

POSTFILTER_BETA = 0.02
"""beta of the envelope post-filter's gain compensation [Valin 2020]; at most +5.57 dB."""

SILENCE_ENERGY = 1e-9
"""Band energies below this count as nothing: divisions are guarded by it. Digital silence has 0,
one bit of a 24-bit recording some 1e-11."""

# --- what can be asked for -------------------------------------------------------------------

LOWEST_LUFS, HIGHEST_LUFS = -40.0, -10.0
"""Loudness of a result by ITU-R BS.1770; podcasts have -16, broadcasts -23 (EBU R 128)."""
