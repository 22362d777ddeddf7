"""Recordings to train from: find them, know whose they are and how far they reach, read them."""

from __future__ import annotations

import hashlib
import json
import os
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np

from percepnet_cli.audio.folders import sound_files
from percepnet_cli.audio.whole import read_mono
from percepnet_cli.constants import SAMPLE_RATE
from percepnet_cli.errors import AudioError
from percepnet_cli.storage import remote
from percepnet_cli.storage.atomic import write_atomically
from percepnet_cli.storage.tables import Table, TableError

CACHE_SHARE = 0.1
"""Part of the machine's memory that one process may fill with decoded audio, int16."""
LARGEST_CACHE_BYTES = 800_000_000
DECODING = 2
"""Raised when recordings are decoded otherwise, so that what was kept before is not used."""
FULL_SCALE = 32767
"""Sample value that stands for 1 in decoded audio."""
BANDWIDTH_RANGE_DB = 60
"""A recording reaches as far as its mean power stays within this of the peak."""
WHOLE_BAND_HZ = 21000.0
"""Recordings that reach so far hold all that there was."""
CLIFF_DB = 15.0
"""A fall of the mean level by more, from 1 kHz below the bandwidth to 1 kHz above it, is a cut (``is_cut_off``)."""
KINDS = {"", "words", "sentences", "music"}
VALIDATION_SHARE = 0.06
"""Share of speakers, noises and RIRs that only validation sees."""


@dataclass(frozen=True)
class Recording:
    """One file. ``group`` is the speaker of speech, the file itself for noise and RIRs."""

    path: str
    group: str
    bandwidth_hz: float | None = None
    """Where the recording's content ends, Hz; None: measure it."""
    seconds: float | None = None
    """How long it is, if its table says so."""
    collection: str = ""
    """Where it was published, if its table says so; collections are drawn evenly, whatever their size."""
    kind: str = ""
    """``words`` or ``sentences`` of speech, ``music`` among noise, else empty."""


def find(source: Path | str) -> list[Recording]:
    """List the recordings of a folder (or the URL of one), of a table or of a plain list.

    A folder is searched recursively; a file's parent folder counts as its speaker. A table
    (``.tsv`` or ``.csv``) needs a column ``path`` and may have ``speaker``, ``bandwidth_hz``, ``seconds``,
    ``collection`` and ``kind`` (of speech ``words`` or ``sentences``, of noise ``music``; others are ignored);
    any other file lists one path a line. Relative paths start at the list's folder.
    Raises ValueError where nothing is found, naming the source.
    """
    if remote.is_url(str(source)):
        return _find_remote(str(source))
    source = Path(remote.local(str(source)))

    if source.is_dir():
        paths = sorted(Path(one.path) for one in sound_files(str(source)))
        found = [Recording(str(p), p.stem if p.parent == source else str(p.parent.relative_to(source))) for p in paths]
    elif source.suffix.lower() in {".tsv", ".csv"}:
        try:
            found = list(_read_table(source))
        except TableError as error:
            raise ValueError(f"{source}, {error}") from None
        except UnicodeDecodeError as error:
            raise ValueError(f"{source}: not a table in UTF-8 ({error})") from None
    elif source.is_file():
        lines = [line.strip() for line in source.read_text("utf-8").splitlines()]
        paths = [source.parent / line for line in lines if line and not line.startswith("#")]
        found = [Recording(str(p), p.parent.name) for p in paths]
    else:
        raise ValueError(f"{source}: no such file or folder")

    if not found:
        raise ValueError(f"{source}: no recordings in it")
    return found


def _find_remote(url: str) -> list[Recording]:
    found = []
    for path, below, _ in sound_files(url):
        name = PurePosixPath(below)
        found.append(Recording(path, name.stem if len(name.parts) == 1 else str(name.parent)))
    if not found:
        raise ValueError(f"{url}: no recordings in it")
    return found


def _read_table(source: Path) -> Iterable[Recording]:
    with source.open(encoding="utf-8", newline="") as file:
        rows = Table(file, "\t" if source.suffix.lower() == ".tsv" else ",")
        if "path" not in rows.columns:
            raise ValueError(f"{source}: the table has no column 'path'")
        for row in rows:
            if not row["path"] or "\0" in row["path"]:
                raise ValueError(f"{source}: line {rows.line} has no path")

            path = source.parent / row["path"]
            numbers = {}
            for name in ("bandwidth_hz", "seconds"):
                try:
                    numbers[name] = float(row.get(name) or 0) or None
                except ValueError:
                    raise ValueError(f"{source}: line {rows.line}: {name} is no number") from None

            kind = (row.get("kind") or "").strip()
            yield Recording(
                str(path),
                row.get("speaker") or str(path),
                **numbers,
                collection=row.get("collection") or "",
                kind=kind if kind in KINDS else "",
            )


def select_split(recordings: Sequence[Recording], split: str) -> list[Recording]:
    """Keep the groups of a split: ``train``, ``validation`` or ``all``.

    A group's split depends on its name alone, so adding recordings moves nobody.
    """
    if split == "all":
        return list(recordings)

    def held_out(group: str) -> bool:
        digest = hashlib.sha256(group.encode()).digest()
        return int.from_bytes(digest[:4], "big") < VALIDATION_SHARE * 2**32

    return [r for r in recordings if held_out(r.group) == (split == "validation")]


def mean_spectrum(samples: np.ndarray) -> np.ndarray:
    """Return the mean power spectrum of the louder half of 20 ms windows, smoothed over 500 Hz.

    samples: float32 [n] at 48 kHz. Returns float64 [481], bins of 50 Hz; zeros for less than a window.
    """
    frames = len(samples) // 960
    if frames == 0:
        return np.zeros(481)
    power = np.abs(np.fft.rfft(samples[: frames * 960].reshape(frames, 960) * np.hanning(960), axis=1)) ** 2
    total = power.sum(axis=1)
    return np.convolve(power[total >= np.median(total)].mean(axis=0), np.full(10, 0.1), "same")


def measure_bandwidth(samples: np.ndarray) -> float:
    """Return the frequency above which a recording holds nothing, Hz: the highest within 60 dB of its loudest.

    samples: float32 [n] at 48 kHz.
    """
    spectrum = mean_spectrum(samples)
    reach = np.flatnonzero(spectrum > spectrum.max() * 10 ** (-BANDWIDTH_RANGE_DB / 10))
    return float(reach[-1] * 50) if len(reach) else SAMPLE_RATE / 2


def is_cut_off(samples: np.ndarray, bandwidth_hz: float) -> bool:
    """Return whether a recording ends at its bandwidth as if cut off, and not because the voice holds no more.

    A codec, a resampler or a telephone lowers the level by 15 dB and more within 2 kHz; a voice that runs out falls by
    some 9 dB. samples: float32 [n] at 48 kHz.
    """
    if bandwidth_hz >= WHOLE_BAND_HZ:
        return False
    level_db = 10 * np.log10(mean_spectrum(samples) + 1e-14)
    edge = int(bandwidth_hz / 50)
    below, above = level_db[max(edge - 30, 0) : max(edge - 10, 1)], level_db[edge + 10 : edge + 30]
    return bool(below.mean() - above.mean() > CLIFF_DB)


def cache_bytes() -> int:
    """Return how much decoded audio a process keeps unless told otherwise: a tenth of the memory, 800 MB at most.

    600 MB where the memory is unknown.
    """
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):  # not on Windows
        return 600_000_000
    return min(LARGEST_CACHE_BYTES, int(CACHE_SHARE * memory))


@dataclass
class Faults:
    """Paths of recordings that were found so far to be other than they should."""

    unreadable: set[str] = field(default_factory=set)
    """No sound, or nothing but silence: left out."""
    unwhole: set[str] = field(default_factory=set)
    """Sound that ends early, is damaged or holds NaN: used as far as it goes."""

    def add(self, other: Faults) -> None:
        """Take up what was found elsewhere."""
        self.unreadable |= other.unreadable
        self.unwhole |= other.unwhole


class Library:
    """Reads recordings as mono at 48 kHz.

    Parameters
    ----------
    limit_bytes
        Decoded audio kept in memory, the latest, int16; None: ``cache_bytes``.
    folder
        Where decoded audio is kept as files instead, 96 kB for each second, so that processes share it and each
        recording is decoded once; made if needed. None: nowhere.
    """

    def __init__(self, limit_bytes: int | None = None, folder: str | Path | None = None) -> None:
        self._limit = cache_bytes() if limit_bytes is None else limit_bytes
        self._folder = None if folder is None else Path(folder)
        self._held = 0
        self._samples: OrderedDict[str, np.ndarray] = OrderedDict()
        self._bandwidth: dict[str, float] = {}
        self._known: dict[str, float] = {}
        self.faults = Faults()

    def samples(
        self, recording: Recording, size: int | None = None, rng: np.random.Generator | None = None
    ) -> np.ndarray:
        """Return the samples of a recording, float32 [n], peak at most 1; empty if it holds no sound that can be read.

        size, rng: if it is longer than `size`, as many samples from a random place.
        """
        held = self._decoded(recording)
        if size is not None and rng is not None and len(held) > size:
            start = int(rng.integers(len(held) - size + 1))
            held = held[start : start + size]
        return held.astype(np.float32) / np.float32(FULL_SCALE)

    def _decoded(self, recording: Recording) -> np.ndarray:
        """Return a recording, int16 [n]."""
        if recording.path in self.faults.unreadable:
            return np.zeros(0, np.int16)
        held = self._samples.pop(recording.path, None)
        if held is None:
            held = self._decode(recording) if self._folder is None else self._kept_in(self._folder, recording)
            if not held.any():
                self.faults.unreadable.add(recording.path)
                return held[:0]
            self._held += held.nbytes
        self._samples[recording.path] = held
        while self._held > self._limit and len(self._samples) > 1:
            self._held -= self._samples.popitem(last=False)[1].nbytes
        return held

    def _decode(self, recording: Recording) -> np.ndarray:
        try:
            with remote.fetched(recording.path) as path:
                audio = read_mono(path, warn=lambda _: self.faults.unwhole.add(recording.path))
        except AudioError:
            audio = np.zeros(0, np.float32)
        decoded: np.ndarray = np.round(np.clip(audio, -1, 1) * FULL_SCALE).astype(np.int16)
        return decoded

    def _kept_in(self, folder: Path, recording: Recording) -> np.ndarray:
        """Return a view of the file that holds a decoded recording; decode it if there is none."""
        stamp: tuple[int, ...] = ()
        if not remote.is_url(recording.path):
            with suppress(OSError):
                found = os.stat(recording.path)
                stamp = (found.st_size, found.st_mtime_ns)
        digest = hashlib.sha256(json.dumps([DECODING, recording.path, *stamp]).encode()).hexdigest()[:32]
        path = folder / digest[:2] / f"{digest}.s16"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            samples = self._decode(recording)
            if not len(samples):  # it may be readable another time, with ffmpeg installed
                return samples
            write_atomically(path, lambda temporary: temporary.write_bytes(samples.tobytes()))
        return np.memmap(path, np.int16, "r") if path.stat().st_size else np.zeros(0, np.int16)

    def bandwidth_hz(self, recording: Recording) -> float:
        """Return where the recording's content ends, measured if its table did not say."""
        if recording.bandwidth_hz is not None:
            return recording.bandwidth_hz
        if recording.path not in self._bandwidth:
            self._bandwidth[recording.path] = measure_bandwidth(self.samples(recording))
        return self._bandwidth[recording.path]

    def known_up_to_hz(self, recording: Recording) -> float:
        """Return up to where the recording tells what the speaker did: its bandwidth if it is cut off there, else all.

        Above a bandwidth that the voice itself has, there is nothing to be heard, and that is known.
        """
        if recording.path not in self._known:
            bandwidth_hz = self.bandwidth_hz(recording)
            cut_off = is_cut_off(self.samples(recording), bandwidth_hz)
            self._known[recording.path] = bandwidth_hz if cut_off else SAMPLE_RATE / 2
        return self._known[recording.path]
