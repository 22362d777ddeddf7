"""How a run went: history.csv, and curves.png drawn from it."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from percepnet_cli.plotting import figure as plots
from percepnet_cli.storage.atomic import write_atomically

SHOWN = {"train": "training", "valid": "validation", "valid_ema": "validation, mean weights"}
"""Losses that are drawn, by column."""


def write_history(folder: Path, history: list[dict[str, float]]) -> None:
    """Write history.csv and, where matplotlib is installed, curves.png.

    history: a row for each validation: step, minutes of training, hours of audio, losses (see ``Trainer.validate``);
    older rows may lack columns.
    """
    columns = list(dict.fromkeys(name for row in history for name in row))

    def table(part: Path) -> None:
        with part.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(columns)
            for row in history:
                writer.writerow([_text(name, row[name]) if name in row else "" for name in columns])

    write_atomically(folder / "history.csv", table)
    if plots.lacking():
        return
    values = {name: np.array([row.get(name, np.nan) for row in history]) for name in columns}
    figure = plots.new_figure(8, 5)
    axes = figure.add_subplot()
    for name, label in SHOWN.items():
        axes.plot(values["hours"], values[name], label=label, marker=".", markersize=3)
    # the loss after SI-SDR can be below 0
    positive = all(np.nanmin(values[name], initial=np.inf) > 0 for name in SHOWN)
    axes.set(xlabel="hours of audio", ylabel="loss", yscale="log" if positive else "linear")
    axes.grid(True, which="both", alpha=0.3)
    axes.legend()
    plots.save(figure, folder / "curves.png")


def _text(name: str, value: float) -> str:
    return str(int(value)) if name == "step" else f"{value:.6g}"
