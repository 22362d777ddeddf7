"""Drawings of sound and of what the signal path sees in it: spectrograms, bands, pitch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from percepnet_cli.constants import BAND_CENTERS, HOP_SIZE, NUM_BANDS, PERIOD_MAX, PERIOD_MIN, SAMPLE_RATE, WINDOW_SIZE
from percepnet_cli.dsp.stft import WINDOW
from percepnet_cli.plotting import figure as plots
from percepnet_cli.plotting.trace import Trace

if TYPE_CHECKING:
    from percepnet_cli.plotting.figure import Axes, AxesImage, Figure

LOWEST_DB, HIGHEST_DB = -90.0, -10.0
"""What the colors of a spectrogram span; a full-scale sine has 0."""

COLUMNS = 1500
"""Windows of a spectrogram at most: more would not be seen."""

HIGHEST_KHZ = 16.0
"""Spectrograms end here unless told otherwise: little of speech is above."""

DETAIL_KHZ, DETAIL_SIZE = 4.0, 4 * HOP_SIZE
"""Of what is drawn in detail: the end, and the length of the windows, 40 ms."""

_HOP_SECONDS = HOP_SIZE / SAMPLE_RATE
_KHZ_PER_BIN = SAMPLE_RATE / WINDOW_SIZE / 1000


def spectrogram_db(samples: np.ndarray, step: int = HOP_SIZE // 2, size: int = WINDOW_SIZE) -> np.ndarray:
    """Return levels of the windows at every ``step`` samples, float [windows, size // 2 + 1], dB of a full-scale sine.

    samples: float32 [n] at 48 kHz; their ends are padded, so that the first window's middle is the first sample.
    size: of the windows, even; the signal path's own shape, or a Hann window of another length.
    """
    window = WINDOW if size == WINDOW_SIZE else np.hanning(size + 1)[:-1]
    padded = np.pad(samples, (size // 2, max(size // 2, size - len(samples))))
    frames = np.lib.stride_tricks.sliding_window_view(padded, size)[::step]
    magnitude = np.abs(np.fft.rfft(frames * window)) / (np.sum(window) / 2)
    return 20 * np.log10(magnitude + 1e-7)


def draw_spectrogram(
    axes: Axes,
    samples: np.ndarray,
    start_seconds: float = 0.0,
    highest_khz: float = HIGHEST_KHZ,
    size: int = WINDOW_SIZE,
) -> AxesImage:
    """Draw the spectrogram of float32 [n] at 48 kHz that begins at a time; return the image, for its colors."""
    step = max(HOP_SIZE // 2, len(samples) // COLUMNS)
    level_db = spectrogram_db(samples, step, size)
    half_s, half_khz = step / 2 / SAMPLE_RATE, SAMPLE_RATE / size / 2000
    end = start_seconds + (len(level_db) - 1) * step / SAMPLE_RATE
    image = axes.imshow(
        level_db.T,
        origin="lower",
        aspect="auto",
        interpolation="nearest",
        extent=(start_seconds - half_s, end + half_s, -half_khz, SAMPLE_RATE / 2000 + half_khz),
        vmin=LOWEST_DB,
        vmax=HIGHEST_DB,
        cmap="magma",
    )
    axes.set(ylim=(0, highest_khz), xlim=(start_seconds, start_seconds + max(len(samples) / SAMPLE_RATE, 2 * half_s)))
    return image


def draw_bands(axes: Axes, values: np.ndarray, start_seconds: float = 0.0, cmap: str = "viridis") -> AxesImage:
    """Draw float [hops, 34], 0..1, one row a band, its frequency beside it; return the image."""
    image = axes.imshow(
        values.T,
        origin="lower",
        aspect="auto",
        interpolation="nearest",
        extent=(
            start_seconds - _HOP_SECONDS / 2,
            start_seconds + (len(values) - 0.5) * _HOP_SECONDS,
            -0.5,
            NUM_BANDS - 0.5,
        ),
        vmin=0,
        vmax=1,
        cmap=cmap,
    )
    bands = [0, 5, 10, 16, 21, 26, 30, 33]
    axes.set_yticks(bands, [f"{BAND_CENTERS[band] * _KHZ_PER_BIN:.2g}" for band in bands])
    return image


def loudest(samples: np.ndarray, size: int) -> int:
    """Return where the segment of ``size`` samples begins that has most energy; 0 if there are not so many."""
    energy = np.concatenate(([0.0], np.cumsum(np.square(samples, dtype=np.float64))))
    return int(np.argmax(energy[size:] - energy[:-size])) if len(samples) > size else 0


def side_by_side(signals: Mapping[str, np.ndarray], highest_khz: float = HIGHEST_KHZ) -> Figure:
    """Draw the spectrograms of signals, float32 [n] at 48 kHz, beside each other under their titles.

    Below each the loudest second of the last one in detail, where harmonics can be told apart.
    """
    figure = plots.new_figure(2.4 * len(signals) + 1, 6.4)
    whole, detail = figure.subplots(2, len(signals), sharey="row", squeeze=False)
    second = loudest(list(signals.values())[-1], SAMPLE_RATE)
    for upper, lower, (title, samples) in zip(whole, detail, signals.items(), strict=True):
        draw_spectrogram(upper, samples, highest_khz=highest_khz)
        part = samples[second : second + SAMPLE_RATE]
        image = draw_spectrogram(lower, part, second / SAMPLE_RATE, min(DETAIL_KHZ, highest_khz), DETAIL_SIZE)
        upper.set_title(title, fontsize=9, parse_math=False)
        lower.set_xlabel("time, s")
    for axes in (whole[0], detail[0]):
        axes.set_ylabel("frequency, kHz")
    figure.colorbar(image, ax=[*whole, *detail], label="dB of full scale", pad=0.01)
    return figure


def overview(
    title: str, samples: np.ndarray, trace: Trace, start_seconds: float = 0.0, highest_khz: float = HIGHEST_KHZ
) -> Figure:
    """Draw a recording before and after, and between them the network's input and predictions.

    samples: float32 [n] at 48 kHz, what ``trace`` was seen of; start_seconds: the time of its first sample.
    """
    figure = plots.new_figure(11, 13)
    figure.suptitle(title, parse_math=False)  # the name of a file may have dollars in it
    rows = figure.subplots(6, 1, sharex=True, height_ratios=[3, 3, 2, 2, 2, 2])
    for axes, (label, sound) in zip(rows, {"before": samples, "after": trace.output}.items(), strict=False):
        image = draw_spectrogram(axes, sound, start_seconds, highest_khz)
        axes.set_ylabel(f"{label}\nfrequency, kHz")
        figure.colorbar(image, ax=axes, label="dB of full scale", pad=0.01)
    _draw_pitch(figure, rows[2], trace, start_seconds)
    for axes, label, values, cmap in (
        (rows[3], "coherence with the\ncomb-filtered window", trace.coherence, "cividis"),
        (rows[4], "gains", trace.gain, "viridis"),
        (rows[5], "filtering strengths", trace.strength, "plasma"),
    ):
        image = draw_bands(axes, values, start_seconds, cmap)
        axes.set_ylabel(f"{label}\nband, kHz")
        figure.colorbar(image, ax=axes, pad=0.01)
    rows[-1].set_xlabel("time, s")
    rows[0].set_xlim(start_seconds, start_seconds + max(len(samples) / SAMPLE_RATE, _HOP_SECONDS))
    return figure


def _draw_pitch(figure: Figure, axes: Axes, trace: Trace, start_seconds: float) -> None:
    time = start_seconds + np.arange(len(trace.period)) * _HOP_SECONDS
    dots = axes.scatter(
        time, SAMPLE_RATE / trace.period, c=trace.correlation, s=6, vmin=0, vmax=1, cmap="Greys", rasterized=True
    )
    axes.set(yscale="log", ylim=(0.95 * SAMPLE_RATE / PERIOD_MAX, 1.05 * SAMPLE_RATE / PERIOD_MIN))
    axes.set_yticks([75, 100, 150, 200, 300, 400], ["75", "100", "150", "200", "300", "400"])
    axes.minorticks_off()
    axes.set_ylabel("pitch, Hz")
    figure.colorbar(dots, ax=axes, label="correlation", pad=0.01)
