"""What ``percepnet evaluate`` shows and writes: means with their intervals, by SNR, by file; CSV and JSON."""

from __future__ import annotations

import csv
import json
import math
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from percepnet_cli.errors import AudioError
from percepnet_cli.evaluation.score import CLEAN, SNR_STEP_DB, Row
from percepnet_cli.metrics.bootstrap import CONFIDENCE, DRAWS, Estimate, interval
from percepnet_cli.storage.spreadsheet import text_cell
from percepnet_cli.storage.target import write_file
from percepnet_cli.version import __version__

COLUMNS = {
    "pesq_wb": ("PESQ-wb", ".2f"),
    "stoi": ("STOI", ".3f"),
    "estoi": ("ESTOI", ".3f"),
    "si_sdr": ("SI-SDR dB", ".1f"),
    "segmental_snr": ("segSNR dB", ".1f"),
    "dnsmos_sig": ("DNSMOS SIG", ".2f"),
    "dnsmos_bak": ("BAK", ".2f"),
    "dnsmos_ovrl": ("OVRL", ".2f"),
    "dnsmos_p808": ("P.808", ".2f"),
}
"""Scores that are shown: heading and format."""

DECIMALS = 6
"""Of the numbers in a CSV."""

WORDS = "wer"
"""Key of the word error rate, per cent: all errors over all words."""


def markdown(heading: list[str], lines: list[list[str]]) -> str:
    """Lay out a table with aligned columns: text left, figures right."""
    table = [heading, *lines]
    widths = [max(len(line[i]) for line in table) for i in range(len(heading))]
    rule = [":" + "-" * (widths[0] - 1), *("-" * (width - 1) + ":" for width in widths[1:])]
    text = ""
    for first, *rest in (heading, rule, *lines):
        cells = [first.ljust(widths[0]), *map(str.rjust, rest, widths[1:])]
        text += f"| {' | '.join(cells)} |\n"
    return text


def counted(count: int, what: str) -> str:
    """Return a number of things: 1 file, 2 files."""
    return f"{count} {what}{'' if count == 1 else 's'}"


def number(value: float, form: str) -> str:
    """Format a value, a dash for NaN."""
    return "-" if math.isnan(value) else format(value, form)


class Table:
    """Everything that was scored, by system and file.

    Parameters
    ----------
    rows : sequence of Row
        As ``evaluate.run`` gives them.
    transcripts : bool
        Whether words were compared with what is spoken.
    draws, seed : int
        Of the bootstrap.
    """

    def __init__(self, rows: Sequence[Row], transcripts: bool = False, draws: int = DRAWS, seed: int = 0) -> None:
        self.rows, self.draws, self.seed = list(rows), draws, seed
        self.by_system: dict[str, dict[str, Row]] = {}
        for row in rows:
            self.by_system.setdefault(row["system"], {})[row["file"]] = row
        self.systems = [system for system in self.by_system if system != CLEAN]
        self.files = list(self.by_system[self.systems[0]])
        self.columns = {
            key: column
            for key, column in COLUMNS.items()
            if any(not math.isnan(row.get(key, math.nan)) for row in rows)
        }
        if any("words" in row for row in rows):
            self.columns[WORDS] = ("WER %" if transcripts else "WER vs clean %", ".1f")

    def complete(self, key: str, files: Sequence[str]) -> list[str]:
        """Return the files that have a score from every system: a gap must not flatter whoever has it."""
        if key == WORDS:
            return [file for file in files if all(self.by_system[s][file].get("words") for s in self.systems)]
        return [file for file in files if not any(math.isnan(self.by_system[s][file][key]) for s in self.systems)]

    def estimate(self, key: str, system: str, files: Sequence[str], against: str | None = None) -> Estimate:
        """Return the mean of a system over files, or of its paired difference to another system, with the interval."""
        chosen = self.complete(key, files)
        systems = [against, system] if against else [system]
        values, weights = (
            np.array([[f(self.by_system[s][file]) for s in systems] for file in chosen]) for f in _parts(key)
        )
        if not len(chosen):
            return Estimate(math.nan, math.nan, math.nan)
        return interval(values, weights, draws=self.draws, seed=self.seed)

    def gaps(self) -> list[str]:
        """Return a sentence for every score that some files lack."""
        sentences = []
        for key, (title, _) in self.columns.items():
            lacking = [file for file in self.files if file not in self.complete(key, self.files)]
            if lacking:
                names = ", ".join(lacking[:3]) + (", ..." if len(lacking) > 3 else "")
                sentences.append(
                    f"{title}: not defined for {len(lacking)} of {len(self.files)} files ({names}), left out"
                )
        return sentences

    def summary(self) -> str:
        """Lay out the means of all systems, their intervals, and the differences to the first system."""
        heading = [
            counted(len(self.files), "file"),
            *(title for title, _ in self.columns.values()),
            "delay ms",
            "length",
        ]

        # Two lines for each system: means, and below them their intervals
        lines = []
        for system in self._shown():
            estimates = {key: self._of(key, system) for key in self.columns}
            lines.append([system, *(number(estimates[k].mean, form) for k, (_, form) in self.columns.items())])
            lines[-1] += (
                ["", ""]
                if system == CLEAN
                else [self._spread(system, "delay_ms", ".1f"), self._spread(system, "length_difference", ".0f")]
            )
            lines.append(["", *(_range(estimates[k], form) for k, (_, form) in self.columns.items()), "", ""])

        # And two for each difference to the first system, of the same files
        first = self.systems[0]
        for system in self.systems[1:]:
            line = [f"{system} - {first}"]
            line2 = [""]
            for key, (_, form) in self.columns.items():
                estimate = self.estimate(key, system, self.files, against=first)
                line.append(number(estimate.mean, "+" + form))
                line2.append(_range(estimate, "+" + form))
            lines += [[*line, "", ""], [*line2, "", ""]]

        return markdown(heading, [line for line in lines if any(line)])

    def levels(self) -> dict[float, list[str]]:
        """Return the files by SNR in dB; in steps, unless all are whole numbers, as those of a manifest may be."""
        known = {file: self.by_system[self.systems[0]][file]["snr_db"] for file in self.files}
        known = {file: level for file, level in known.items() if math.isfinite(level)}
        step = 1 if all(level == round(level) for level in known.values()) else SNR_STEP_DB
        found: dict[float, list[str]] = {}
        for file, level in known.items():
            found.setdefault(step * round(level / step), []).append(file)
        return dict(sorted(found.items()))

    def by_snr(self) -> str:
        """Lay out the means of all systems by SNR."""
        heading = ["SNR, system", *(title for title, _ in self.columns.values())]
        lines = []
        for level, files in self.levels().items():
            for system in self.systems:
                means = (
                    number(self.estimate(key, system, files).mean, form) for key, (_, form) in self.columns.items()
                )
                lines.append([f"{level:g} dB ({len(files)}), {system}", *means])
        return markdown(heading, lines)

    def by_file(self) -> str:
        """Lay out every file's scores."""
        heading = ["file, system", "SNR dB", *(title for title, _ in self.columns.values()), "delay ms", "length"]
        lines = []
        for file in self.files:
            for system in self.systems:
                row = self.by_system[system][file]
                values = (number(_value(row, key), form) for key, (_, form) in self.columns.items())
                places = (number(row["delay_ms"], ".1f"), f"{row['length_difference']:.0f}")
                lines.append([f"{file}, {system}", number(row["snr_db"], ".1f"), *values, *places])
        return markdown(heading, lines)

    def notes(self) -> str:
        """Return what the tables mean."""
        text = (
            f"Below each mean its {100 * CONFIDENCE:.0f} % interval: percentile bootstrap over files, {self.draws} "
            f"draws, seed {self.seed}; differences are paired."
            if len(self.files) > 1
            else "One file has no interval."
        )
        text += (
            "\nDelay (taken out before scoring) in ms, length difference in samples at 48 kHz: the median, and the "
            "extremes if they differ."
        )
        return "\n".join([text, *self.gaps()])

    def json(self) -> dict[str, Any]:
        """Return means, intervals, differences and rows; null is what is not known."""
        first = self.systems[0]
        return {
            "percepnet": __version__,
            "bootstrap": {"draws": self.draws, "seed": self.seed, "confidence": CONFIDENCE},
            "systems": {
                system: {
                    "mean": {key: _known(self._of(key, system)) for key in self.columns},
                    "minus_first": None
                    if system in (first, CLEAN)
                    else {key: _known(self.estimate(key, system, self.files, first)) for key in self.columns},
                    "by_snr": {
                        f"{level:g}": {key: _known(self.estimate(key, system, files)) for key in self.columns}
                        for level, files in (self.levels().items() if system != CLEAN else ())
                    },
                }
                for system in self._shown()
            },
            "rows": [{key: finite(value) for key, value in row.items()} for row in self.rows],
        }

    def _shown(self) -> list[str]:
        return ([CLEAN] if CLEAN in self.by_system else []) + self.systems

    def _of(self, key: str, system: str) -> Estimate:
        if system == CLEAN and key != WORDS:
            return Estimate(math.nan, math.nan, math.nan)
        return self.estimate(key, system, self.files)

    def _spread(self, system: str, key: str, form: str) -> str:
        values = [row[key] for row in self.by_system[system].values()]
        low, middle, high = (number(f(values), form) for f in (min, statistics.median, max))
        return middle if low == middle == high else f"{middle} ({low} to {high})"


def _parts(key: str) -> tuple[Callable[[Row], float], Callable[[Row], float]]:
    """Return numerator and denominator of a score."""
    if key == WORDS:
        return lambda row: 100 * row["word_errors"], lambda row: row["words"]
    return lambda row: row[key], lambda row: 1


def _value(row: Row, key: str) -> float:
    if key != WORDS:
        return row[key]
    return 100 * row["word_errors"] / row["words"] if row.get("words") else math.nan


def _range(estimate: Estimate, form: str) -> str:
    return "" if math.isnan(estimate.low) else f"{estimate.low:{form}} to {estimate.high:{form}}"


def finite(value: Any) -> Any:
    """Return a value as JSON has it: None for NaN and infinity."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _rounded(value: Any) -> Any:
    """Leave out what depends on the order in which sums were taken."""
    return round(value, DECIMALS) if isinstance(value, float) and math.isfinite(value) else finite(value)


def _known(estimate: Estimate) -> dict[str, float | None]:
    return {name: finite(value) for name, value in estimate._asdict().items()}


def write_csv(rows: Sequence[Row], path: Path, force: bool = False) -> None:
    """Write one line per file and system, whole or not at all. Raises AudioError, also if it exists without force."""
    names = list(dict.fromkeys(name for row in rows for name in row))

    def fill(part: Path) -> None:
        with part.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
            table = csv.DictWriter(file, names, lineterminator="\n")
            table.writeheader()
            table.writerows({name: text_cell(_rounded(value)) for name, value in row.items()} for row in rows)

    write_file(path, fill, force, AudioError)


def write_json(content: dict[str, Any], path: Path, force: bool = False) -> None:
    """Write an object as JSON, whole or not at all. Raises AudioError, also if it exists without force."""
    text = json.dumps(content, indent=1, allow_nan=False) + "\n"
    write_file(path, lambda part: part.write_text(text, "utf-8"), force, AudioError)
