"""What ``--preset`` and ``--amount`` of ``percepnet denoise`` set: other options."""

from __future__ import annotations

import math
import re
from typing import Any

import click

PRESETS: dict[str, dict[str, Any]] = {
    "gentle": {"attenuation_limit_db": 9.0},
    "podcast": {"attenuation_limit_db": 18.0},
    "call": {"attenuation_limit_db": 30.0},
    "strong": {"attenuation_limit_db": None, "post_filter": True},
}
"""Values of the denoiser's options; one that is given on the command line counts instead."""

PRESETS_HELP = (
    "gentle: --attenuation-limit 9; podcast: 18; call: 30; strong: no limit, --post-filter. "
    "What you give beside it counts instead."
)


class Percent(click.ParamType):
    """A share from 0 to 100, with the percent sign or without."""

    name = "percent"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return 0..100."""
        text = re.sub(r"\s*%$", "", str(value).strip())
        try:
            number = float(text)
        except ValueError:
            self.fail(f"'{value}' is no percentage.", param, ctx)
        if not 0 <= number <= 100:
            self.fail(f"{text} is not in the range 0 to 100.", param, ctx)
        return number


def limit_of_amount(percent: float) -> float | None:
    """Return the attenuation limit in dB that leaves 100 - ``percent`` of the input's amplitude; None is without."""
    return None if percent == 100 else abs(20 * math.log10(1 - percent / 100))


def choose(
    preset: str | None, amount: float | None, attenuation_limit_db: float | None, post_filter: bool | None
) -> dict[str, Any]:
    """Return the denoiser's ``attenuation_limit_db`` and ``post_filter``. Raises UsageError for two limits."""
    if amount is not None and attenuation_limit_db is not None:
        raise click.UsageError("--amount and --attenuation-limit say the same in two ways; give one.")
    chosen = {"attenuation_limit_db": None, "post_filter": None} | PRESETS.get(preset or "", {})

    # What was given counts before the preset
    if amount is not None:
        chosen["attenuation_limit_db"] = limit_of_amount(amount)
    if attenuation_limit_db is not None:
        chosen["attenuation_limit_db"] = attenuation_limit_db
    if post_filter is not None:
        chosen["post_filter"] = post_filter
    return chosen
