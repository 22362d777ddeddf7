"""Measure how the pages read: words per sentence, and lines that are too wide.

python docs/sentences.py                   # every page: sentences, mean length, longest, wide lines
python docs/sentences.py README.md         # one page, with its longest sentences
python docs/sentences.py --check           # fail where a page is beyond its limits

Counted is prose: paragraphs and list items. Headings, tables, code, formulas, and comments are not. A code span
is one word, a link counts by its text. A sentence ends with a point, a question or an exclamation mark, or with its
paragraph or item; a colon or semicolon does not end it.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent

MEAN_WORDS = 18
"""Most words per sentence, on average, of the pages in READ_FIRST."""
COLUMNS = 100
"""Widest line outside tables and code."""
README_LINES = 110
"""Most lines of the README."""
READ_FIRST = (
    "README.md",
    "docs/index.md",
    "docs/live.md",
    "docs/training.md",
    "docs/troubleshooting.md",
)
"""Pages that a new user reads."""

FENCE = re.compile(r"^ *(```|~~~).*?^ *\1[^\n]*$", re.MULTILINE | re.DOTALL)
FRONT_MATTER = re.compile(r"\A---\n.*?^---$", re.MULTILINE | re.DOTALL)
COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
FORMULA = re.compile(r"\$\$.*?\$\$", re.DOTALL)
ITEM = re.compile(r" *(?:[-*+]|\d+\.) +")
END = re.compile(r"(?<=[.!?])[\"')\]*]*\s+(?=[\"'(\[*]*[A-Z0-9`])")
ABBREVIATION = re.compile(r"\b(?:e\.g|i\.e|vs|etc|cf|No)\.$")


class Reading(NamedTuple):
    """What is measured of a page."""

    sentences: list[str]
    wide_lines: list[int]
    """Numbers of the lines that are wider than COLUMNS, from 1."""

    @property
    def mean(self) -> float:
        """Words per sentence; 0 on a page without sentences."""
        return fmean(map(count_words, self.sentences)) if self.sentences else 0.0


def blanked(match: re.Match[str]) -> str:
    """Return as many empty lines as a match has, so that the numbers of the lines stay."""
    return "\n" * match[0].count("\n")


def prose_lines(text: str) -> list[str]:
    """Return the lines of a page; those of code, tables, headings, comments, and formulas are empty."""
    for pattern in (FRONT_MATTER, FENCE, COMMENT, FORMULA):
        text = pattern.sub(blanked, text)
    lines: list[str] = []
    in_list = False
    for line in text.split("\n"):
        # A list goes on over indented lines; elsewhere four spaces are code.
        if ITEM.match(line) and not line.startswith("    "):
            in_list = True
        elif line and not line.startswith(" "):
            in_list = False
        code = line.startswith("    ") and not in_list
        lines.append("" if code or line.lstrip().startswith(("|", "#", "<")) else line)
    return lines


def paragraphs(lines: list[str]) -> Iterator[str]:
    """Yield paragraphs and list items, each in one line."""
    parts: list[str] = []
    for line in [*lines, ""]:
        item = ITEM.match(line)
        if parts and (item or not line.strip()):
            yield " ".join(parts)
            parts = []
        if line.strip():
            parts.append((line[item.end() :] if item else line).strip())


def plain(text: str) -> str:
    """Return a paragraph without marks: a code span or formula is one word, a link its text, a picture nothing."""
    # In capitals, since a sentence may begin with them.
    text = re.sub(r"!\[[^\]]*\]\([^)]*\)", "", text)
    text = re.sub(r"`+[^`]+`+", "CODE", text)
    text = re.sub(r"\$[^$]+\$", "FORMULA", text)
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)
    return re.sub(r"\*\*|__", "", text)


def split_sentences(paragraph: str) -> list[str]:
    """Return the sentences of a paragraph, without marks."""
    found: list[str] = []
    for part in END.split(plain(paragraph).strip()):
        if found and ABBREVIATION.search(found[-1]):
            found[-1] += f" {part}"
        elif count_words(part):
            found.append(part)
    return found


def count_words(sentence: str) -> int:
    """Return the number of words: what stands between spaces and has a letter or a digit."""
    return sum(1 for word in sentence.split() if re.search(r"\w", word))


def read(text: str) -> Reading:
    """Measure the text of a page."""
    lines = prose_lines(text)
    sentences = [sentence for paragraph in paragraphs(lines) for sentence in split_sentences(paragraph)]
    # What holds no space, such as an address, cannot be wrapped.
    wide = [number for number, line in enumerate(lines, 1) if len(line) > COLUMNS and " " in line.strip()]
    return Reading(sentences, wide)


def pages() -> list[Path]:
    """Return every page of the project that people read."""
    named = [ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")]
    named += [ROOT / "examples" / "README.md", ROOT / "tests" / "quality" / "README.md"]
    return [*named, *sorted(ROOT.glob("docs/**/*.md")), *sorted(ROOT.glob("models/**/*.md"))]


def faults() -> list[str]:
    """Return what is beyond the limits, one sentence each."""
    found = []
    for path in pages():
        name = path.relative_to(ROOT).as_posix()
        text = path.read_text("utf-8")
        reading = read(text)
        if name in READ_FIRST and reading.mean > MEAN_WORDS:
            found.append(f"{name}: {reading.mean:.1f} words per sentence, more than {MEAN_WORDS}")
        found += [f"{name}:{number} is wider than {COLUMNS} columns" for number in reading.wide_lines]
        if name == "README.md" and text.count("\n") > README_LINES:
            found.append(f"{name} has more than {README_LINES} lines")
    return found


def run() -> None:
    """Print what is measured, or check it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("pages", nargs="*", type=Path)
    parser.add_argument("--check", action="store_true", help="fail where a page is beyond its limits")
    arguments = parser.parse_args()
    if arguments.check:
        raise SystemExit("\n".join(faults()) or None)

    for path in arguments.pages or pages():
        reading = read(path.read_text("utf-8"))
        longest = sorted(reading.sentences, key=count_words, reverse=True)
        words = count_words(longest[0]) if longest else 0
        print(
            f"{path.resolve().relative_to(ROOT)}: {len(longest)} sentences, mean {reading.mean:.1f} words, "
            f"longest {words}; {len(reading.wide_lines)} wide lines"
        )
        for sentence in longest[:10] if arguments.pages else []:
            print(f"  {count_words(sentence)}: {sentence}")


if __name__ == "__main__":
    run()
