"""The commands in the documentation: where they stand, and a folder with small files under the names that they use."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile

ROOT = Path(__file__).resolve().parent.parent
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "models" / "README.md",
    ROOT / "examples" / "README.md",
    ROOT / "CONTRIBUTING.md",
]
PROGRAMS = ("percepnet", "make", "python")


class Command(NamedTuple):
    """A command line as it stands on a page."""

    page: str
    text: str
    quoted: bool
    """Within a sentence, where it may be a part of a command only."""


def section(page: str, heading: str) -> str:
    """Return what stands below a heading of the second level that begins so, up to the next one."""
    text = (ROOT / page).read_text("utf-8")
    return text.partition(f"\n## {heading}")[2].partition("\n## ")[0]


def shell_lines(text: str) -> list[str]:
    """Return the lines of a page's code blocks that are commands, continued lines joined, comments cut off."""
    lines, fence = [], ""
    for line in text.replace("\\\n", " ").splitlines():
        mark = re.match(r"\s*(```|~~~)(\w*)", line)
        if mark:
            fence = "" if fence else mark[2] or "text"
        elif fence in ("text", "sh", "bash", "console") or (not fence and line.startswith("    ")):
            line = re.sub(r"\s{2,}#.*$", "", line.strip().removeprefix("$ "))
            if line.startswith("Usage:"):
                continue
            if line.split(" ")[0] in PROGRAMS or re.search(r"(^|[ /])percepnet [a-z]", line):
                lines.append(line)
    return lines


def commands() -> list[Command]:
    """Return every command of every page, each text once."""
    found: dict[str, Command] = {}
    for page in PAGES:
        name, text = str(page.relative_to(ROOT)), page.read_text("utf-8")
        prose = re.sub(r"\s*\n\s*", " ", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))
        quoted = re.findall(r"`((?:\w+=\S+ )?(?:" + "|".join(PROGRAMS) + r") [^`]+)`", prose)
        for line in shell_lines(text):
            found.setdefault(line, Command(name, line, False))
        for line in quoted:
            found.setdefault(line, Command(name, line, True))
    return list(found.values())


def calls(text: str) -> list[list[str]]:
    """Return the arguments of each call of percepnet in a command line: what a shell would hand over."""
    found = []
    for part in re.split(r"\s[|&;]+\s|&&", text):
        words = shlex.split(re.sub(r"\s[<>]\s*\S+", "", part), comments=False)
        starts = [place for place, word in enumerate(words) if word == "percepnet" or word.endswith("bin/percepnet")]
        if starts:
            found.append(words[starts[0] + 1 :])
    return found


def with_option(text: str, name: str, value: str) -> str:
    """Replace an option's value in a command line, or add the option."""
    pattern = rf"{name} \S+"
    if re.search(pattern, text):
        return re.sub(pattern, f"{name} {value}", text)
    command, redirected, rest = text.partition(" > ")
    return f"{command} {name} {value}{redirected}{rest}"


def small(text: str) -> str:
    """Let a command that takes hours take seconds: less of the same."""
    if "train-targets" in text:
        return with_option(text, "--hours", "0.002")
    if re.search(r"percepnet train ", text):
        text = re.sub(r" --minutes \S+", "", text)
        sizes = () if "--preset" in text else (("--sizes", "16,16,16,16,16,16"),)
        for name, value in (("--steps", "2"), ("--batch-size", "2"), ("--sequence-length", "50"), *sizes):
            text = with_option(text, name, value)
    if "percepnet denoise" in text:  # the recordings here are of two seconds
        text = text.replace("--start 1:02:30 --duration 10", "--start 0:00:01 --duration 1")
    if "percepnet bench" in text and "--compare" not in text:
        text = text.replace("--hours 10", "--hours 0.01")
        for name, value in (("--seconds", "1"), ("--runs", "1"), ("--live", "0")):
            text = with_option(text, name, value)
    return text


def held_out(prefix: str, suffix: str = "") -> str:
    """Return a name that is kept for validation."""
    from percepnet_cli.training.data.corpus import Recording, select_split

    names = (f"{prefix}{number}{suffix}" for number in range(1000))
    return next(name for name in names if select_split([Recording("", name)], "validation"))


def write_corpus(folder: Path) -> None:
    """Write voices/ of two speakers and two noises/ and rirs/, one of each kept for validation, and tables of them."""
    from signals import noise, speech

    rng = np.random.default_rng(3)
    kept = {"voices": held_out("voice"), "noises": held_out("noise", ".wav"), "rirs": held_out("rir", ".wav")}
    decay = 10 ** (-3 * np.arange(4800) / 4800)
    for speaker, f0_hz in (("anna", 210.0), (kept["voices"], 110.0)):
        (folder / "voices" / speaker).mkdir(parents=True)
        for number in range(2):
            soundfile.write(folder / "voices" / speaker / f"{number}.wav", speech(96000, rng, f0_hz=f0_hz)[0], 48000)
    for kind, shape in (("noises", np.ones(96000)), ("rirs", decay)):
        (folder / kind).mkdir()
        for name in ("usual.wav", kept[kind]):
            soundfile.write(folder / kind / name, noise(len(shape), rng) * shape, 48000)
    for table, kind in (("speech", "voices"), ("noise", "noises"), ("rooms", "rirs")):
        rows = [f"{path.relative_to(folder)}\t{path.parent.name}" for path in sorted((folder / kind).rglob("*.wav"))]
        (folder / f"{table}.tsv").write_text("\n".join(["path\tspeaker", *rows, ""]))


def write_files(folder: Path) -> None:
    """Write recordings, films, models and a program's folders under the names that the pages use."""
    sound, rate = soundfile.read(ROOT / "examples" / "street.flac", frames=96000, dtype="float32")
    for name in ("noisy.wav", "interview.mp3", "recordings/one.wav", "recordings/two/three.flac"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / name, sound, rate)
    for place in ("examples", "docs", "tests"):
        (folder / place).symlink_to(ROOT / place)
    shutil.copy(ROOT / "models" / "lite.safetensors", folder / "mine.safetensors")
    if shutil.which("ffmpeg"):
        (folder / "talks" / "deep").mkdir(parents=True)
        for name in ("talk.mkv", "talk.mp4", "talks/deep/talk.mp4"):
            codec = ["-c:a", "flac" if name.endswith("mkv") else "aac"]
            command = ["ffmpeg", "-v", "error", "-i", folder / "noisy.wav", *codec, folder / name]
            subprocess.run(command, check=True)


def provide(text: str, folder: Path) -> None:
    """Put what commands that compare recordings are given under the names that they use: files, folders of files."""
    for name, *words in calls(text):
        given = words[:-1] if name == "oracle" else words  # whose last is where the results go
        for word in given if name in ("oracle", "evaluate", "plot") else []:
            word = re.sub(r"^\w+=", "", word)  # LABEL=FOLDER
            path = folder / word
            if word.startswith("-") or path.exists():
                continue
            if path.suffix in (".wav", ".flac"):
                path.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(folder / "noisy.wav", path)
            elif word.endswith("/"):
                path.mkdir(parents=True)
                for number in range(2):
                    shutil.copy(folder / "noisy.wav", path / f"{number}.wav")
