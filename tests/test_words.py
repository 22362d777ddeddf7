"""One vocabulary over the whole tree: the field's words instead of our own, and US spelling.

Text of code, options, docs and tests is read. Left out: the log of experiments, which quotes what was; this file; the
module that reads the names of former files, and the test of it; tables and weights, which name the recordings of
others. The pattern of a word is as narrow as the comment beside it says, since most of the words are English, too.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

LEFT_OUT = re.compile(
    r"docs/lab/"
    r"|tests/test_words\.py$"
    r"|tests/data/"
    r"|percepnet_cli/training/renamed\.py$"  # holds all former names
    r"|LICENSE$"
    r"|.*\.tsv$"
)
"""Paths that are not read."""

EXCUSED = {
    # a shard under former names is made here, to see that it is read
    ("tests/test_generate.py", r"given_room|room_on_noise|\"rooms\"|colour"),
    # the column of tables outside the project
    ("models/corpus/measure.py", r"licence"),
    # the folders and tables of the corpus are named after rooms, as they always were
    ("tests/documented.py", r"\"rooms\""),
    ("models/corpus/measure.py", r"\"rooms\""),
    # an option of git
    ("models/corpus/fetch.py", r"--batch"),
    # a ceiling of a room
    ("models/corpus/rooms.py", r"ceiling"),
    # the color map has this name
    ("percepnet_cli/plotting/views.py", r"Grey"),
}
"""(path, pattern) of words that may stand in a file."""

FORMER = {
    # --- training: what a network learns from
    "trained on for": r"train(ed|ing)? on (for|from|like)\b",  # "trained on 20 hours of mixtures" is what it says
    "taught": r"taught",
    "opinion": r"\bopinions?\b",
    "--part": r"--part\b|\bpart: str|[\"']part[\"']\s*:",  # a part of anything else is a part
    "--pieces": r"--pieces\b|pieces: int\b",  # pieces of a stream or of music, and a folder of the corpus
    "--recolour": r"--recolou?r|\brecolou?r",
    "--residue-weight": r"\b[Rr]esidue\b|RESIDUE",
    "--loudness-weight": r"loudness[-_ ](weight|loss)|(loss|weight) of loudness",  # not the quantity
    "--level-weight": r"(?<!band[-_])\blevel[-_]weight",
    "losses": r"(loss|\"|--loss )(=| |: )?\"?(gamma|quarter|relative|entropy)\"",  # values of an option: quoted
    "--batch": r"--batch(?![-\w])|--hops\b|--rate(?![-\w=])",  # pacat takes --rate=N
    "--rooms": r"--rooms\b|\brooms?: (tuple|Sequence|float\b)|\.rooms\b|\"rooms\"|given_room|room_on_noise|in_room\b"
    r"|room_response|synthetic_room",  # a recording is made in a room
    "kept apart": r"[Kk]ept[\s_]+apart|[Kk]eep(s|ing)?[\s_]+apart",
    "sittings": r"\b[Ss]ittings?\b",
    "pilots": r"\b[Pp]ilots?\b",
    "learnt by heart": r"by heart\b",
    "head start": r"[Hh]ead start",
    "ceiling": r"\b[Cc]eilings?\b",
    "answers": r"\b([Ii]deal|[Pp]erfect|network's|teachers'?|teacher's|best) answers?\b|\banswers = "
    r"|(network|it)\s+(would|should) (have )?answer",  # devices, servers and people answer
    "reshape, tracks": r"data[./](reshape|signals|tracks)\b|(speech|noise)_track\b",  # NumPy reshapes
    # --- recordings
    "softer": r"\b[Ss]ofter\b",  # "soft speech" is what a recipe draws
    "stretch": r"\b[Ss]tretch(es)?\b",
    "burst": r"\b[Bb]ursts?\b",
    "the 36 pairs": r"\b([Tt]he|of) 36\b",
    # --- code
    "Line": r"\bclass Line\b|\bLine\(",  # lines of text and of a table are lines
    "understand": r"def understand|\bunderstand\(",  # readers and listeners understand
    "Sight, watch": r"\bSight\b|def watch\b|\bwatch\(",  # a session watches a device
    "told": r"\btold\b( =|:|\[|\.|\()|(?<![.\w])tell\((?!self)|\bTeller\b",  # file.tell is Python's
    "tips": r"\bTIPS\b|BAND_TIPS|\b[Bb]and tips\b|\btips = ",  # model files and shards have the key "band_tips"
    "tier": r"\b[Tt]iers?\b|\bforms? of (code|(the )?([\w-]+ )?product)",
    "meter": r"\bclass Meter\b|\b[Mm]eter\(|live/meter\b",  # the level meters of `live` are meters
    "together": r"\btogether\(",
    "rows_times_vectors": r"rows_times_vectors",
    "Manual": r"\bclass Manual\b|cls=Manual\b",
    "--monitor-off": r"--monitor-off|monitor_off",
    "--article": r"--article\b",
    "the article": r"\b[Tt]he (article|paper)('s)?\b|\((article|paper)[):]|\bV21\b|_(article|paper)s?_",
    "rungs": r"\b[Rr]ungs?\b|\b[Ll]adders?\b",
}
"""The left-hand side of the table of words -> where it must not stand."""

BRITISH = (
    # -our; not "hour", "four", "your", "contour", "detour"
    r"(colour|favour|behaviour|neighbour|honour|labour|flavour|rumour|humour|vapour|harbour|odour|vigour|endeavour)",
    # -ise, -isation: verbs by their stems, since "noise", "precise", "likewise", "otherwise", "exercise" are no verbs
    r"(normal|quant|optim|recogn|initial|serial|organ|minim|maxim|summar|general|special|penal|regular|vector|parallel"
    r"|util|standard|visual|local|equal|central|linear|factor|token|random|discret|stabil|symmetr|harmon|memor|categor"
    r"|priorit|custom|synchron|character|emphas|synthes|neutral|final|apolog|critic|vocal|anonym|modern|capital|author"
    r"|formal|digit|legal|popular|\breal)is(e|ed|es|er|ers|ing|ation|ations|able)(?![a-z])",  # "synthesis" has no e
    r"(analys|paralys|catalys)(e|ed|er|ers|ing)(?![a-z])",  # "analyses" is a plural
    # -re; "meter" alone, as in kilometre, is a unit
    r"\b_?(centre|metre|kilometre|millimetre|litre|fibre|theatre|calibre)s?\b|centred|centring",
    r"(defence|offence|licence|pretence)",
    r"(analogue|catalogue|dialogue)",
    r"(travell|cancell|modell|labell|levell|signall|channell|tunnell|fuell|totall|diall|marvell)(ed|er|ers|ing|ous)(?![a-z])",
    r"\b(fulfil|enrol|skilful|instal|distil)\b",
    r"(\bgrey|programme\b|\bcheque|\btyre|\bmould|\bplough|sceptic|artefact|judgement|\bageing|acknowledgement|whilst"
    r"|amongst|learnt|burnt|spelt|dreamt|leant|aesthet)",
)
"""Spellings of which US English has another."""


@cache
def texts() -> tuple[tuple[str, str], ...]:
    """Return path and content of all text files of the project that are read."""
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if done.returncode:
        pytest.skip("no checkout of git")
    found = []
    for path in done.stdout.decode().split("\0"):
        if path and not LEFT_OUT.match(path) and (ROOT / path).is_file():
            data = (ROOT / path).read_bytes()
            if b"\0" not in data:
                found.append((path, data.decode("utf-8")))
    return tuple(found)


@cache
def words() -> dict[str, set[str]]:
    """Return all words of the texts in small letters, and the files that each is in."""
    found: dict[str, set[str]] = {}
    for path, text in texts():
        for word in set(re.findall(r"[a-z_]{4,}", f"{path} {text}".lower())):
            found.setdefault(word, set()).add(path)
    return found


def places(pattern: str) -> Iterator[str]:
    """Yield ``path:line: word`` for each match, names of files included."""
    regex = re.compile(pattern)
    for path, text in texts():
        for match in regex.finditer(text):
            if not excused(path, match[0]):
                yield f"{path}:{text.count(chr(10), 0, match.start()) + 1}: {match[0]}"
        if match := regex.search(path):
            yield f"{path}: {match[0]} in its name"


def excused(path: str, word: str) -> bool:
    """Return whether a word may stand in a file."""
    return any(path == where and re.search(pattern, word, re.IGNORECASE) for where, pattern in EXCUSED)


@pytest.mark.parametrize("word", FORMER)
def test_a_word_of_ours_is_gone(word):
    assert list(places(FORMER[word])) == []


@pytest.mark.parametrize("pattern", BRITISH, ids=lambda pattern: re.findall(r"[a-z]{3,}", pattern)[0])
def test_spelling_is_that_of_the_us(pattern):
    found = {word: paths for word, paths in words().items() if re.search(pattern, word)}
    left = {word: {path for path in paths if not excused(path, word)} for word, paths in found.items()}
    assert {word: sorted(paths) for word, paths in left.items() if paths} == {}


def test_files_are_read_and_exceptions_are_needed():
    assert {"README.md", "Makefile", "percepnet_cli/signal_path.py", "docs/training.md"} <= {
        path for path, _ in texts()
    }
    contents = dict(texts())
    patterns = [*FORMER.values(), *BRITISH]
    for path, excuse in EXCUSED:
        found = [match[0] for p in patterns for match in re.finditer(p, contents[path], re.IGNORECASE)]
        assert any(re.search(excuse, word, re.IGNORECASE) for word in found), (path, excuse)


@pytest.mark.parametrize(
    ("word", "bad", "good"),
    [
        ("--part", "train-targets --part train", "a part of it"),
        ("--batch", "train --batch 3", "train --batch-size 3"),
        ("--level-weight", "--level-weight 1", "--loud-band-weight 1"),
        ("losses", '--loss "gamma"', '--loss "percepnet"'),
        ("--rooms", "rooms: tuple[str, ...]", "recorded in rooms"),
        ("answers", "with ideal answers", "the server answers"),
        ("told", "told = number", "unless told otherwise"),
        ("tier", "the form of the 8-bit product", "the LPC form"),
        ("tips", "BAND_TIPS[3]", 'metadata["band_tips"]'),
        ("the article", "see the paper", "docs/paper.md"),
        ("the article", "def test_the_papers_network", "docs/paper.md"),
        ("the 36 pairs", "on the 36 pairs", "dev36, 36 pairs of 8 s"),
        ("stretch", "a stretch of speech", "outstretched"),
    ],
)
def test_patterns_find_what_they_should(word, bad, good):
    assert re.search(FORMER[word], bad) and not re.search(FORMER[word], good)


@pytest.mark.parametrize(
    "word", ["normalised", "Optimiser", "analyse", "neighbour", "centre", "licence", "modelled", "grey", "_neighbour"]
)
def test_british_words_are_found(word):
    assert any(re.search(pattern, word.lower()) for pattern in BRITISH)


@pytest.mark.parametrize(
    "word", ["noise", "precise", "synthesis", "analyses", "hour", "center", "four", "realistic", "finalist", "raise"]
)
def test_other_words_are_not(word):
    assert not any(re.search(pattern, word) for pattern in BRITISH)
