"""Make the tables of docs/scale.md: what many hours of audio cost, from what was measured and from prices.

The measurements and the assumed prices are in docs/costs.json.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
HOURS = 1_000_000
"""What is costed."""
FILE_SECONDS = 600
"""Length of a file."""
MACHINES, CORES = 10, 64


def record() -> dict[str, Any]:
    """Return what was measured, and the prices."""
    found: dict[str, Any] = json.loads((ROOT / "docs" / "costs.json").read_text("utf-8"))
    return found


def per_core_hour(kind: dict[str, Any]) -> int:
    """Return the hours of audio that a core does in an hour. kind: a row of the record."""
    return round(kind["seconds"] / kind["cpu_seconds"])


def measured_table() -> str:
    """Return what a file of each kind costs."""
    lines = ["| input and output | CPU seconds | hours of audio per core-hour |", "| :-- | --: | --: |"]
    for kind in record()["kinds"]:
        seconds, cpu = kind["seconds"], kind["cpu_seconds"]
        shown = f"{cpu:.2f} for {seconds} s" if cpu > 1 else f"{1000 * cpu:.1f} ms a file, starts included"
        lines.append(f"| {kind['what']} | {shown} | {per_core_hour(kind)} |")
    return "\n".join(lines)


def cost_table() -> str:
    """Return what HOURS of audio in files of ten minutes cost."""
    found = record()
    prices, busy = found["prices"], found["busy_factor"]
    (kind,) = (one for one in found["kinds"] if one["what"] == found["costed"])
    speed = per_core_hour(kind)
    core_hours = round(HOURS / speed * busy, -2)
    files = HOURS * 3600 / FILE_SECONDS
    into, out = found["input_mb"], found["output_mb"]
    into_tb, out_tb = files * into / 1e6, files * out / 1e6
    stored_tb = round(into_tb + out_tb)
    rates = [round(1000 * size / FILE_SECONDS) for size in (into, out)]
    network_gb = CORES * speed / busy * sum(rates) / 1e6
    rows = [
        ("computing", f"{HOURS:,} / {speed} x {busy}", f"{core_hours:,.0f} core-hours"),
        (
            f"at {prices['core_hour']} a core-hour (an assumption: put your price)",
            f"{core_hours:,.0f} x {prices['core_hour']}",
            f"{core_hours * prices['core_hour']:,.0f}",
        ),
        (
            f"on {MACHINES} machines of {CORES} cores",
            f"{core_hours:,.0f} / {MACHINES * CORES}",
            f"{core_hours / MACHINES / CORES:.0f} hours",
        ),
        ("input", f"{into} MB per {FILE_SECONDS} s", f"{into_tb:.0f} TB"),
        ("output", f"{out} MB per {FILE_SECONDS} s: cleaned speech packs better", f"{out_tb:.0f} TB"),
        (
            f"a month of storage, both, at {prices['terabyte_month']} per TB (likewise)",
            f"{stored_tb} x {prices['terabyte_month']}",
            f"{stored_tb * prices['terabyte_month']:,}",
        ),
        (
            f"requests to an object store, at {prices['million_reads']} and {prices['million_writes']} per million",
            f"{files / 1e6:.0f} million reads and writes",
            f"{files / 1e6 * (prices['million_reads'] + prices['million_writes']):.0f}",
        ),
        (
            f"network per machine of {CORES} cores",
            f"{CORES} x {speed} / {busy} x ({rates[0]} + {rates[1]}) kB/s",
            f"{network_gb:.1f} GB/s",
        ),
    ]

    return "\n".join(["| | how | |", "| :-- | :-- | --: |", *(f"| {' | '.join(row)} |" for row in rows)])


def start_sentence() -> str:
    """Return how it was measured, above the table of files."""
    text = f"Seconds are CPU time of the whole command, less those of a start ({record()['start_cpu_seconds']:.2f})."
    return textwrap.fill(text, 100)


def busy_sentence() -> str:
    """Return what a file costs while all cores are busy."""
    found = record()
    more = 100 * found["busy_factor"] - 100
    text = (
        f"With all cores of a machine busy, a file costs some {more:.0f} % more (two cores: {found['busy_ms']:.1f} ms "
        f"instead of {1000 * found['kinds'][-1]['cpu_seconds']:.1f})."
    )
    return textwrap.fill(text, 100)


def scheduler_sentences() -> str:
    """Return how many files a scheduler can give out, and how many are wanted of it."""
    found = record()
    tasks, seconds = found["scheduler"]["tasks"], found["scheduler"]["cpu_seconds"]
    (kind,) = (one for one in found["kinds"] if one["what"] == found["costed"])
    cores, speed, busy = MACHINES * CORES, per_core_hour(kind), found["busy_factor"]
    each_ms = 1000 * max(seconds.values()) / tasks
    text = (
        f"The scheduler has a limit, too. {tasks:,} empty tasks took {seconds['scheduler']} s of its CPU and "
        f"{seconds['command']} s of the command's. That is {each_ms:.1f} ms each, or about "
        f"{round(1000 / each_ms, -2):.0f} files a second at most. Files of ten minutes come at {cores} x {speed} / "
        f"{busy} / {FILE_SECONDS} = {cores * speed / busy / FILE_SECONDS:.0f} a second."
    )
    return textwrap.fill(text, 100)


BLOCKS: dict[str, Callable[[], str]] = {
    "start of a command": start_sentence,
    "cost of a file": measured_table,
    "cost of a busy machine": busy_sentence,
    "cost of a million hours": cost_table,
    "limit of a scheduler": scheduler_sentences,
}
"""Blocks of the page, and what makes them."""
