"""What became of the files of a batch, as a table: JSON or CSV."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterable
from dataclasses import asdict
from itertools import count
from pathlib import Path
from typing import Any

from percepnet_cli.batch.run import Outcome
from percepnet_cli.errors import AudioError
from percepnet_cli.storage import untrusted
from percepnet_cli.storage.spreadsheet import from_cell, text_cell
from percepnet_cli.storage.tables import Table, TableError
from percepnet_cli.storage.target import check_file, write_file
from percepnet_cli.version import __version__

COLUMNS = (
    "source", "target", "status", "error", "warning", "seconds", "sample_rate", "channels", "input_level_db",
    "output_level_db", "snr_db", "speech_share", "gain_reduction_db", "loudness_lufs", "elapsed_seconds", "cpu_seconds",
)  # fmt: skip
"""Names of the values of a file; empty, or null, where there is none."""

DECIMALS = 3


def row(outcome: Outcome) -> dict[str, Any]:
    """Return the values of ``COLUMNS`` for one file."""
    values: dict[str, Any] = {
        "source": outcome.item.source,
        "target": outcome.item.target,
        "status": outcome.status,
        "error": outcome.error,
        "cpu_seconds": outcome.cpu_seconds,
    }
    if outcome.report is not None:
        values |= asdict(outcome.report.measures)
        values["warning"] = outcome.report.warning
        values |= {
            name: getattr(outcome.report, name)
            for name in ("seconds", "sample_rate", "channels", "loudness_lufs", "elapsed_seconds")
        }
    rounded = {name: round(value, DECIMALS) if isinstance(value, float) else value for name, value in values.items()}
    return {name: rounded.get(name) for name in COLUMNS}


def check(path: Path, replace: bool) -> None:
    """Raise AudioError if a report cannot be written to a file."""
    if path.suffix.lower() not in (".json", ".csv"):
        raise AudioError(f"{path}: a report is a .json or a .csv")
    check_file(path, replace, error=AudioError)


def read(path: Path) -> dict[str, dict[str, Any]]:
    """Return the rows of an earlier report by their source; none if there is no report. Raises AudioError."""
    try:
        if not path.exists():
            return {}
        if path.suffix.lower() == ".json":
            rows = untrusted.read(path)["files"]
        else:
            with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
                table = Table(file)
                if "source" not in table.columns:
                    raise ValueError("no such column")
                rows = [{name: from_cell(value) if value else None for name, value in found.items()} for found in table]
        return {found["source"]: {name: found.get(name) for name in COLUMNS} for found in rows}
    except TableError as error:
        raise AudioError(f"{path} is not a report of an earlier run: {error}") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise AudioError(f"{path} is not a report of an earlier run") from None


def set_aside(path: Path) -> Path:
    """Give a file that is no report another name, one that is free; return it. Raises AudioError."""
    numbers = (path.with_name(f"{path.name}.unreadable{number or ''}") for number in count())
    kept = next(name for name in numbers if not os.path.lexists(name))
    try:
        path.rename(kept)
    except OSError as error:
        raise AudioError(f"{path} cannot be written: {error.strerror}") from None
    return kept


def as_json(rows: Iterable[dict[str, Any]], model: dict[str, str]) -> str:
    """Return a report as JSON. model: name and sha256."""
    return json.dumps({"percepnet": __version__, "model": model, "files": list(rows)}, indent=1)


def write(path: Path, rows: Iterable[dict[str, Any]], model: dict[str, str], replace: bool = False) -> None:
    """Write a report, whole or not at all. model: name and sha256. Raises AudioError, also if it is not to replace."""

    def fill(part: Path) -> None:
        with part.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
            if path.suffix.lower() == ".json":
                file.write(as_json(rows, model) + "\n")
            else:
                table = csv.DictWriter(file, COLUMNS, lineterminator="\n")
                table.writeheader()
                table.writerows({name: text_cell(value) for name, value in found.items()} for found in rows)

    write_file(path, fill, replace, AudioError)
