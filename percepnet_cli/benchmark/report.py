"""What ``percepnet bench`` shows: one measurement, two beside each other, pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from percepnet_cli.benchmark.measure import HOP_MS, Report
from percepnet_cli.errors import BenchError
from percepnet_cli.plotting import figure as plots
from percepnet_cli.storage import untrusted

if TYPE_CHECKING:
    from percepnet_cli.plotting.figure import Figure


ROWS: tuple[tuple[str, str, str, float], ...] = (
    ("file, times real time", "times_realtime", ".1f", 1),
    ("file, % of a core", "realtime_factor", ".3f", 100),
    ("hop after hop, % of a core", "hop_core_percent", ".3f", 1),
    ("  one hop, p50, us", "hop_us.p50", ".0f", 1),
    ("  p95", "hop_us.p95", ".0f", 1),
    ("  p99", "hop_us.p99", ".0f", 1),
    ("  p99.9", "hop_us.p99.9", ".0f", 1),
    ("  longest", "hop_us.max", ".0f", 1),
    ("live, % of a core", "live_core_percent", ".3f", 1),
    ("live from Python: one hop, p50, us", "live_us.p50", ".0f", 1),
    ("  p95", "live_us.p95", ".0f", 1),
    ("  p99", "live_us.p99", ".0f", 1),
    ("  p99.9", "live_us.p99.9", ".0f", 1),
    ("  longest", "live_us.max", ".0f", 1),
    ("added delay, ms", "latency_ms", ".0f", 1),
    ("start: --help, CPU s", "help_cpu_seconds", ".2f", 1),
    ("start: file of 1 s, CPU s", "start_cpu_seconds", ".2f", 1),
    ("  its peak memory, MiB", "peak_memory_mib", ".0f", 1),
    ("least for the 8-bit products, us", "limit_us.recurrent_us+limit_us.batched_us", ".0f", 1),
    ("least live: wake, read weights, us", "limit_us.live_us", ".0f", 1),
)
"""Label, place in the JSON (several are added), format, factor."""


def value_of(report: dict[str, Any], place: str) -> float | None:
    """Return a number of a report by its place in ROWS; None if it was not measured."""
    total = 0.0
    for part in place.split("+"):
        name, _, key = part.partition(".")
        value = report.get(name)
        if key:
            value = value.get(key) if isinstance(value, dict) else None
        if not isinstance(value, int | float):
            return None
        total += value
    return total


def rows_of(report: dict[str, Any]) -> list[tuple[str, str]]:
    """Return label and text of everything that was measured."""
    rows = []
    for label, place, form, factor in ROWS:
        value = value_of(report, place)
        if value is not None:
            rows.append((label, format(factor * value, form)))
    return rows


def text_of(report: Report) -> str:
    """Return a measurement for people."""
    system = report.system
    lines = [
        f"{system['processor']}, Python {system['python']}, percepnet {system['percepnet']}",
        f"8-bit product: {system['kernel']}",
        f"model {report.model} ({report.digest}): {report.weights:,} weights = multiply-adds per hop",
        f"one channel, one thread; {report.runs} runs over {report.seconds:g} s, the median counts"
        + (f"; live: {report.live_seconds:g} s by the clock" if report.live_seconds else ""),
        "",
    ]
    width = max(len(label) for label, *_ in ROWS)
    lines += [f"{label:{width}s} {text:>10s}" for label, text in rows_of(report.json())]
    for title, stages in (("file", report.stage_percent), ("hop after hop", report.hop_stage_percent)):
        named = sorted(stages.items(), key=lambda item: -item[1])
        lines += ["", f"stages, {title}: " + ", ".join(f"{label} {share:.1f} %" for label, share in named)]
    return "\n".join(lines)


def read(path: Path) -> dict[str, Any]:
    """Return a result that was written with --json. Raises BenchError."""
    try:
        report = untrusted.read(path)
    except OSError as error:
        raise BenchError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError:
        raise BenchError(f"{path} holds no JSON") from None
    if not isinstance(report, dict) or "times_realtime" not in report or not isinstance(report.get("system"), dict):
        raise BenchError(f"{path} is no result of 'percepnet bench --json'")
    return report


def compared(before: dict[str, Any], after: dict[str, Any]) -> str:
    """Return two measurements beside each other for people, with the change in per cent."""
    width = max(len(label) for label, *_ in ROWS)
    lines = [f"{'':{width}s} {'first':>12s} {'second':>12s} {'change':>8s}"]
    for label, place, form, factor in (("weights", "weights", ",.0f", 1.0), *ROWS):
        values = [value_of(report, place) for report in (before, after)]
        if values == [None, None]:
            continue
        texts = ["-" if value is None else format(factor * value, form) for value in values]
        change = f"{100 * (values[1] / values[0] - 1):+.0f} %" if values[0] and values[1] is not None else ""
        lines.append(f"{label:{width}s} {texts[0]:>12s} {texts[1]:>12s} {change:>8s}")
    for key in sorted({*before["system"], *after["system"]}):
        one, other = before["system"].get(key), after["system"].get(key)
        if one != other:
            lines.append(f"{key}: {one}, then {other}")
    for which, report in (("first", before), ("second", after)):
        if report.get("noisy_machine"):
            lines.append(f"the machine was busy with something else during the {which}")
    return "\n".join(lines).encode("utf-8", "replace").decode()  # JSON may hold half a character


def draw(report: Report, path: Path, force: bool = False) -> None:
    """Draw the shares of the stages and the distribution of the times of hops. Raises ExtraError, PlotError."""
    figure = plots.new_figure(10, 4)
    _draw(report, figure)
    plots.save(figure, path, force)


def _draw(report: Report, figure: Figure) -> None:
    left, right = figure.subplots(1, 2)
    names = sorted(report.stage_percent, key=report.stage_percent.__getitem__)
    places = range(len(names))
    left.barh([y + 0.2 for y in places], [report.stage_percent[name] for name in names], 0.4, label="file")
    left.barh([y - 0.2 for y in places], [report.hop_stage_percent[name] for name in names], 0.4, label="hop after hop")
    left.set(yticks=list(places), yticklabels=names, xlabel="share of the time, %", title=f"model {report.model}")
    left.legend()
    times, mode = report.hop_times_us, "live" if report.live_us else "hop after hop"
    marks = report.live_us or report.hop_us
    right.hist(times, bins=80, range=(0, 1.3 * marks["p99.9"]), log=True)
    for name in ("p50", "p99", "p99.9"):
        right.axvline(marks[name], color="black", linewidth=0.8)
        right.annotate(name, (marks[name], 0.97), xycoords=("data", "axes fraction"), rotation=90, va="top", ha="right")
    right.set(xlabel="time of one hop, us", ylabel="hops", title=f"{mode}; a hop may take {1000 * HOP_MS:,.0f} us")
