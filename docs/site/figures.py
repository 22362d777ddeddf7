"""The pictures of docs/how.md, drawn from examples/street.flac by the program's own stages."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from percepnet_cli.audio.whole import read_mono
from percepnet_cli.constants import (
    BAND_HZ,
    COMB_PERIODS,
    HOP_SIZE,
    LOOKAHEAD_HOPS,
    NUM_BANDS,
    SAMPLE_RATE,
    WINDOW_SIZE,
)
from percepnet_cli.denoiser import Denoiser
from percepnet_cli.dsp import bands, comb, gains, stft
from percepnet_cli.network.modelfile import load_model
from percepnet_cli.network.percepnet import State
from percepnet_cli.signal_path import analyze_signal

HOP_SECONDS = HOP_SIZE / SAMPLE_RATE
BIN_HZ = SAMPLE_RATE / WINDOW_SIZE
BAND_CENTERS_HZ = np.array(BAND_HZ)
SHOWN = slice(200, 500)
"""Hops that are drawn: 3 s, in which the speech is going on."""


class Run(NamedTuple):
    """The example through the stages; row l of every array is window l."""

    noisy: np.ndarray
    clean: np.ndarray
    Y: np.ndarray
    P: np.ndarray
    period: np.ndarray
    correlation: np.ndarray
    features: np.ndarray
    gain: np.ndarray
    strength: np.ndarray
    filtered: np.ndarray
    voiced: int
    """The window of SHOWN with the clearest pitch."""


def run(root: Path) -> Run:
    """Analyze the example and ask the shipped network."""
    noisy = read_mono(root / "examples" / "street.flac")
    model = load_model(None)
    a = analyze_signal(noisy)
    gain, strength, filtered = np.zeros((3, len(a.E), NUM_BANDS), np.float32)
    State(model, len(a.E)).run(a.features, gain, strength)
    gains.postfilter_hops(gain, a.E, np.float32(1), filtered)
    columns = (a.Y, a.P, a.period, a.correlation, a.features, gain, strength, filtered)
    clean = Denoiser(model).denoise(noisy)
    voiced = SHOWN.start + int(np.argmax(columns[3][SHOWN] * (columns[2][SHOWN] > 200)))
    return Run(noisy, clean, *columns, voiced)


def db(power: np.ndarray) -> np.ndarray:
    """Return decibels of energies."""
    return 10 * np.log10(power + 1e-9)


def figure(rows: int = 1, columns: int = 1, height: float = 3.0, **options: Any) -> tuple[Figure, Any]:
    """Return a figure of the pages' width and its axes."""
    drawing = Figure(figsize=(9, height), layout="constrained", dpi=100)
    return drawing, drawing.subplots(rows, columns, **options)


def image(ax: Axes, values: np.ndarray, label: str, **options: Any) -> None:
    """Draw one value per hop and band (or bin) of the hops SHOWN."""
    start, stop = SHOWN.start * HOP_SECONDS, SHOWN.stop * HOP_SECONDS
    extent = (start, stop, 0, options.pop("top", values.shape[1]))
    drawn = ax.imshow(values.T, origin="lower", aspect="auto", extent=extent, interpolation="nearest", **options)
    ax.figure.colorbar(drawn, ax=ax, label=label, pad=0.01)


def window(r: Run) -> Figure:
    """Draw windows and the sum of their squares; a piece of speech in one."""
    drawing, (left, right) = figure(1, 2, 2.6)
    n = np.arange(WINDOW_SIZE) / SAMPLE_RATE * 1000
    hop_ms = 1000 * HOP_SECONDS
    for shift in (0, 1, 2):
        left.plot(n + shift * hop_ms, stft.WINDOW, "C0" if shift != 1 else "C1")
    both = stft.WINDOW[HOP_SIZE:] ** 2 + stft.WINDOW[:HOP_SIZE] ** 2
    left.plot(n[:HOP_SIZE] + hop_ms, both, "k:", label="sum of squares")
    left.set(xlabel="time, ms", title="a window every 10 ms")
    left.legend(loc="lower center")
    first = (r.voiced - 1) * HOP_SIZE
    cut = r.noisy[first : first + WINDOW_SIZE]
    right.plot(n, cut, "0.7", label="input")
    right.plot(n, cut * stft.WINDOW, "C0", label="windowed")
    right.set(xlabel="time, ms", title=f"window at {r.voiced * HOP_SECONDS:.2f} s")
    right.legend(loc="upper right")
    return drawing


def band_energies(r: Run) -> Figure:
    """Draw the triangles, and a spectrum with its band energies."""
    drawing, (top, bottom) = figure(2, 1, 4.4, sharex=True)
    hz = np.arange(len(bands.FRACTION)) * BIN_HZ
    for band, triangle in enumerate(bands.triangles()):
        top.plot(hz / 1000, np.minimum(triangle, 1), f"C{band % 2}", linewidth=0.9)
    top.set(ylabel="weight")
    spectrum = np.abs(r.Y[r.voiced]) ** 2
    energy = bands.triangles() @ spectrum
    width = bands.triangles().sum(axis=1)
    bottom.plot(hz / 1000, db(spectrum), "0.6", linewidth=0.8, label="bins")
    bottom.plot(BAND_CENTERS_HZ / 1000, db(energy / width), "C3o-", markersize=3, label="mean of each band")
    bottom.set(xlabel="frequency, kHz", ylabel="dB", xlim=(0, 20), ylim=(-50, None))
    bottom.legend()
    return drawing


def pitch(r: Run) -> Figure:
    """Draw the pitch track over the low spectrum, and its correlation."""
    drawing, (top, bottom) = figure(2, 1, 4.6, sharex=True, height_ratios=(2.2, 1))
    level = db(np.abs(r.Y[SHOWN, : int(1000 / BIN_HZ)]) ** 2)
    image(top, level, "dB", top=1.0, cmap="gray_r", vmin=-30, vmax=40)
    time = np.arange(SHOWN.start, SHOWN.stop) * HOP_SECONDS
    hz = SAMPLE_RATE / r.period[SHOWN]
    certain = r.correlation[SHOWN] > 0.5
    top.plot(time, np.where(certain, hz, np.nan) / 1000, "C3", linewidth=2, label="1 / T where correlation > 0.5")
    top.legend(loc="upper right")
    top.set(ylabel="frequency, kHz")
    bottom.plot(time, r.correlation[SHOWN])
    bottom.set(ylabel="correlation", xlabel="time, s", ylim=(0, 1))
    return drawing


def comb_filter(r: Run) -> Figure:
    """Draw the comb's frequency response, and a spectrum before and after it."""
    drawing, (left, right) = figure(1, 2, 3.0)
    period = int(r.period[r.voiced])
    hz = np.linspace(0, 1500, 3000)
    k = np.arange(-COMB_PERIODS, COMB_PERIODS + 1)
    response = np.exp(-2j * np.pi * np.outer(hz, k) * period / SAMPLE_RATE) @ comb.TAPS
    left.plot(hz, 2 * db(np.abs(response)), label="all periods known")
    future = min(COMB_PERIODS, LOOKAHEAD_HOPS * HOP_SIZE // period)
    kept = comb.TAPS[COMB_PERIODS - future :] / comb.TAPS[COMB_PERIODS - future :].sum()
    response = np.exp(-2j * np.pi * np.outer(hz, k[COMB_PERIODS - future :]) * period / SAMPLE_RATE) @ kept
    left.plot(hz, 2 * db(np.abs(response)), label=f"{future} coming periods known")
    left.set(xlabel="frequency, Hz", ylabel="dB", ylim=(-50, 3), title=f"T = {period} samples")
    left.legend(loc="lower right", fontsize=8)
    bins = np.arange(r.Y.shape[1]) * BIN_HZ
    for spectrum, label in ((r.Y, "Y"), (r.P, "P, comb-filtered")):
        right.plot(bins / 1000, db(np.abs(spectrum[r.voiced]) ** 2), label=label, linewidth=1)
    right.set(xlabel="frequency, kHz", ylabel="dB", xlim=(0, 4), ylim=(-40, None))
    right.legend()
    return drawing


def features(r: Run) -> Figure:
    """Draw what the network sees."""
    drawing, axes = figure(3, 1, 6.0, sharex=True, height_ratios=(1, 1, 0.6))
    shown = r.features[SHOWN]
    image(axes[0], shown[:, :NUM_BANDS], "log10 energy", cmap="magma")
    image(axes[1], shown[:, NUM_BANDS : 2 * NUM_BANDS], "coherence", cmap="magma", vmin=0, vmax=1)
    time = np.arange(SHOWN.start, SHOWN.stop) * HOP_SECONDS
    axes[2].plot(time, shown[:, -2], label="octaves of the period above 2 ms")
    axes[2].plot(time, shown[:, -1], label="correlation")
    axes[2].legend(loc="upper right", ncols=2, fontsize=8)
    axes[2].set(xlabel="time, s", ylim=(0, 4.2))  # room for the legend
    for ax in axes[:2]:
        ax.set(ylabel="band")
    return drawing


def predictions(r: Run) -> Figure:
    """Draw what the network predicts."""
    drawing, axes = figure(2, 1, 4.4, sharex=True)
    image(axes[0], r.gain[SHOWN], "gain", cmap="magma", vmin=0, vmax=1)
    image(axes[1], r.strength[SHOWN], "strength", cmap="magma", vmin=0, vmax=1)
    for ax in axes:
        ax.set(ylabel="band")
    axes[1].set(xlabel="time, s")
    return drawing


def post_filter(r: Run) -> Figure:
    """Draw the curve, and what it does to one window."""
    drawing, (left, right) = figure(1, 2, 2.8)
    g = np.linspace(0, 1, 200)
    left.plot(g, g, "k:", label="g")
    left.plot(g, g * np.sin(np.pi * g / 2), label="g sin(pi g / 2)")
    left.set(xlabel="gain of the network", ylabel="gain")
    left.legend()
    right.plot(BAND_CENTERS_HZ / 1000, r.gain[r.voiced], "k.:", label="network")
    right.plot(BAND_CENTERS_HZ / 1000, r.filtered[r.voiced], "C0.-", label="post-filtered")
    right.set(xlabel="frequency, kHz", ylabel="gain", title=f"window at {r.voiced * HOP_SECONDS:.2f} s")
    right.legend()
    return drawing


def output(r: Run) -> Figure:
    """Draw spectrograms before and after."""
    drawing, axes = figure(1, 2, 3.2, sharey=True)
    first = SHOWN.start * HOP_SIZE
    for ax, samples, title in ((axes[0], r.noisy, "before"), (axes[1], r.clean, "after")):
        part = samples[first - HOP_SIZE : SHOWN.stop * HOP_SIZE]
        frames = np.lib.stride_tricks.sliding_window_view(part, WINDOW_SIZE)[::HOP_SIZE]
        spectra = np.abs(np.fft.rfft(frames * stft.WINDOW)) ** 2
        image(ax, db(spectra), "dB", top=SAMPLE_RATE / 2000, cmap="magma", vmin=-50, vmax=35)
        ax.set(title=title, xlabel="time, s", ylim=(0, 16))
    axes[0].set_ylabel("frequency, kHz")
    return drawing


DRAWINGS = {
    "window": window,
    "bands": band_energies,
    "pitch": pitch,
    "comb": comb_filter,
    "features": features,
    "predictions": predictions,
    "post-filter": post_filter,
    "output": output,
}
"""Pictures in images/how/, by name."""


def files(root: Path) -> dict[str, bytes]:
    """Return all pictures as PNG."""
    r = run(root)
    made = {}
    for name, draw in DRAWINGS.items():
        memory = io.BytesIO()
        draw(r).savefig(memory, format="png")
        made[f"images/how/{name}.png"] = memory.getvalue()
    return made
