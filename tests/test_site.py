"""The documentation site: it builds without a warning, its links lead somewhere, it plays in a browser."""

from __future__ import annotations

import ast
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import browser
import pytest

ROOT = Path(__file__).resolve().parent.parent


def load(name):
    """Return a module of docs/site."""
    path = ROOT / "docs" / "site" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"site_{name}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site, built as `make docs` does."""
    pytest.importorskip("mkdocs")
    pytest.importorskip("mkdocstrings")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", str(folder)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    return folder


@pytest.mark.slow
def test_no_link_is_broken_and_nothing_comes_from_elsewhere(site):
    wrong, _ = load("check").check(site)
    assert wrong == []


def public_names():
    """Dotted names of all public modules, classes, functions and methods but those of the commands."""
    for path in sorted((ROOT / "percepnet_cli").rglob("*.py")):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        if ".cli" in module.removeprefix("percepnet_cli") or module.endswith("__main__"):
            continue
        yield module
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
                yield f"{module}.{node.name}"
                for member in node.body if isinstance(node, ast.ClassDef) else []:
                    if isinstance(member, ast.FunctionDef) and not member.name.startswith("_"):
                        yield f"{module}.{node.name}.{member.name}"


@pytest.mark.slow
def test_every_public_name_is_in_the_reference(site):
    pages = (site / "reference.html").read_text("utf-8") + (site / "internals.html").read_text("utf-8")
    names = list(public_names())
    assert len(names) > 300
    assert [name for name in names if f'id="{name}"' not in pages] == []


@pytest.mark.slow
def test_formulas_are_drawn(site):
    text = (site / "how.html").read_text("utf-8")
    written = (ROOT / "docs" / "how.md").read_text("utf-8").count("$$") // 2
    assert written > 5 and text.count('<svg role="img"') > written
    assert "arithmatex" not in text and "\\(" not in text


@pytest.mark.slow
def test_in_a_browser_everything_shows_and_plays(site, tmp_path):
    program = browser.find_browser()
    if program is None:
        pytest.skip("no Chromium")
    pages = sorted(path.name for path in site.glob("*.html") if path.name != "404.html")
    log = browser.visit(program, site, pages, tmp_path / "profile")
    assert log.refused == []
    players = log.reports["/samples.html"]["audio"]
    assert len(players) == 2 * len(load("samples").RECORDINGS)
    for player in players:
        assert player["duration"] > 5 and player["moved"] > 0.1, player
    pictures = [picture for report in log.reports.values() for picture in report["images"]]
    assert len(pictures) >= 10
    assert [source for source, width in pictures if not width] == []
    assert all(report["overflow"] <= 0 for report in log.reports.values())


@pytest.mark.slow
def test_the_browser_notices_what_is_wrong(tmp_path):
    program = browser.find_browser()
    if program is None:
        pytest.skip("no Chromium")
    site = tmp_path / "site"
    site.mkdir()
    (site / "bad.html").write_text(
        '<audio src="none.flac"></audio><img src="http://elsewhere.invalid/a.png"><img src="none.png">'
    )
    log = browser.visit(program, site, ["bad.html"], tmp_path / "profile")
    report = log.reports["/bad.html"]
    assert log.refused and all("elsewhere.invalid" in url for url in log.refused)
    assert report["audio"][0]["moved"] == 0 and not report["audio"][0]["duration"]
    assert [width for _, width in report["images"]] == [0, 0]


def test_a_formula_becomes_a_picture_that_can_be_read_aloud():
    pytest.importorskip("matplotlib")
    draw = load("formulas").draw
    small, large = draw(r"\frac{a}{b}", False), draw(r"\sum_k a_k < b", True)
    assert 'aria-label="\\frac{a}{b}"' in small and "vertical-align: -" in small
    assert "a_k &lt; b" in large and "display: block" in large
    assert small.count("<svg") == small.count("</svg>") == 1 and 'd="M' in small
    with pytest.raises(ValueError, match="Expected"):
        draw(r"\frac{a}", False)


@pytest.mark.parametrize(
    ("link", "fault"),
    [
        ('<a href="other.html#here">', None),
        ('<a href="https://example.org/">', None),
        ('<a href="#there">', "has no such anchor"),
        ('<a href="other.html#nowhere">', "has no such anchor"),
        ('<a href="missing.html">', "which is not there"),
        ('<a href="../outside.html">', "which is not there"),
        ('<img src="missing.png">', "which is not there"),
        ('<script src="https://example.org/a.js">', "loads https://example.org/a.js"),
        ('<link rel="stylesheet" href="//example.org/a.css">', "loads //example.org/a.css"),
    ],
)
def test_the_link_checker_finds(link, fault, tmp_path):
    site = tmp_path / "site"
    site.mkdir()
    (tmp_path / "outside.html").write_text("")
    (site / "index.html").write_text(link)
    (site / "other.html").write_text('<h1 id="here">')
    wrong, elsewhere = load("check").check(site)
    if fault is None:
        assert wrong == []
        assert elsewhere == ({"https://example.org/"} if "https" in link else set())
    else:
        assert len(wrong) == 1 and wrong[0].endswith(fault), wrong
