"""A recording played through the denoiser: before and after at the same position, from any position on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import numpy as np

from percepnet_cli.audio.excerpt import Window
from percepnet_cli.audio.files import open_reader
from percepnet_cli.audio.level import find_gain
from percepnet_cli.denoiser import Denoiser
from percepnet_cli.errors import AudioError
from percepnet_cli.live.chain import Chain
from percepnet_cli.live.polyphase import Polyphase

BLOCK_SECONDS = 0.05
"""What is played in one go; keys are obeyed in between."""

SETTLE_SECONDS = 3
"""Sound before a position with which the denoiser begins."""

FADE_SECONDS = 0.02
"""How long the change between before and after takes."""


class Speaker(Protocol):
    """What plays samples and makes who gives them wait."""

    sample_rate: int
    channels: int

    def write(self, block: np.ndarray) -> None:
        """Play float32 [n, channels]."""


class Player:
    """Plays a file, step by step; a context manager, since the file stays open.

    Parameters
    ----------
    path : Path
        The file.
    denoiser : Denoiser
        With nobody else using it; its channels are those of the file.
    speaker : Speaker
        Of any rate; if it has fewer channels than the file, these are mixed.
    start_seconds : float
        Where to begin.

    Raises
    ------
    AudioError
        If the file cannot be read, or is none.

    Attributes
    ----------
    before : bool
        Whether the recording is heard as it is; the change is faded.
    seconds : float or None
        Length of the file, as far as it is known.
    """

    def __init__(self, path: Path, denoiser: Denoiser, speaker: Speaker, start_seconds: float = 0.0) -> None:
        if not path.is_file():
            raise AudioError(f"{path} cannot be played: only files have positions")
        self.before = False
        self.denoiser = denoiser
        self._speaker = speaker
        self._share = 1.0  # of the denoised sound in what is heard

        # What is much too soft for the network is raised, as for a result
        self._reader = reader = open_reader(path)
        self.sample_rate, self.seconds = reader.sample_rate, reader.seconds
        frames = reader.sample_rate
        self._gain, _ = find_gain(reader.blocks(frames), frames, lambda: open_reader(path), frames)
        self._chain = Chain(denoiser, self.sample_rate)
        self._converter = None
        if speaker.sample_rate != self.sample_rate:
            self._converter = Polyphase(self.sample_rate, speaker.sample_rate, speaker.channels)
        self.seek(start_seconds)

    @property
    def position_seconds(self) -> float:
        """Where it is."""
        return self._frame / self.sample_rate

    @property
    def warning(self) -> str | None:
        """What is wrong with the recording, as the end of a sentence; known for certain at its end."""
        return self._reader.warning

    def seek(self, seconds: float) -> None:
        """Go on from another position, between the first and the last."""
        last = np.inf if self.seconds is None else self.seconds
        self._frame = round(max(0.0, min(seconds, last)) * self.sample_rate)
        self._pairs = self._from(self._frame)

    def step(self) -> bool:
        """Play what comes next; return whether there was any. Raises AudioError, or DeviceError."""
        pair = next(self._pairs, None)
        if pair is None:
            return False
        noisy, clean = pair
        self._frame += len(noisy)

        # Fade towards the one that is wanted
        wanted = 0.0 if self.before else 1.0
        heard = noisy if wanted == 0.0 else clean
        if self._share != wanted:
            ramp = np.arange(1, len(noisy) + 1, dtype=np.float32) / np.float32(FADE_SECONDS * self.sample_rate)
            share = np.clip(self._share + np.sign(wanted - self._share) * ramp, 0, 1)[:, None]
            heard = noisy + share * (clean - noisy)
            self._share = float(share[-1, 0])
        self._speaker.write(self._fitted(heard))
        return True

    def _from(self, first: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield what was recorded and what the denoiser makes of it, float32 [n, channels] each, from a frame on."""
        chain, gain = self._chain, np.float32(self._gain)
        chain.reset()
        size = max(1, round(BLOCK_SECONDS * self.sample_rate))
        begin = max(0, first - SETTLE_SECONDS * self.sample_rate)
        heard = Window(begin - self._reader.seek(begin))
        before, after = Window(first - begin), Window(first - begin)
        waiting = np.zeros((0, self.denoiser.channels), np.float32)

        for whole in self._reader.blocks(size):
            if not len(block := heard.cut(whole)):
                continue
            clean = chain.process(block * gain) / gain
            waiting = np.concatenate((waiting, block))
            noisy, waiting = waiting[: len(clean)], waiting[len(clean) :]
            noisy, clean = before.cut(noisy), after.cut(clean)
            if len(noisy):
                yield noisy, clean

        # What the denoiser still holds comes out with silence
        while len(waiting):
            clean = chain.process(np.zeros((size, self.denoiser.channels), np.float32))[: len(waiting)] / gain
            noisy, waiting = waiting[: len(clean)], waiting[len(clean) :]
            noisy, clean = before.cut(noisy), after.cut(clean)
            if len(noisy):
                yield noisy, clean

    def close(self) -> None:
        """Close the file; doing it twice is harmless."""
        self._reader.close()

    def __enter__(self) -> Player:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _fitted(self, block: np.ndarray) -> np.ndarray:
        """Return a block with the channels and the rate of the speaker."""
        if block.shape[1] > self._speaker.channels:
            block = np.repeat(block.mean(axis=1, keepdims=True), self._speaker.channels, axis=1)
        elif block.shape[1] < self._speaker.channels:
            block = np.repeat(block[:, :1], self._speaker.channels, axis=1)
        block = np.ascontiguousarray(block, np.float32)
        return block if self._converter is None else self._converter.process(block)
