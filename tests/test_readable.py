"""Comments and air in the sources, counted: what a reader meets before any result."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
OTHERS = ("docs", "examples", "models", "tests")
"""Folders beside the package whose functions have air, too."""
PACKAGE = ROOT / "percepnet_cli"
FILES = sorted(PACKAGE.rglob("*.py"))
EVERY_FILE = sorted(path for folder in (PACKAGE, *(ROOT / n for n in OTHERS)) for path in folder.rglob("*.py"))

LEAST_COMMENTS = 4
"""Comments per 100 lines of code in the packages that compute."""
LONG_BODY = 20
"""Lines of code from which on a function body needs a blank line."""
SHOWS_A_LOOP = re.compile(r"[Ii]n (a )?plain loops?\b")
NAMED_TEST = re.compile(r"``tests/(\w+\.py)``: ``(\w+)``")
PRAGMA = re.compile(r"#\s*(type:|noqa|fmt:|pragma:|ruff:|mypy:)")
LAYOUT = {tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.COMMENT, tokenize.ENDMARKER}


def docstring_lines(tree):
    """Numbers of the lines that are docstrings, also those of attributes."""
    return {
        line
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        for line in range(node.lineno, node.end_lineno + 1)
    }


@cache
def read(path):
    """The tree of a file, the numbers of its lines of code, and its comments that are for a reader."""
    text = path.read_text("utf-8")
    tree = ast.parse(text)
    code, comments = set(), []
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT and not PRAGMA.match(token.string):
            comments.append(token.string)
        elif token.type not in LAYOUT:
            code.update(range(token.start[0], token.end[0] + 1))
    return tree, code - docstring_lines(tree), comments


def long_bodies_without_air(path):
    """Names of the functions of a file with LONG_BODY lines of code or more and no blank line between them."""
    text = path.read_text("utf-8")
    lines = text.splitlines()
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[ast.get_docstring(node) is not None :]
            first, last = (body[0].lineno, node.end_lineno) if body else (0, 0)
            if last - first + 1 >= LONG_BODY and all(line.strip() for line in lines[first - 1 : last]):
                code = read(path)[1] & {*range(first, last + 1)}  # takes a while, so it comes last
                if len(code) >= LONG_BODY:
                    found.append(f"{node.name} ({len(code)} lines)")
    return found


@pytest.mark.parametrize("package", ["dsp", "network"])
def test_code_that_computes_says_why(package):
    files = [read(path) for path in FILES if path.parent == PACKAGE / package]
    lines, comments = sum(len(code) for _, code, _ in files), sum(len(found) for _, _, found in files)
    assert comments >= LEAST_COMMENTS / 100 * lines, f"{comments} comments in {lines} lines of code"


def test_long_function_bodies_have_air():
    found = {str(path.relative_to(ROOT)): long_bodies_without_air(path) for path in EVERY_FILE}
    assert {name: functions for name, functions in found.items() if functions} == {}


def loops_without_a_test(path):
    """Names of the functions of a file whose docstring shows the plain loop and names no test that is there."""
    tree, _, _ = read(path)
    found = []
    for node in ast.walk(tree):
        text = ast.get_docstring(node) or "" if isinstance(node, ast.FunctionDef) else ""
        if not SHOWS_A_LOOP.search(text):
            continue
        named = NAMED_TEST.search(text)
        source = ROOT / "tests" / named[1] if named else None
        if not (source and source.is_file() and re.search(rf"^def {named[2]}\(", source.read_text("utf-8"), re.M)):
            found.append(node.name)
    return found


def test_every_plain_loop_names_its_test():
    shown = [path for path in FILES if SHOWS_A_LOOP.search(path.read_text("utf-8"))]
    assert len(shown) >= 10
    found = {str(path.relative_to(PACKAGE)): loops_without_a_test(path) for path in shown}
    assert {name: functions for name, functions in found.items() if functions} == {}


def test_the_counts_see_what_they_should(tmp_path):
    body = [f"    x{i} = {i}" for i in range(LONG_BODY)]
    text = [
        '"""A docstring.',
        "",
        "With # no comment.",
        '"""',
        "# one",
        "a = 1  # two",
        "b = 2  # type: int",
        "def f():",
    ]
    source = tmp_path / "source.py"
    source.write_text("\n".join([*text, '    """Doc.', "", '    """', *body]) + "\n", "utf-8")
    _, code, comments = read(source)
    assert len(code) == 3 + LONG_BODY and comments == ["# one", "# two"]
    assert long_bodies_without_air(source) == [f"f ({LONG_BODY} lines)"]

    loops = tmp_path / "loops.py"
    shows = '    """Add.\n\n    In a plain loop{}::\n    """'
    where = (" (``tests/test_readable.py``: ``read``)", " (``tests/test_readable.py``: ``gone``)", "")
    loops.write_text("\n".join(f"def f{i}():\n{shows.format(one)}" for i, one in enumerate(where)), "utf-8")
    assert loops_without_a_test(loops) == ["f1", "f2"]

    airy = tmp_path / "airy.py"
    airy.write_text("\n".join(["def f():", *body[:10], "", *body[10:]]) + "\n", "utf-8")
    assert long_bodies_without_air(airy) == []
