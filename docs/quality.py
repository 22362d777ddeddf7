"""Make the tables of quality from docs/quality.json (see generate.py).

Its "systems" holds the scores of our models and of other programs on the test set (``make quality``), "ends" what
becomes of clean speech and of noise alone, "conditions" the same models on recordings of other kinds, "eight_bits" what
rounding costs, "recognition" the errors of a recognizer, "stages" how the models were trained. "command" says each time
how it was measured.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "quality"))

import benchmarks
import claims
import dev_table

from percepnet_cli.constants import DEFAULT_FILE_MODEL, DEFAULT_MODEL

ROOT = Path(__file__).resolve().parent.parent
SHOWN = ("pesq_wb", "stoi", "si_sdr", "dnsmos_sig", "dnsmos_bak", "dnsmos_ovrl")
"""Scores of the README's table."""
README_ROWS = {
    "noisy": "noisy",
    **{f"model {name}": title for name, title in benchmarks.TITLES.items()},
    "RNNoise 0.2": "RNNoise 0.2",
    "DeepFilterNet 3": "DeepFilterNet 3",
}
"""Systems of the README's table, and what they are called there."""
MODELS = ("percepnet", "lite")
BOUND = "and comb filter, ideal strengths"
"""The stage of docs/upper_bound.json that bounds what a network can reach."""


def record() -> dict[str, Any]:
    """Return what was measured."""
    found: dict[str, Any] = json.loads((ROOT / "docs" / "quality.json").read_text("utf-8"))
    return found


def table(heading: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table whose first column is text and whose others are figures."""
    lines = [heading, [":--", *["--:"] * (len(heading) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |".replace("|  |", "| |") for line in lines)


def readme_table() -> str:
    """Return the README's table: our models, two others, and what the method leaves to gain."""
    systems = record()["systems"]
    columns = [dev_table.COLUMNS[score] for score in SHOWN]
    rows = [
        [title, *(format(systems[name]["mean"][score], dev_table.COLUMNS[score][1]) for score in SHOWN)]
        for name, title in README_ROWS.items()
    ]
    bound = claims.upper_bound()[BOUND]
    best = [format(bound[score], dev_table.COLUMNS[score][1]) if score in bound else "-" for score in SHOWN]
    rows.append(["*the method with ideal targets*", *(f"*{text}*" for text in best)])
    return table(["", *(title for title, _ in columns)], rows)


def three_numbers() -> str:
    """Return the home page's list: better by how much, how fast, how late."""
    systems = record()["systems"]
    before, after = (systems[name]["mean"]["pesq_wb"] for name in ("noisy", f"model {DEFAULT_FILE_MODEL}"))
    speed = benchmarks.record()
    times = benchmarks.times_realtime(speed, benchmarks.OWN[DEFAULT_FILE_MODEL], DEFAULT_FILE_MODEL)
    delay_ms = speed["models"][DEFAULT_MODEL]["latency_ms"]
    rows = (
        (f"{before:.2f} to {after:.2f}", "PESQ of noisy speech before and after: how it sounds, from 1 to 4.6"),
        (f"{times:.0f} times", "faster than real time, in files, on one core"),
        (f"{delay_ms:.0f} ms", "late in a stream; files are not late at all"),
    )
    items = "".join(f"<li><strong>{number}</strong> {text}</li>" for number, text in rows)
    return f'<ul class="numbers">{items}</ul>'


def main_table() -> str:
    """Return all scores of all systems."""
    return dev_table.main_table(record()["systems"]).rstrip("\n")


def snr_tables() -> str:
    """Return the scores by SNR."""
    return dev_table.snr_tables(record()["systems"]).rstrip("\n")


def ends_table() -> str:
    """Return what becomes of clean speech and of noise alone."""
    models = record()["ends"]["models"]
    segments = next(iter(models.values()))["segments"]
    heading = [
        "",
        "clean speech: PESQ-wb",
        "least",
        f"segments lost, of {segments}",
        "noise alone: lower by dB",
        "least",
    ]
    rows = [
        [
            f"`{name}`",
            f"{one['clean_pesq_mean']:.2f}",
            f"{one['clean_pesq_least']:.2f}",
            f"{one['segments_lost']}",
            f"{one['noise_lowered_db_mean']:.1f}",
            f"{one['noise_lowered_db_least']:.1f}",
        ]
        for name, one in models.items()
    ]

    return table(heading, rows)


def conditions_table() -> str:
    """Return the scores under other conditions, before and after."""
    measured = record()["conditions"]
    forms = {"pesq_wb": ".2f", "stoi": ".3f", "si_sdr": ".1f"}
    names = list(measured["rows"][0]["speech_lost_percent"])
    heading = ["", "recordings", *(dev_table.COLUMNS[score][0] for score in forms)]
    heading += [f"speech lost, `{name}`" for name in names]
    rows = []
    for row in measured["rows"]:
        scores = [f"{row['before'][score]:{form}} to {row['after'][score]:{form}}" for score, form in forms.items()]
        lost = [f"{row['speech_lost_percent'][name]:.1f} %" for name in names]
        rows.append([row["condition"], str(row["recordings"]), *scores, *lost])
    return table(heading, rows)


def eight_bits_table() -> str:
    """Return what rounding to 8 bits costs."""
    models = record()["eight_bits"]["models"]
    rows = [
        [f"`{name}`", *(f"{one[key]:.3f}" for key in ("float_pesq_wb", "int8_pesq_wb", "largest_difference"))]
        for name, one in models.items()
    ]
    return table(["", "PESQ-wb, float", "PESQ-wb, 8 bits", "largest difference of a recording"], rows)


def recognition_table() -> str:
    """Return the word errors of a recognizer."""
    measured = record()["recognition"]
    rows = []
    for name, errors in measured["word_errors_percent"].items():
        interval = measured["difference_95_percent"].get(name)
        rows.append([name, f"{errors:.1f}", f"{interval[0]:.1f} to {interval[1]:.1f}" if interval else "-"])
    return table(["", "words wrong, %", "difference to noisy, 95 % interval"], rows)


def stages_table() -> str:
    """Return how the models were trained, stage by stage."""
    rows = []
    for one in record()["stages"]:
        hours, scores = one["audio_hours"], one["dev36_pesq_wb"]
        heard = [f"{hours[name]:,} h" if hours[name] else "" for name in MODELS]
        after = [f"{scores[name]:.2f}" if scores[name] else "" for name in MODELS]
        rows.append([str(one["stage"]), one["mixtures"], one["new"], *heard, *after])
    heading = ["stage", "mixtures", "what was new", *(f"`{name}` heard" for name in MODELS)]
    heading += [f"`{name}`: PESQ-wb" for name in MODELS]
    lines = [heading, [":--", ":--", ":--", *["--:"] * 4], *rows]
    return "\n".join(f"| {' | '.join(line)} |".replace("|  |", "| |").replace("|  |", "| |") for line in lines)


BLOCKS: dict[str, Callable[[], str]] = {
    "quality in short": readme_table,
    "three numbers": three_numbers,
    "quality": main_table,
    "quality by SNR": snr_tables,
    "both ends": ends_table,
    "conditions": conditions_table,
    "eight bits": eight_bits_table,
    "recognition": recognition_table,
    "stages": stages_table,
}
"""Blocks of the pages, and what makes them."""
