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


def spread(rows: list[Row], key: str, form: str) -> str:
    """Format the median, and the extremes when they differ from it."""
    values = [row[key] for row in rows]
    low, middle, high = (number(f(values), form) for f in (min, statistics.median, max))
    return middle if low == middle == high else f"{middle} ({low} to {high})"


def main_table(results: dict[str, list[Row]]) -> str:
    """Lay out means of all scores, medians of delay and length, one line per system."""
    heading = ["", *(title for title, _ in COLUMNS.values()), "delay ms", "length difference"]
    lines = [
        [
            system,
            *(number(mean(rows, score), form) for score, (_, form) in COLUMNS.items()),
            spread(rows, "delay_ms", ".1f"),
            spread(rows, "length_difference", ".0f"),
        ]
        for system, rows in results.items()
    ]
    return markdown(heading, lines)


def snr_tables(results: dict[str, list[Row]]) -> str:
    """Lay out all scores but eSTOI, two in a table, one column per SNR."""
    return "\n".join(_snr_table(results, two) for two in TOGETHER)


def _snr_table(results: dict[str, list[Row]], two: tuple[str, str]) -> str:
    levels = sorted({row["snr_db"] for rows in results.values() for row in rows})
    counts = [sum(row["snr_db"] == level for row in next(iter(results.values()))) for level in levels]
    formats = [COLUMNS[score][1] for score in two]
    heading = [" / ".join(COLUMNS[score][0] for score in two)]
    heading += [f"{level:g} dB ({n})" for level, n in zip(levels, counts, strict=True)]
    lines = []
    for system, rows in results.items():
        line = [system]
        for level in levels:
            chosen = [row for row in rows if row["snr_db"] == level]
            cells = (number(mean(chosen, score), digits) for score, digits in zip(two, formats, strict=True))
            line.append(" / ".join(cells))
        lines.append(line)
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

    text = main_table(results)
    if args.by_snr:
        text += "\n" + snr_tables(results)
    print(text, end="")
    if args.markdown:
        args.markdown.write_text(text, encoding="utf-8")
    if args.json:
        args.json.write_text(report(results, seconds), encoding="utf-8")


if __name__ == "__main__":
    main()
