"""Two files that grow while a session runs: what came in and what went out, frame by frame in time."""

from __future__ import annotations

from collections import deque
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from percepnet_cli.audio.files import Writer, open_writer
from percepnet_cli.audio.formats import Layout
from percepnet_cli.errors import AudioError


class Recorder:
    """Writes what a session collected; a context manager, at whose end both files appear.

    Parameters
    ----------
    noisy, clean : Path
        Of any format that ``open_writer`` knows.
    sample_rate, channels : int
        Of the session.
    force : bool
        Whether existing files may be replaced.

    Raises
    ------
    AudioError
        If the files cannot be written.

    Attributes
    ----------
    failure : AudioError or None
        Why the recording ended early.
    """

    def __init__(self, noisy: Path, clean: Path, sample_rate: int, channels: int, force: bool = False) -> None:
        if noisy.resolve() == clean.resolve():
            raise AudioError(f"{noisy} cannot be both recordings")
        self.failure: AudioError | None = None
        like = Layout(sample_rate, channels, None, "WAV", "PCM_16")
        with ExitStack() as stack:
            self._writers: list[Writer] = [
                stack.enter_context(open_writer(path, like=like, force=force)) for path in (noisy, clean)
            ]
            self._stack = stack.pop_all()

    def write(self, collected: deque[tuple[np.ndarray, np.ndarray]]) -> AudioError | None:
        """Take all that is there and store it; return what went wrong, the first time something does."""
        failed_before = self.failure is not None
        while collected:
            pair = collected.popleft()
            if self.failure is None:
                try:
                    for writer, samples in zip(self._writers, pair, strict=True):
                        writer.write(samples)
                except AudioError as error:  # a full disk does not end the call
                    self.failure = error
        return None if failed_before else self.failure

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *exception: object) -> None:
        # What was recorded is kept whatever ended the session; each file is whole or absent.
        if self.failure is None:
            self._stack.close()
        else:
            self._stack.__exit__(AudioError, self.failure, None)
