"""What ``percepnet denoise`` says and writes of files that are done: what they lack, and the report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from percepnet_cli.cli.printed import echo, warn

if TYPE_CHECKING:
    from percepnet_cli.batch.run import Outcome
    from percepnet_cli.file_denoiser import FileReport
    from percepnet_cli.network.modelfile import Model

STANDARD_OUTPUT = Path("-")

AUDIBLE_LU = 0.5
"""A result that lacks more of the loudness that was wanted is named."""


def say_what_is_not_whole(reports: dict[str, FileReport]) -> None:
    """Warn of inputs that end early, are damaged or hold NaN; also where no progress is wanted. reports: by input."""
    for source, report in reports.items():
        if report.warning is not None:
            warn(f"{'standard input' if source == '-' else source} {report.warning}")


def say_what_is_missing(reports: dict[str, FileReport], wanted_lufs: float | None) -> None:
    """Say once for all files what they do not hold, and which are not as loud as was wanted."""
    for target, done in reports.items():
        reached = done.loudness_lufs
        if wanted_lufs is not None and reached is not None and reached < wanted_lufs - AUDIBLE_LU:
            echo(f"Note: {target} has {reached:.1f} LUFS; more would only press its peaks", err=True)
    kinds = sorted({kind for done in reports.values() for kind in done.left_out})
    files = [target for target, done in reports.items() if done.left_out]
    if files:
        where = files[0] if len(files) == 1 else f"{len(files)} files"
        echo(f"Note: {where} does not hold all that stands beside the sound: {', '.join(kinds)}", err=True)


def write_report(path: Path, outcomes: list[Outcome], model: Model, replace: bool) -> None:
    """Write the report; what an earlier one says of files that were there already stays.

    replace: also where there is one. Raises AudioError if it cannot be written.
    """
    from percepnet_cli.batch import report
    from percepnet_cli.batch.run import SKIPPED
    from percepnet_cli.errors import AudioError

    earlier = {}
    if path != STANDARD_OUTPUT and any(outcome.status == SKIPPED for outcome in outcomes):
        try:
            earlier = report.read(path)
        except AudioError as error:  # the new one must not be lost for it, nor the old file, whatever it is
            aside = report.set_aside(path)
            echo(f"{error}; it is kept as {aside}", err=True)
    rows = []
    for outcome in outcomes:
        old = earlier.get(outcome.item.source)
        kept = old is not None and outcome.status == SKIPPED and not old["error"]
        rows.append(old if old is not None and kept else report.row(outcome))
    described = {"name": model.name, "sha256": model.digest}
    if path == STANDARD_OUTPUT:
        echo(report.as_json(rows, described))
    else:
        report.write(path, rows, described, replace)
