"""Pairs of recordings scored: which belong together, and every file's scores, by processes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from percepnet_cli.audio.folders import sound_files
from percepnet_cli.audio.resample import resample
from percepnet_cli.audio.whole import read_mono
from percepnet_cli.constants import HOP_SIZE, SAMPLE_RATE
from percepnet_cli.errors import AudioError
from percepnet_cli.file_denoiser import BLOCK_HOPS, denoise_blocks
from percepnet_cli.metrics import recognition, scores
from percepnet_cli.metrics.alignment import MAX_DELAY_MS, constant_delay, overlap
from percepnet_cli.metrics.levels import snr
from percepnet_cli.parallel import runner
from percepnet_cli.parallel.runner import Done, Failed
from percepnet_cli.storage.tables import Table, TableError

if TYPE_CHECKING:
    from percepnet_cli.network.modelfile import Model

NOISY = "noisy"
"""Name of the system that does nothing."""

CLEAN = "clean"
"""Name of the reference where it is shown itself: what the recognizer makes of it."""

WARNINGS = ("warning", "clean_warning")
"""Keys of a row for what is not whole of the system's file and of the clean one."""

SNR_STEP_DB = 5
"""Measured SNRs are put together in steps of this."""

Row = dict[str, Any]
"""One file's scores of one system: ``file``, ``system``, ``snr_db``, what ``scores.score_pair`` gives (at 48 kHz), and
``word_errors`` and ``words`` if a recognizer listened. NaN is what cannot be known."""


@dataclass(frozen=True)
class Pair:
    """A clean recording and what is to be compared with it."""

    name: str
    clean: Path
    tests: Mapping[str, Path]
    """Recordings by the name of the system that made them."""
    noisy: Path | None = None
    """What to measure the SNR on, and to denoise."""
    snr_db: float | None = None
    """As a manifest says."""
    text: str | None = None
    """What is spoken."""


@dataclass(frozen=True)
class Settings:
    """What is the same for all pairs."""

    models: Mapping[str, Model] = field(default_factory=dict)
    """Networks that denoise the noisy recordings here, by the name of the system."""
    post_filter: float | None = None
    groups: frozenset[str] = frozenset(scores.NEEDED)
    words: bool = False
    """Whether a recognizer listens."""
    transcripts: bool = False
    """Whether its words are compared with what is spoken, else with those it hears in the clean recording."""


def find_pairs(
    clean: Path, noisy: Path | None, compared: Mapping[str, Path], manifest: Path | None = None
) -> list[Pair]:
    """Find what belongs together: by the name without its extension below each folder, or single files.

    clean, noisy: two folders, searched recursively, or two files; compared: folders or files by name of the system.
    manifest: a table (tab- or comma-separated) with the columns ``file`` and, as there are, ``snr_db`` and ``text``; a
    text is also looked for in a .txt beside the clean recording. Raises AudioError.
    """
    listed = read_manifest(manifest) if manifest else {}
    systems = ({NOISY: noisy} if noisy else {}) | dict(compared)

    for path in (clean, *systems.values()):
        if not path.exists():
            raise AudioError(f"{path}: there is no such file or folder")
        if path.is_dir() != clean.is_dir():
            kinds = [f"{p} is a {'folder' if p.is_dir() else 'file'}" for p in (clean, path)]
            raise AudioError(f"{kinds[0]}, but {kinds[1]}; give folders only or files only")

    # Recordings by name: all below a folder, or a single file
    if clean.is_dir():
        references = recordings(clean)
        found = {label: recordings(folder) for label, folder in systems.items()}
    else:
        references = {clean.stem: clean}
        found = {label: {clean.stem: path} for label, path in systems.items()}

    for label, files in found.items():
        lacking = sorted(references.keys() - files.keys())
        if lacking:
            raise AudioError(
                f"{systems[label]}: {len(lacking)} of {len(references)} recordings of {clean} are missing, "
                f"such as {lacking[0]}"
            )

    pairs = []
    names = {name for path in references for name in (path, Path(path).name)}
    if listed and not listed.keys() & names:
        raise AudioError(f"{manifest}: none of its files is a recording of {clean}, such as {next(iter(references))}")

    for name, reference in references.items():
        row = listed.get(name, listed.get(Path(name).name, {}))
        tests = {label: files[name] for label, files in found.items()}
        text = row.get("text") or _transcript(reference)
        pairs.append(Pair(name, reference, tests, tests.get(NOISY), row.get("snr_db"), text))
    return pairs


def unpaired(pairs: Sequence[Pair], systems: Iterable[Path]) -> list[str]:
    """Return a sentence for each folder of ``systems`` that has recordings which no pair uses. Raises AudioError."""
    names = {pair.name for pair in pairs}
    sentences = []
    for folder in filter(Path.is_dir, systems):
        found = recordings(folder)
        others = sorted(found.keys() - names)
        if others:
            sentences.append(
                f"left out: {len(others)} of {len(found)} recordings of {folder} have no clean one, such as {others[0]}"
            )
    return sentences


def recordings(folder: Path) -> dict[str, Path]:
    """Return the sound files below a folder by their relative name without extension. Raises AudioError."""
    found: dict[str, Path] = {}
    for path in sorted(Path(one.path) for one in sound_files(str(folder))):
        name = path.relative_to(folder).with_suffix("").as_posix()
        if name in found:
            raise AudioError(f"{found[name]} and {path} have the same name; which one is meant?")
        found[name] = path
    if not found:
        raise AudioError(f"{folder}: no sound files there")
    return found


def read_manifest(path: Path) -> dict[str, Row]:
    """Return ``snr_db`` (float) and ``text``, as there are, by file name without extension. Raises AudioError."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as lines:
            delimiter = "\t" if "\t" in lines.readline() else ","
            lines.seek(0)
            table = Table(lines, delimiter)
            if "file" not in table.columns:
                raise AudioError(f"{path} has no column 'file'")

            # By the name without its extension, as recordings are found below a folder
            rows: dict[str, Row] = {}
            for line in table:
                row: Row = {"text": line.get("text")}
                if line.get("snr_db"):
                    row["snr_db"] = float(line["snr_db"])
                    if not math.isfinite(row["snr_db"]):
                        raise ValueError
                rows[Path(line["file"] or "").with_suffix("").as_posix()] = row

            return rows
    except OSError as error:
        raise AudioError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise AudioError(f"{path} is not a table in UTF-8") from None
    except TableError as error:
        raise AudioError(f"{path}, {error}") from None
    except ValueError:
        raise AudioError(f"{path}, line {table.line}: snr_db is not a number") from None


def _transcript(clean: Path) -> str | None:
    beside = clean.with_suffix(".txt")
    try:
        return beside.read_text("utf-8") if beside.is_file() else None
    except (OSError, UnicodeDecodeError):
        raise AudioError(f"{beside} is not a text in UTF-8 that can be read") from None


def denoised_mono(path: Path, model: Model, post_filter: float | None = None) -> np.ndarray:
    """Denoise a file as ``percepnet denoise`` does; return the mean of its channels at 48 kHz, float32 [n]."""
    from percepnet_cli.audio.files import open_reader
    from percepnet_cli.denoiser import Denoiser

    with open_reader(path) as reader:
        rate, channels = reader.sample_rate, reader.channels
        denoiser = Denoiser(model, channels=channels, post_filter=post_filter, threads=1)
        blocks = reader.blocks(BLOCK_HOPS * HOP_SIZE * rate // SAMPLE_RATE)
        parts = [block.mean(axis=1) for block in denoise_blocks(blocks, rate, channels, denoiser)]
    cleaned = np.concatenate(parts) if parts else np.zeros(0, np.float32)
    return cleaned if rate == SAMPLE_RATE else resample(cleaned, rate, SAMPLE_RATE)


def measured_snr_db(clean: np.ndarray, noisy: np.ndarray) -> float:
    """SNR in dB of a pair at 48 kHz, float [n], [m], once a constant delay is taken out; NaN if there is none."""
    delay = constant_delay(clean, noisy, SAMPLE_RATE * MAX_DELAY_MS // 1000)
    return snr(*overlap(clean, noisy, delay))


def score(settings: Settings, pair: Pair, progress: object = None) -> list[Row]:
    """Score one pair: a row for every system. Raises AudioError."""
    unwhole: dict[str, list[str]] = {label: [] for label in (CLEAN, *pair.tests)}
    clean = read_mono(pair.clean, warn=unwhole[CLEAN].append)
    tests = {label: read_mono(path, warn=unwhole[label].append) for label, path in pair.tests.items()}
    if settings.models and pair.noisy is not None:
        for label, model in settings.models.items():
            tests[label] = denoised_mono(pair.noisy, model, settings.post_filter)
            unwhole[label] = unwhole[NOISY]

    for path, samples in zip((pair.clean, *pair.tests.values()), (clean, *tests.values()), strict=False):
        if not len(samples):
            raise AudioError(f"{path} holds no samples")

    # Signal against noise as the table says, else as it is measured
    level = pair.snr_db
    if level is None:
        level = measured_snr_db(clean, tests[NOISY]) if pair.noisy is not None else math.nan

    rows: list[Row] = []
    for label, test in tests.items():
        row: Row = {"file": pair.name, "system": label, "snr_db": level}
        rows.append(row | scores.score_pair(clean, test, SAMPLE_RATE, settings.groups))

    # What is not whole; columns of their own, only if there is something to say
    for row in rows:
        row |= {
            key: "".join(unwhole[of]) for key, of in zip(WARNINGS, (row["system"], CLEAN), strict=True) if unwhole[of]
        }

    # Words: against what is spoken, else against what is recognized in the clean recording
    if settings.words:
        heard = {CLEAN: clean} | tests
        words = {
            label: recognition.recognize(resample(samples, SAMPLE_RATE, recognition.RATE))
            for label, samples in heard.items()
        }

        reference = words[CLEAN]
        if settings.transcripts:
            reference = recognition.words_of(pair.text or "")
            rows.insert(0, {"file": pair.name, "system": CLEAN, "snr_db": level})

        for row in rows:
            errors = recognition.word_errors(reference, words[row["system"]])
            row |= {"word_errors": errors, "words": len(reference)}
    return rows


def run(pairs: Sequence[Pair], settings: Settings, jobs: int = 1) -> Iterator[Done | Failed]:
    """Score pairs; yield the rows of each (``Done.result``), or what is wrong with it, as they come.

    jobs: processes; with 1, this one does the work. Raises OSError if processes cannot be started.
    """
    return runner.run(score, settings, pairs, jobs, label=lambda pair: str(pair.name))
