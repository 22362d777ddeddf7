"""Tables that cannot be read: whoever reads them, a plain sentence names the file and the line."""

from __future__ import annotations

import pytest

from percepnet_cli import AudioError
from percepnet_cli.batch import report
from percepnet_cli.evaluation.score import read_manifest
from percepnet_cli.storage.tables import Table
from percepnet_cli.training.data.corpus import find

READERS = {"recordings": (find, "path"), "manifest": (read_manifest, "file"), "report": (report.read, "source")}
TOO_LONG = "a field has more than 131072 characters; is a quotation mark never closed?"


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("line", [1, 3])
def test_a_field_that_is_too_long(tmp_path, reader, line):
    """In the names, or in a row that begins on line 3 and never ends."""
    read, column = READERS[reader]
    path = tmp_path / "table.csv"
    rows = [column, "a.wav", '"b.wav', *("c.wav" for _ in range(30_000))]
    rows[0] += "," + 140_000 * "x" if line == 1 else ""
    path.write_text("\n".join(rows) + "\n")
    with pytest.raises((AudioError, ValueError)) as raised:
        read(path)
    said = str(raised.value)
    assert said.startswith(str(path)) and said.endswith(f"line {line}: {TOO_LONG}")


def test_rows_and_their_lines():
    table = Table(["a\tb\n", "1\t2\n", '"3\n', '4"\n'], "\t")
    found = [(row, table.line) for row in table]
    assert table.columns == ["a", "b"]
    assert found == [({"a": "1", "b": "2"}, 2), ({"a": "3\n4", "b": None}, 4)]
