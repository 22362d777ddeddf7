"""Windows to spectra and back: 960-sample power-complementary windows every 480 samples.

[Amazon 2020]: 20 ms windows with 50 % overlap. The same window before and after makes
analysis followed by synthesis the identity.
"""

from __future__ import annotations

import numpy as np

from percepnet_cli.compute.jit import kernel, part
from percepnet_cli.constants import HOP_SIZE, WINDOW_SIZE
from percepnet_cli.dsp import fft


def vorbis_window(size: int = WINDOW_SIZE) -> np.ndarray:
    """Return w(n) = sin(pi/2 sin^2(pi (n + 1/2) / size)), float32 [size].

    w^2(n) + w^2(n + size/2) = 1 (RNNoise ``dump_rnnoise_tables.c``).
    """
    n = np.arange(size, dtype=np.float64)
    window = np.sin(0.5 * np.pi * np.sin(np.pi * (n + 0.5) / size) ** 2)
    return window.astype(np.float32)


WINDOW = vorbis_window()
"""The analysis and synthesis window, float32 [960]."""


@kernel
def window_hops(signal: np.ndarray, start: int, window: np.ndarray, out: np.ndarray) -> None:
    """Cut one window per hop out of a running signal and weight it.

    signal: float32 [samples]; start: index of the first window's first sample.
    window: float32 [960]. out: float32 [hops, 960], written.
    """
    hops, size = out.shape
    for hop in range(hops):
        first = start + hop * HOP_SIZE
        for n in range(size):
            out[hop, n] = signal[first + n] * window[n]


transform = fft.forward
"""Real transform of weighted windows, without scaling: float32 [hops, 960] to complex64 [hops, 481], written."""


@kernel
def overlap_add(windows: np.ndarray, window: np.ndarray, memory: np.ndarray, out: np.ndarray) -> None:
    """Weight time windows and add each to the second half of the one before.

    windows: float32 [hops, 960]; window: float32 [960]; memory: float32 [480], the second
    half of the last window, updated. out: float32 [hops, 480], written.
    """
    hops = windows.shape[0]
    for hop in range(hops):
        for n in range(HOP_SIZE):
            # The first half joins the second half of the window before; w^2 of both sum to 1
            out[hop, n] = windows[hop, n] * window[n] + memory[n]
            memory[n] = windows[hop, HOP_SIZE + n] * window[HOP_SIZE + n]


@part
def synthesize(spectra: np.ndarray, memory: np.ndarray, windows: np.ndarray, out: np.ndarray) -> None:
    """Inverse transform, window and overlap-add.

    spectra: complex64 [hops, 481]; memory: float32 [480], updated; windows: float32
    [hops, 960], working space. out: float32 [hops, 480], written: the hop that this
    window shares with the one before.
    """
    fft.inverse(spectra, windows)
    overlap_add(windows, WINDOW, memory, out)
