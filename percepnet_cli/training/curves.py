"""How a run went: history.csv, and curves.png drawn from it."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from percepnet_cli.plotting import figure as plots
from percepnet_cli.storage.atomic import write_atomically

HISTORY_COLUMNS = (
    "step",
    "minutes",
    "hours",
    "learning_rate",
    "train",
    "valid",
    "valid_ema",
    "valid_ema_gain",
    "valid_ema_strength",
)
"""Columns of history.csv: minutes of training, hours of audio, total losses unless named."""


def write_history(folder: Path, history: list[list[float]]) -> None:
    """Write history.csv and, where matplotlib is installed, curves.png."""

    def table(part: Path) -> None:
        with part.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(HISTORY_COLUMNS)
            writer.writerows([[int(row[0]), *(f"{value:.6g}" for value in row[1:])] for row in history])

    write_atomically(folder / "history.csv", table)
    if plots.lacking():
        return
    columns = dict(zip(HISTORY_COLUMNS, np.array(history, dtype=float).T, strict=True))
    figure = plots.new_figure(8, 5)
    axes = figure.add_subplot()
    shown = {"train": "training", "valid": "validation", "valid_ema": "validation, mean weights"}
    for name, label in shown.items():
        axes.plot(columns["hours"], columns[name], label=label, marker=".", markersize=3)
    positive = all(np.nanmin(columns[name], initial=np.inf) > 0 for name in shown)  # the residue can be below 0
    axes.set(xlabel="hours of audio", ylabel="loss", yscale="log" if positive else "linear")
    axes.grid(True, which="both", alpha=0.3)
    axes.legend()
    plots.save(figure, folder / "curves.png")
