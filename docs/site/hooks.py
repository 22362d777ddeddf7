"""What MkDocs cannot do by itself: formulas, pages made from the program, links to files outside docs/.

Formulas are drawn while the site is built (formulas.py). Links to files of the project that are no
pages lead to copies of them below files/; the pages can therefore be read in the repository as well as on the site.
"""

from __future__ import annotations

import ast
import html
import json
import posixpath
import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

sys.path.insert(0, str(Path(__file__).parent))

import figures
import formulas
import samples
import trial

ROOT = Path(__file__).resolve().parents[2]
PAGES = {"models/README.md": "models.md", "README.md": "index.md", "percepnet_cli/__init__.py": "reference.md"}
"""Files outside docs/ that are pages, or stand for one: repository path to page."""
LINK = re.compile(r"(\]\()([^)\s#]+)(#[^)\s]*)?(\))")
FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
NAMED = re.compile(r"(?<!\[)`([\w./-]+\.(?:py|md|json))`")
FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)
TABLE = re.compile(r"<table>\s*<thead>(.*?)</thead>", re.DOTALL)
TEXT_COLUMNS = 4
"""Tables of text have so many columns at most."""
BOOST = {
    **dict.fromkeys(("index.md", "commands.md", "live.md", "training.md", "troubleshooting.md"), 4),
    **dict.fromkeys(("samples.md", "try.md", "scale.md", "python.md", "models.md", "how.md", "glossary.md"), 2),
    "reference.md": 0.1,
    "internals.md": 0.001,
}
"""How much more than 1 a page counts in the search: those for users before those for developers."""
UNSEARCHED = "---\nsearch:\n  exclude: true\n---\n\n"
"""Front matter of copies of files, which are there for links."""
PACKAGE = ROOT / "percepnet_cli"


def targets(text: str, folder: str) -> dict[str, str]:
    """Return the relative links of a page: as written, and as a path in the repository. folder: the page's own."""
    found = {}
    for match in LINK.finditer(FENCE.sub("", text)):
        target = match[2]
        if "://" not in target and not target.startswith("mailto:"):
            found[target] = posixpath.normpath(posixpath.join(folder, target))
    return found


def with_names(text: str, folder: str) -> str:
    """Make links of the names of files that are there, from the top or from the package. folder: the text's own."""

    def replace(match: re.Match[str]) -> str:
        for path in (match[1], f"percepnet_cli/{match[1]}", posixpath.normpath(f"{folder}/{match[1]}")):
            if (ROOT / path).is_file():
                return f"[`{match[1]}`]({posixpath.relpath(path, folder or '.')})"
        return match[0]

    pieces, place = [], 0
    for fence in FENCE.finditer(text):
        pieces += [NAMED.sub(replace, text[place : fence.start()]), fence[0]]
        place = fence.end()
    return "".join([*pieces, NAMED.sub(replace, text[place:])])


def page_of(path: str) -> str:
    """Return the page, or file of the site, that shows a file of the repository."""
    if path in PAGES:
        return PAGES[path]
    if path.startswith("docs/") and not path.endswith(".json"):
        return path.removeprefix("docs/")
    return f"files/{path}" if path.endswith(".md") else f"files/{path}.md"


def relink(text: str, folder: str, page: str) -> str:
    """Let the links of a page lead to pages of the site. folder: where the text is from; page: what it becomes."""
    text = with_names(text, folder)
    known = targets(text, folder)
    here = posixpath.dirname(page)

    def replace(match: re.Match[str]) -> str:
        if match[2] not in known:
            return match[0]
        to = posixpath.relpath(page_of(known[match[2]]), here or ".")
        return f"{match[1]}{to}{match[3] or ''}{match[4]}"

    return LINK.sub(replace, text)


def outside(pages: list[Path]) -> dict[str, Path]:
    """Return the files outside docs/ that pages link to, directly or through each other: page to file."""
    found: dict[str, Path] = {}
    waiting = list(pages)
    while waiting:
        path = waiting.pop()
        folder = posixpath.dirname(path.relative_to(ROOT).as_posix())
        for target in targets(with_names(path.read_text("utf-8"), folder), folder).values():
            page = page_of(target)
            source = ROOT / target
            if page.startswith("files/") and page not in found and source.is_file():
                found[page] = source
                if source.suffix == ".md":
                    waiting.append(source)
    return found


def shown(source: Path, page: str) -> str:
    """Return the Markdown that shows a file."""
    text = source.read_text("utf-8")
    name = source.relative_to(ROOT).as_posix()
    if source.suffix == ".md":
        return UNSEARCHED + relink(text, posixpath.dirname(name), page)
    language = {".py": "python", ".json": "json"}.get(source.suffix, "text")
    return f"{UNSEARCHED}# {name}\n\n~~~~{{.{language} linenums=1}}\n{text}\n~~~~\n"


def public_names() -> dict[str, str]:
    """Return what ``import percepnet_cli`` offers: name to where it is defined."""
    tree = ast.parse((PACKAGE / "__init__.py").read_text("utf-8"))
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "_HOMES":
            return {name: f"percepnet_cli.{home}.{name}" for name, home in ast.literal_eval(node.value).items()}
    raise ValueError("percepnet_cli/__init__.py has no _HOMES")


def modules() -> list[str]:
    """Return the names of all modules but the commands, which have a page of their own."""
    names = []
    for path in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        if ".cli" not in name.removeprefix("percepnet_cli") and not name.endswith("__main__"):
            names.append(name)
    return names


RETURNED = {
    "FileReport": "percepnet_cli.file_denoiser.FileReport",
    "Measures": "percepnet_cli.metrics.blind.Measures",
    "Model": "percepnet_cli.network.modelfile.Model",
    "Sizes": "percepnet_cli.network.graph.Sizes",
    "RawFormat": "percepnet_cli.audio.pipes.RawFormat",
}
"""What the public functions take, return and raise."""


def reference() -> str:
    """Return the page of the public names."""
    parts = ["# Python reference", "", "What `import percepnet_cli` offers; all of it is loaded on first use.", ""]
    one = "::: {}\n    options:\n      show_root_full_path: false\n      show_source: true\n"
    parts += [one.format(home) for home in public_names().values()]
    parts += ["## What they take, return and raise", ""]
    parts += [one.format(home) for home in RETURNED.values()]
    return "\n".join(parts)


def internals() -> str:
    """Return the page of everything else, module by module."""
    parts = [
        "# Internals",
        "",
        "Every module, for those who change the program or build on its stages. These names may change.",
        "",
    ]
    elsewhere = {*public_names().values(), *RETURNED.values()}
    for name in modules():
        hidden = ["!^_", *(f"!^{one.rpartition('.')[2]}$" for one in elsewhere if one.rpartition(".")[0] == name)]
        parts += [f"::: {name}\n    options:\n      filters: {json.dumps(hidden)}\n"]
    return "\n".join(parts)


def on_files(files: Files, config: Any) -> Files:
    """Add what is made: the model card, the reference, copies of files, pictures, sound, the denoiser of a page."""
    card = ROOT / "models" / "README.md"
    made: dict[str, str | bytes] = {
        "models.md": relink(card.read_text("utf-8"), "models", "models.md"),
        "reference.md": reference(),
        "internals.md": internals(),
    }
    written = [ROOT / "docs" / file.src_uri for file in files.documentation_pages()]
    for page, source in outside([*written, card]).items():
        made[page] = shown(source, page)
    made |= samples.files(ROOT)
    made |= figures.files(ROOT)
    made |= trial.files(ROOT)
    for name, content in made.items():
        files.append(File.generated(config, name, content=content))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Let links lead to pages; put the players and the tool in."""
    if page.file.generated_by is None:
        folder = posixpath.normpath(posixpath.join("docs", posixpath.dirname(page.file.src_uri)))
        markdown = relink(markdown, folder, page.file.src_uri)
    usual = 0.005 if page.file.src_uri.startswith("lab/") else 1
    page.meta.setdefault("search", {}).setdefault("boost", BOOST.get(page.file.src_uri, usual))
    return samples.with_players(trial.with_tool(markdown), ROOT)


def with_text_tables(content: str) -> str:
    """Mark tables without figures: their cells wrap, and on a phone they stand below each other."""

    def mark(match: re.Match[str]) -> str:
        cells = re.findall(r"<th[^>]*>", match[1])
        text = len(cells) <= TEXT_COLUMNS and all("right" not in cell for cell in cells)
        return match[0].replace("<table>", '<table class="text-table">', 1) if text else match[0]

    return TABLE.sub(mark, content)


def on_page_content(content: str, page: Any, config: Any, files: Files) -> str:
    """Draw the formulas, mark the tables."""
    content = with_text_tables(content)

    def formula(match: re.Match[str]) -> str:
        tex, display = html.unescape(match[2]), match[1] == "div"
        return formulas.draw(tex.replace("\\frac", "\\dfrac") if display else tex, display)

    return FORMULA.sub(formula, content)
