"""The one reader of JSON that somebody else may have written: of a bounded size and depth, or it is no JSON.

Python's reader takes nested brackets until its own stack ends, and numbers of any length; what comes after it
(formatting, copying, comparing) then fails far from the file that is to blame.
"""

from __future__ import annotations

import json
from itertools import chain
from pathlib import Path
from typing import Any

MAX_BYTES = 256 * 2**20
"""Size above which a file or header is not read: a report of a million files has some 400 bytes for each."""

MAX_DEPTH = 32
"""Brackets in brackets; what this program writes has 6 at most."""

MAX_DIGITS = 300
"""Of a whole number: more than a float64 can hold is damage."""


def parse(text: str | bytes) -> Any:
    """Return the value of a JSON text. Raises ValueError, with the reason, if it is none or out of bounds."""
    if len(text) > MAX_BYTES:
        raise ValueError(f"it has {len(text)} bytes, more than {MAX_BYTES}")
    try:
        value = json.loads(text, parse_int=_whole_number)
    except RecursionError:
        raise ValueError("its brackets are nested too deeply") from None

    # Level by level, without recursion
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for inner in chain.from_iterable(one.values() if isinstance(one, dict) else one for one in _open(level))
            if isinstance(inner, dict | list)
        ]
        if not level:
            return value
    raise ValueError("its brackets are nested too deeply")


def _open(values: list[Any]) -> list[Any]:
    return [value for value in values if isinstance(value, dict | list)]


def _whole_number(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise ValueError(f"a number of {len(digits)} digits")
    return int(digits)


def read(path: Path) -> Any:
    """Return the value of a JSON file. Raises ValueError as ``parse`` does; OSError if it cannot be read."""
    with path.open("rb") as file:
        content = file.read(MAX_BYTES + 1)
    return parse(content)
