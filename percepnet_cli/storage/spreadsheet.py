"""Text in the cells of tables that a spreadsheet may open: a file's name must not become a formula there."""

from __future__ import annotations

import re
from typing import Any

FORMULA = re.compile(r"'*(?![-+]?[\d.]+(e[-+]?\d+)?\Z)[=+\-@\t\r]")
"""How a cell begins that a spreadsheet would compute, numbers apart; after apostrophes it is text already."""


def text_cell(value: Any) -> Any:
    """Return a value for a CSV: text that looks like a formula gets an apostrophe, which makes it text.

    >>> text_cell("=1+1"), text_cell("talk.wav"), text_cell("-1.5"), text_cell(-1.5)
    ("'=1+1", 'talk.wav', '-1.5', -1.5)
    """
    return f"'{value}" if isinstance(value, str) and FORMULA.match(value) else value


def from_cell(text: str) -> str:
    """Return what ``text_cell`` was given."""
    return text[1:] if text.startswith("'") and FORMULA.match(text) else text
