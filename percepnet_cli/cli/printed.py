"""What goes to the terminal: names, tags and messages in which nothing steers it."""

from __future__ import annotations

import re

import click

STEERING = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""Control characters, and those that turn the direction of what follows."""


def printable(text: str, lines: bool = False) -> str:
    """Return a text with escapes in the place of what would steer a terminal. lines: ends of lines and tabs stay.

    >>> printable(chr(27) + "[2J") == chr(92) + "x1b[2J"
    True
    """

    def escaped(found: re.Match[str]) -> str:
        return found[0] if lines and found[0] in "\n\t" else found[0].encode("unicode_escape").decode()

    return STEERING.sub(escaped, text)


def echo(text: str, err: bool = False, nl: bool = True) -> None:
    """Print a text; all that may hold somebody else's words goes this way. err: to standard error."""
    click.echo(printable(text, lines=True), err=err, nl=nl)


def warn(text: str) -> None:
    """Print a warning to standard error."""
    echo(f"Warning: {text}", err=True)
