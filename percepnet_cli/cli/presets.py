"""``--preset`` and ``--amount`` on the command line."""

from __future__ import annotations

import re
from typing import Any

import click

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
