"""Loudness (ITU-R BS.1770) through ffmpeg: how loud a recording is, and the same recording as loud as is wanted.

What would pass the highest true peak goes through ffmpeg's limiter, at 192 kHz, so that peaks between the samples are
seen. A limiter takes loudness away, so its gain is found by turns. ffmpeg goes through the recording twice, and
some ten times where the limiter has work.
"""

from __future__ import annotations

import math
import os
import re
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

import numpy as np

from percepnet_cli.audio import ffmpeg
from percepnet_cli.audio.formats import Layout
from percepnet_cli.constants import HIGHEST_LUFS, LOWEST_LUFS
from percepnet_cli.errors import AudioError

HIGHEST_PEAK_DB = -1.0
"""dBTP; the true peak that EBU R 128 allows."""

LIMITER_SAMPLE_RATE = 192000
"""Hz."""

TOLERANCE_LU = 0.1
"""What ffmpeg's meter can tell apart."""

SILENT_LUFS = -70.0
"""A recording that is not louder has no loudness: nothing passes the gate."""

LIMITED_DB = 0.3
"""The limiter begins so much below the highest peak; the way back to the sample rate has added 0.1 at most."""

LOWEST_LIMIT_DB = -24.0
"""Of ffmpeg's limiter."""

MOST_CHANNELS = 8

NOTHING = "anull"
"""The filter that changes nothing."""

BLOCK_FRAMES = 65536


class Leveler:
    """Brings one recording to a loudness, in constant memory: its samples wait in a nameless file.

    Parameters
    ----------
    target : Path
        The result; the file is made beside it.
    sample_rate, channels : int
        Of the recording.
    wanted_lufs : float
        The loudness that is wanted.

    Attributes
    ----------
    reached_lufs : float or None
        What it has then, which is less if a limiter cannot make it louder; None of silence, which stays.

    Raises
    ------
    AudioError
        If ffmpeg is not installed, or does not know the loudness of so many channels.
    """

    def __init__(self, target: Path, sample_rate: int, channels: int, wanted_lufs: float) -> None:
        if not ffmpeg.installed():
            raise AudioError("loudness is measured by ffmpeg, which is not installed")
        if channels > MOST_CHANNELS:
            raise AudioError(f"loudness is that of 1 to {MOST_CHANNELS} channels, not of {channels}")
        self._target, self._wanted = target, wanted_lufs
        self._sample_rate, self._channels = sample_rate, channels
        self.reached_lufs: float | None = None

    def apply(self, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Take the whole recording, then yield it as it is to be, float32 [n, channels], as long as it was.

        Raises AudioError if the disk is full, or ffmpeg fails.
        """
        with tempfile.TemporaryFile(dir=os.path.dirname(os.path.realpath(self._target))) as file:
            try:
                for block in blocks:
                    file.write(np.asarray(block, "<f4").tobytes())
                file.flush()
            except OSError as error:
                raise AudioError(f"{self._target} cannot be written: {error.strerror}") from None
            try:
                yield from self._filtered(file, self._choose(file))
            except AudioError as error:
                raise AudioError(f"{self._target} cannot be written: {error}") from None

    def _choose(self, file: IO[bytes]) -> str:
        """Return the filters that bring a recording to the loudness that is wanted; set ``reached_lufs``."""
        before, peak_db = self._measure(file, NOTHING)
        if before <= SILENT_LUFS:
            return NOTHING

        # Without a limiter where the peaks have room
        gain_db = self._wanted - before
        if peak_db + gain_db <= HIGHEST_PEAK_DB:
            self.reached_lufs = self._wanted
            return _gain(gain_db)

        # With it, what is missing is added to the gain, as long as that brings half of itself or more
        self.reached_lufs, missing, limit_db = -math.inf, 0.0, HIGHEST_PEAK_DB - LIMITED_DB
        while True:
            chain = f"{_gain(gain_db)},{_limiter(self._sample_rate, limit_db)}"
            reached, peak_db = self._measure(file, chain)
            if (
                peak_db > HIGHEST_PEAK_DB and limit_db > LOWEST_LIMIT_DB
            ):  # clicks grow again when the treble of their new form is taken away
                limit_db -= peak_db - HIGHEST_PEAK_DB + LIMITED_DB
                continue
            worth_it = reached >= self.reached_lufs + missing / 2
            self.reached_lufs, missing = reached, self._wanted - reached
            if abs(missing) < TOLERANCE_LU or not worth_it:
                return chain
            gain_db += missing

    def _filtered(self, file: IO[bytes], chain: str) -> Iterator[np.ndarray]:
        """Yield a recording behind filters, float32 [n, channels]."""
        frame_bytes = 4 * self._channels
        left = os.fstat(file.fileno()).st_size // frame_bytes
        with self._start(file, chain, ["-f", "f32le", "pipe:1"], stderr=subprocess.DEVNULL) as process:
            assert process.stdout is not None
            while left:
                frames = min(BLOCK_FRAMES, left)
                data = process.stdout.read(frames * frame_bytes)
                # Conversions of the rate may take a frame away at the end
                block = np.zeros((frames, self._channels), np.float32)
                block.reshape(-1)[: len(data) // 4] = np.frombuffer(data, "<f4")
                left -= frames
                yield block
            process.communicate()  # or add one
        if process.returncode:
            raise AudioError(f"ffmpeg ends with exit code {process.returncode}")

    def _measure(self, file: IO[bytes], chain: str) -> tuple[float, float]:
        """Return loudness in LUFS and true peak in dBTP of a recording behind filters."""
        meter = f"{chain},ebur128=peak=true:framelog=verbose"
        with self._start(file, meter, ["-f", "null", "-"], stderr=subprocess.PIPE) as process:
            text = process.communicate()[1].decode("utf-8", "replace")
        found = [re.findall(rf"\b{name}:\s+(\S+) {unit}", text) for name, unit in (("I", "LUFS"), ("Peak", "dBFS"))]
        if process.returncode or not all(found):
            said = (text.strip().splitlines() or [f"exit code {process.returncode}"])[-1].strip()
            raise AudioError(f"ffmpeg says '{said}'")
        return float(found[0][-1]), float(found[1][-1])

    def _start(self, file: IO[bytes], chain: str, output: list[str], stderr: int) -> subprocess.Popen[bytes]:
        os.lseek(file.fileno(), 0, os.SEEK_SET)
        command = [ffmpeg.PROGRAM, "-nostdin", "-hide_banner", "-nostats", "-v", "info"]
        command += ["-f", "f32le", "-ar", str(self._sample_rate), "-ac", str(self._channels), "-i", "pipe:0"]
        command += ["-af", chain, *output]
        return subprocess.Popen(command, stdin=file, stdout=subprocess.PIPE, stderr=stderr)


def _gain(gain_db: float) -> str:
    return f"volume={gain_db:.6f}dB:precision=float"


def _limiter(sample_rate: int, limit_db: float) -> str:
    limit = 10 ** (max(limit_db, LOWEST_LIMIT_DB) / 20)
    limiter = f"alimiter=limit={limit:.6f}:level=false:latency=true"
    return f"aresample={LIMITER_SAMPLE_RATE},{limiter},aresample={sample_rate}"


def new_leveler(target: str, like: Layout, loudness_lufs: float | None) -> Leveler | None:
    """Return what brings a result to a loudness, if that is wanted. Raises AudioError if it cannot."""
    if loudness_lufs is None:
        return None
    if not LOWEST_LUFS <= loudness_lufs <= HIGHEST_LUFS:
        raise ValueError(f"loudness_lufs is {loudness_lufs}, it must be {LOWEST_LUFS:g} to {HIGHEST_LUFS:g}")
    if target == "-":
        raise AudioError("loudness is known when a recording has ended: give a file as OUT")
    return Leveler(Path(target), like.sample_rate, like.channels, loudness_lufs)
