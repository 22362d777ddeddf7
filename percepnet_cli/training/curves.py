"""How a run went: history.csv, and curves.png drawn from it."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import NamedTuple

import numpy as np

from percepnet_cli.plotting import figure as plots
from percepnet_cli.storage.atomic import write_atomically


class Panel(NamedTuple):
    """Columns that are drawn together."""

    title: str
    curves: dict[str, str]
    """Label by column; a column that ends in an underscore stands for all that begin so."""
    logarithmic: bool = False


PANELS = (
    Panel(
        "loss",
        {"train": "training", "valid": "validation", "valid_ema": "validation, mean weights"},
        logarithmic=True,
    ),
    Panel("level error of speech, dB", {"speech_db": "mean", "speech_worst_db": "worst tenth"}),
    Panel("level of noise left, dB", {"noise_db": "beside speech", "harmonic_db": "harmonic"}),
    Panel("share of onsets cut", {"onsets_cut": "by more than 6 dB"}),
    Panel("gain error above 8 kHz", {"gain_error_": ""}),
    Panel("pairs: MOS", {"pesq_wb": "PESQ-wb", "dnsmos_ovrl": "OVRL", "dnsmos_p808": "P.808"}),
    Panel("pairs: intelligibility", {"stoi": "STOI", "estoi": "eSTOI"}),
    Panel("pairs: SI-SDR, dB", {"si_sdr": "SI-SDR"}),
)
"""What is drawn, if there is any of it."""

COLUMNS = 4
"""Panels side by side at most."""


def write_history(folder: Path, history: list[dict[str, float]], scores: list[dict[str, float]] | None = None) -> None:
    """Write history.csv and, where matplotlib is installed, curves.png.

    history: a row for each validation: step, minutes of training, hours of audio, losses and levels (see
    ``Trainer.validate``); older rows may lack columns. scores: a row for each time that pairs were scored: step, hours
    and scores (see ``pair_scores``).
    """
    rows = sorted([*history, *(scores or [])], key=lambda row: row["step"])
    columns = list(dict.fromkeys(name for row in [*history, *rows] for name in row))

    def table(part: Path) -> None:
        with part.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(columns)
            for row in rows:
                writer.writerow([_text(name, row[name]) if name in row else "" for name in columns])

    write_atomically(folder / "history.csv", table)
    if not plots.lacking():
        _draw(folder / "curves.png", {name: np.array([row.get(name, np.nan) for row in rows]) for name in columns})


def _draw(path: Path, values: dict[str, np.ndarray]) -> None:
    """Draw the columns that hold numbers over the hours of audio."""
    panels = [(panel, found) for panel in PANELS if (found := _curves(panel, values))]
    across = min(COLUMNS, len(panels))
    down = -(-len(panels) // max(across, 1))
    figure = plots.new_figure(5.5 * max(across, 1), 4 * max(down, 1))
    for place, (panel, curves) in enumerate(panels):
        axes = figure.add_subplot(down, across, place + 1)
        for label, column in curves.items():
            there = np.isfinite(values[column])
            axes.plot(values["hours"][there], values[column][there], label=label, marker=".", markersize=3)

        # the loss after SI-SDR can be below 0
        positive = all(np.nanmin(values[column]) > 0 for column in curves.values())
        axes.set(title=panel.title, xlabel="hours of audio")
        axes.set_yscale("log" if panel.logarithmic and positive else "linear")
        axes.grid(True, which="both", alpha=0.3)
        axes.legend(fontsize="small")
    plots.save(figure, path)


def _curves(panel: Panel, values: dict[str, np.ndarray]) -> dict[str, str]:
    """Return the column by label of what a panel can show."""
    found = {}
    for pattern, label in panel.curves.items():
        for name, column in values.items():
            wanted = name.startswith(pattern) if pattern.endswith("_") else name == pattern
            if wanted and np.isfinite(column).any():
                found[label or name.removeprefix(pattern)] = name
    return found


def _text(name: str, value: float) -> str:
    return str(int(value)) if name == "step" else f"{value:.6g}"
