"""Print one table of objective scores: the noisy input beside each folder of enhanced files.

    dev_table.py --pairs DIR --enhanced NAME=DIR ... [--json OUT] [--markdown OUT] [--by-snr]

``DIR/noisy`` and ``DIR/clean`` hold recordings of the same names; an enhanced folder
holds one file for each, WAV or FLAC. ``DIR.tsv`` beside the pairs, when it is there,
has the columns ``file`` and ``snr_db``.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from percepnet_cli.audio.whole import read_mono
from percepnet_cli.constants import SAMPLE_RATE as RATE
from percepnet_cli.evaluation.report import markdown, number
from percepnet_cli.metrics.scores import SCORES, score_pair

AUDIO = (".wav", ".flac")
NOISY = "noisy"

COLUMNS = {
    "pesq_wb": ("PESQ-wb", ".2f"),
    "stoi": ("STOI", ".3f"),
    "estoi": ("eSTOI", ".3f"),
    "si_sdr": ("SI-SDR dB", ".1f"),
    "dnsmos_sig": ("DNSMOS SIG", ".2f"),
    "dnsmos_bak": ("BAK", ".2f"),
    "dnsmos_ovrl": ("OVRL", ".2f"),
    "dnsmos_p808": ("P.808", ".2f"),
}
"""Scores of the table: heading and format."""

TOGETHER = (("pesq_wb", "dnsmos_ovrl"), ("stoi", "si_sdr"), ("dnsmos_sig", "dnsmos_bak"))
"""Scores that share a table by SNR."""

Row = dict[str, Any]
"""One file's scores under the keys of ``score_pair``, and ``file`` and ``snr_db``."""

System = dict[str, Any]
"""What ``summary`` returns of the rows of a system."""


def recordings(folder: Path) -> dict[str, Path]:
    """Audio files of a folder by name without suffix."""
    if not folder.is_dir():
        raise SystemExit(f"no folder {folder}")
    return {path.stem: path for path in sorted(folder.iterdir()) if path.suffix.lower() in AUDIO}


def read_snr(table: Path) -> dict[str, float]:
    """SNR in dB by file name without suffix; empty when there is no table."""
    if not table.is_file():
        return {}
    with table.open(newline="", encoding="utf-8") as lines:
        return {Path(row["file"]).stem: float(row["snr_db"]) for row in csv.DictReader(lines, delimiter="\t")}


def score_folder(clean: dict[str, Path], enhanced: dict[str, Path], snr: dict[str, float]) -> list[Row]:
    """Score every clean recording's counterpart."""
    rows = []
    for name, reference in clean.items():
        row: Row = {"file": name, "snr_db": snr.get(name, math.nan)}
        try:
            row |= score_pair(read_mono(reference), read_mono(enhanced[name]), RATE)
        except ValueError as error:
            raise SystemExit(f"{enhanced[name]}: {error}") from error
        unknown = [score for score in SCORES if math.isnan(row[score])]
        if unknown:
            print(f"{enhanced[name]}: no {', '.join(unknown)}", file=sys.stderr)
        rows.append(row)
    return rows


def mean(rows: list[Row], score: str) -> float:
    """Average over all files; NaN if any has no score, for a gap must not flatter the rest."""
    return statistics.fmean(row[score] for row in rows)


def summary(rows: list[Row]) -> System:
    """Return what the tables show of a system: means, over all files and by SNR, and the spread of delay and length."""

    def means(chosen: list[Row]) -> dict[str, float]:
        return {score: round(mean(chosen, score), 6) for score in COLUMNS}

    def spread(key: str) -> dict[str, float]:
        values = [row[key] for row in rows]
        return {"least": min(values), "median": statistics.median(values), "most": max(values)}

    levels = sorted({row["snr_db"] for row in rows if not math.isnan(row["snr_db"])})
    chosen = [(level, [row for row in rows if row["snr_db"] == level]) for level in levels]
    return {
        "mean": means(rows),
        "delay_ms": spread("delay_ms"),
        "length_difference": spread("length_difference"),
        "by_snr": [{"snr_db": level, "recordings": len(some), "mean": means(some)} for level, some in chosen],
    }


def spread_text(values: dict[str, float], form: str) -> str:
    """Format the median, and the extremes when they differ from it."""
    low, middle, high = (number(values[key], form) for key in ("least", "median", "most"))
    return middle if low == middle == high else f"{middle} ({low} to {high})"


def main_table(systems: dict[str, System]) -> str:
    """Lay out means of all scores, medians of delay and length, one line per system."""
    # Records that were written before a score was added do not have it.
    columns = {
        score: column for score, column in COLUMNS.items() if all(score in one["mean"] for one in systems.values())
    }
    heading = ["", *(title for title, _ in columns.values()), "delay ms", "length difference"]
    lines = [
        [
            name,
            *(number(system["mean"][score], form) for score, (_, form) in columns.items()),
            spread_text(system["delay_ms"], ".1f"),
            spread_text(system["length_difference"], ".0f"),
        ]
        for name, system in systems.items()
    ]
    return markdown(heading, lines)


def snr_tables(systems: dict[str, System]) -> str:
    """Lay out all scores but eSTOI, two in a table, one column per SNR."""
    return "\n".join(_snr_table(systems, two) for two in TOGETHER)


def _snr_table(systems: dict[str, System], two: tuple[str, str]) -> str:
    heading = [" / ".join(COLUMNS[score][0] for score in two)]
    heading += [f"{group['snr_db']:g} dB ({group['recordings']})" for group in next(iter(systems.values()))["by_snr"]]
    lines = []
    for name, system in systems.items():
        cells = [
            " / ".join(number(group["mean"][score], COLUMNS[score][1]) for score in two) for group in system["by_snr"]
        ]
        lines.append([name, *cells])
    return markdown(heading, lines)


def report(results: dict[str, list[Row]], seconds: dict[str, float]) -> str:
    """Write means and every file's row as JSON; null stands for what is not known."""

    def known(row: Row) -> dict[str, object]:
        return {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in row.items()}

    systems = {
        system: {
            "files": len(rows),
            "seconds": round(seconds[system], 1),
            "mean": known({score: mean(rows, score) for score in SCORES}),
            "rows": [known(row) for row in rows],
        }
        for system, rows in results.items()
    }
    return json.dumps({"systems": systems}, indent=1) + "\n"


def folders(pairs: Path, named: list[str]) -> dict[str, Path]:
    """Read NAME=DIR arguments into folders by name, the noisy input first."""
    chosen = {NOISY: pairs / "noisy"}
    for argument in named:
        name, equals, folder = argument.partition("=")
        if not (name and equals and folder):
            raise SystemExit(f"--enhanced takes NAME=DIR, not {argument!r}")
        if name in chosen:
            raise SystemExit(f"two folders are called {name!r}")
        chosen[name] = Path(folder)
    return chosen


def main() -> None:
    """Score what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=Path, required=True, metavar="DIR", help="holds noisy/ and clean/")
    parser.add_argument("--enhanced", nargs="+", action="extend", default=[], metavar="NAME=DIR")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write means and the row of every file")
    parser.add_argument("--markdown", type=Path, metavar="OUT", help="write what is printed")
    parser.add_argument("--by-snr", action="store_true", help="add tables of the scores by input SNR")
    args = parser.parse_args()

    pairs = args.pairs.resolve()
    clean = recordings(pairs / "clean")
    if not clean:
        raise SystemExit(f"no recordings in {pairs / 'clean'}")
    table = pairs.parent / f"{pairs.name}.tsv"
    snr = read_snr(table)
    if args.by_snr and not clean.keys() <= snr.keys():
        raise SystemExit(f"--by-snr: {table} does not list every recording")
    systems = {name: recordings(folder) for name, folder in folders(pairs, args.enhanced).items()}
    for name, files in systems.items():
        missing = clean.keys() - files.keys()
        if missing:
            raise SystemExit(f"{name}: {len(missing)} of {len(clean)} files missing, such as {min(missing)}")

    results, seconds = {}, {}
    for name, files in systems.items():
        start = time.monotonic()
        results[name] = score_folder(clean, files, snr)
        seconds[name] = time.monotonic() - start
        print(f"{name}: {len(clean)} files in {seconds[name]:.0f} s", file=sys.stderr, flush=True)

    summaries = {name: summary(rows) for name, rows in results.items()}
    text = main_table(summaries)
    if args.by_snr:
        text += "\n" + snr_tables(summaries)
    print(text, end="")
    if args.markdown:
        args.markdown.write_text(text, encoding="utf-8")
    if args.json:
        args.json.write_text(report(results, seconds), encoding="utf-8")


if __name__ == "__main__":
    main()
