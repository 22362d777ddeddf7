"""Names and shares for how much noise goes: what they are as settings of the denoiser."""

from __future__ import annotations

import math
from typing import Any

PRESETS: dict[str, dict[str, Any]] = {
    "gentle": {"attenuation_limit_db": 9.0},
    "podcast": {"attenuation_limit_db": 18.0},
    "call": {"attenuation_limit_db": 30.0},
    "strong": {"attenuation_limit_db": None, "post_filter": True},
}
"""Values of the denoiser's options; one that is given beside it counts instead."""


def limit_of_amount(percent: float) -> float | None:
    """Return the attenuation limit in dB that leaves 100 - ``percent`` of the input's amplitude; None is without."""
    return None if percent == 100 else abs(20 * math.log10(1 - percent / 100))


def choose(
    preset: str | None, amount: float | None, attenuation_limit_db: float | None, post_filter: float | None
) -> dict[str, Any]:
    """Return the denoiser's ``attenuation_limit_db`` and ``post_filter``. Raises ValueError if that cannot be."""
    if amount is not None and attenuation_limit_db is not None:
        raise ValueError("amount and attenuation_limit_db say the same in two ways; give one")
    if amount is not None and not 0 <= amount <= 100:
        raise ValueError(f"amount is {amount}, it must be 0 to 100")
    if preset is not None and preset not in PRESETS:
        raise ValueError(f"preset is '{preset}', it must be one of {', '.join(PRESETS)}")
    chosen = {"attenuation_limit_db": None, "post_filter": None} | PRESETS.get(preset or "", {})

    # What was given counts before the preset
    if amount is not None:
        chosen["attenuation_limit_db"] = limit_of_amount(amount)
    if attenuation_limit_db is not None:
        chosen["attenuation_limit_db"] = attenuation_limit_db
    if post_filter is not None:
        chosen["post_filter"] = post_filter
    return chosen
