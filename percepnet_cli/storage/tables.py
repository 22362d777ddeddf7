"""The one reader of tables that somebody else may have written: what the csv module says becomes a plain sentence."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from typing import Any


class TableError(ValueError):
    """A line of a table that cannot be read; its text has the line and what is wrong."""


class Table:
    """The rows of a table by the names in its first line.

    Parameters
    ----------
    lines : iterable of str
        A file that was opened with ``newline=""``.
    delimiter : str
        What stands between fields.

    Raises
    ------
    TableError
        Here or when rows are read.

    Attributes
    ----------
    columns : list of str
        The names.
    """

    def __init__(self, lines: Iterable[str], delimiter: str = ",") -> None:
        self._rows = csv.DictReader(lines, delimiter=delimiter)
        try:
            self.columns = list(self._rows.fieldnames or [])
        except csv.Error as error:
            raise _explained(error, 1) from None

    @property
    def line(self) -> int:
        """The line with which the latest row ends, from 1 on."""
        return self._rows.line_num

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield the rows; what a row lacks is None."""
        while True:
            begin = self._rows.line_num + 1
            try:
                row = next(self._rows)
            except StopIteration:
                return
            except csv.Error as error:
                raise _explained(error, begin) from None
            yield row


def _explained(error: csv.Error, line: int) -> TableError:
    """Return the error for a row that begins on a line."""
    if "field limit" in str(error):
        limit = csv.field_size_limit()
        return TableError(f"line {line}: a field has more than {limit} characters; is a quotation mark never closed?")
    return TableError(f"line {line} is no row of a table")
