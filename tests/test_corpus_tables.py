"""The tables of models/corpus hold out what must be held out, and its scripts take from a clone what they should."""

from __future__ import annotations

import csv
import importlib.util
import re
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile as sf

CORPUS = Path(__file__).resolve().parents[1] / "models" / "corpus"
TRAINING = ("speech", "noise", "music")


def rows(name: str) -> list[dict[str, str]]:
    with (CORPUS / f"{name}.tsv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def script(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Import a script as Python does when it runs: its folder first."""
    monkeypatch.syspath_prepend(str(CORPUS))
    spec = importlib.util.spec_from_file_location(f"corpus_{name}", CORPUS / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return module


def whole(path: str) -> str:
    """The file that a piece is cut from."""
    return path.removeprefix("pieces/").rsplit("/", 2)[0] if path.startswith("pieces/") else path


def test_no_recording_is_trained_on_and_held_out() -> None:
    trained = {whole(row["path"]) for name in TRAINING for row in rows(name)}
    held_out = {whole(row["path"]) for row in rows("held_out")}
    assert len(held_out) > 1000
    assert not trained & held_out
    assert not trained & {whole(row["path"]) for row in rows("duplicates")}


def test_held_out_voices_and_those_of_the_36_pairs_are_not_trained_on(monkeypatch: pytest.MonkeyPatch) -> None:
    measure = script("measure", monkeypatch)
    trained = {row["speaker"] for row in rows("speech")}
    assert not trained & {row["speaker"] for row in rows("voices")}
    assert not [speaker for speaker in trained if measure.HELD_OUT.match(speaker)]


def test_no_collection_but_those_named_is_on_both_sides() -> None:
    trained = {row["collection"] for name in ("noise", "music") for row in rows(name)}
    held_out = {row["collection"] for row in rows("held_out") if row["use"] != "speech"}
    assert trained & held_out == {"jsgrrchg/MoodistMac", "MegaGlest/megaglest-data"}


def test_halves_share_no_voice_and_no_recording() -> None:
    found: dict[str, set[str]] = {"choosing": set(), "closing": set()}
    for row in rows("held_out"):
        found[row["split"]] |= {whole(row["path"]), row["speaker"]} - {""}
    assert not found["choosing"] & found["closing"]
    voices: dict[str, set[str]] = {"choosing": set(), "closing": set()}
    for row in rows("pairs"):
        voices[row["split"]].add(row["speaker"])
    assert len(voices["choosing"]) == len(voices["closing"]) == 15
    assert not voices["choosing"] & voices["closing"]


def test_pairs_cover_what_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = script("pairs", monkeypatch).COUNTS
    for split in ("choosing", "closing"):
        pairs = [row for row in rows("pairs") if row["split"] == split]
        assert len(pairs) == 48
        assert {kind: sum(row["kind"] == kind for row in pairs) for kind in kinds} == kinds
        assert sum(bool(row["room"]) for row in pairs) == 12
        assert all(-5 <= float(row["snr_db"]) <= 20 for row in pairs)
        assert all(-45.1 <= float(row["level_dbfs"]) <= -17.9 for row in pairs)
        known = {row["path"].replace("repositories/", "") for row in rows("held_out") if row["split"] == split}
        noises = {name for row in pairs if row["kind"] != "babble" for name in row["noise"].split(" ")}
        assert noises <= {word for path in known for word in path.split(" ")}
    hashes = [row[column] for row in rows("pairs") for column in ("noisy_sha256", "clean_sha256")]
    assert len(set(hashes)) == len(hashes) == 192
    assert all(re.fullmatch(r"[0-9a-f]{64}", value) for value in hashes)


def test_no_speaker_has_more_than_his_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    measure = script("measure", monkeypatch)
    more = {row["speaker"]: float(row["minutes"]) for row in rows("sources") if row["minutes"]}
    seconds: dict[str, list[float]] = {}
    for row in rows("speech"):
        seconds.setdefault(row["speaker"], []).append(float(row["seconds"]))
    for speaker, each in seconds.items():
        # The last one taken may reach beyond; the table rounds to 0.1 s.
        allowed = 60 * more.get(speaker, measure.SPEAKER_MINUTES) + max(each) + 0.05 * len(each)
        assert sum(each) <= allowed, speaker


def test_page_says_what_the_table_holds() -> None:
    page = (CORPUS / "README.md").read_text(encoding="utf-8")
    speech = rows("speech")

    def hours(some: list[dict[str, str]], digits: int) -> str:
        return f"{sum(float(row['seconds']) for row in some) / 3600:.{digits}f}"

    def speakers(some: list[dict[str, str]]) -> int:
        return len({row["speaker"] for row in some})

    count = f"{len(speech):,}".replace(",", " ")
    assert f"| {count} recordings, {hours(speech, 1)} h, {speakers(speech)} speakers," in page
    words = hours([row for row in speech if row["kind"] == "words"], 1)
    assert f"Of {hours(speech, 1)} h, {words} h are single words." in page

    edges = (0, 5000, 8200, 12100, 16000, 18100, 24001)
    bands = re.findall(r"^\| (?:below|above|[\d.]+ to) [\d.]+ kHz \| ([\d.]+) \| (\d+) \|$", page, re.MULTILINE)
    for (low, high), band in zip(pairwise(edges), bands, strict=True):
        some = [row for row in speech if low <= float(row["bandwidth_hz"]) < high]
        assert band == (hours(some, 2), str(speakers(some)))


def test_nothing_is_licensed_for_some_uses_only() -> None:
    licenses = {row["license"] for name in TRAINING for row in rows(name)} | {row["license"] for row in rows("sources")}
    assert not [license for license in licenses if re.search(r"\bN[CD]\b", license) or not license]


def git(*arguments: str | Path, where: Path) -> str:
    command = ["git", "-c", "user.name=a", "-c", "user.email=a@b", *map(str, arguments)]
    return subprocess.run(command, cwd=where, check=True, capture_output=True, text=True).stdout.strip()


@pytest.mark.skipif(not (shutil.which("git") and shutil.which("ffmpeg")), reason="needs git and ffmpeg")
def test_repository_is_taken_by_its_patterns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fetch = script("fetch", monkeypatch)
    work = tmp_path / "work"
    (work / "sounds").mkdir(parents=True)
    rng = np.random.default_rng(1)
    for name in ("one.wav", "two.wav", "voice.wav", "three.mp3"):
        sf.write(work / "sounds" / name, rng.normal(0, 0.1, 4800), 48000)
    shutil.copy(work / "sounds" / "one.wav", work / "sounds" / "zwilling.wav")
    (work / "sounds" / "notes.txt").write_text("no sound")
    git("init", "-q", ".", where=work)
    git("add", ".", where=work)
    git("commit", "-qm", "sounds", where=work)
    commit = git("rev-parse", "HEAD", where=work)
    git("rm", "-q", "sounds/two.wav", where=work)
    git("commit", "-qm", "one less", where=work)
    (tmp_path / "clones" / "someone").mkdir(parents=True)
    git("clone", "-q", "--bare", work, tmp_path / "clones" / "someone" / "sounds.git", where=tmp_path)

    row = {"package": "someone/sounds", "version": commit, "include": r"sounds/.*", "exclude": "voice", "most": ""}
    assert fetch.fetch_repository([row], tmp_path / "clones", tmp_path / "out") == ""

    # As it was at that commit; without the voice, the text and the second copy; the MP3 decoded.
    taken = tmp_path / "out" / "repositories" / "someone" / "sounds" / "sounds"
    assert sorted(path.name for path in taken.iterdir()) == ["one.wav", "three.mp3.flac", "two.wav"]
    assert (taken / "two.wav").read_bytes() == subprocess.run(
        ["git", "show", f"{commit}:sounds/two.wav"], cwd=work, check=True, capture_output=True
    ).stdout
    assert sf.info(taken / "three.mp3.flac").samplerate == 48000

    with pytest.raises(fetch.SourceError, match="no clone of someone/else"):
        fetch.fetch_repository([row | {"package": "someone/else"}], tmp_path / "clones", tmp_path / "out")
    with pytest.raises(fetch.SourceError, match="holds no commit"):
        fetch.fetch_repository([row | {"version": "0" * 40}], tmp_path / "clones", tmp_path / "other")


def test_some_of_many_files_are_always_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    fetch = script("fetch", monkeypatch)
    row = {"include": r"(\w+)/.*\.wav", "exclude": "b7", "most": "5"}
    names = [f"{folder}/{folder}{number}.wav" for folder in "ab" for number in range(20)]
    taken = [name for name, _ in fetch.matching(row, names)]
    assert len(taken) == 5
    assert taken == [name for name, _ in fetch.matching(row, reversed(names))]
    assert taken == [name for name, _ in fetch.matching(row, taken)]
    assert "b/b7.wav" not in [name for name, _ in fetch.matching(row | {"most": ""}, names)]
