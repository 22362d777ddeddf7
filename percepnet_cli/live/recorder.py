"""Two files that grow while a session runs: what came in and what went out, frame by frame in time."""

from __future__ import annotations

import time
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


class Recordings:
    """The recordings of a session, one after the other; a context manager that ends the last.

    sample_rate, channels: of the session.

    Attributes
    ----------
    names : str
        Of the two files that are being written, "" if none are.
    failure : AudioError or None
        Why the last recording ended early.
    """

    def __init__(self, sample_rate: int, channels: int) -> None:
        self.names = ""
        self.failure: AudioError | None = None
        self._like = (sample_rate, channels)
        self._recorder: Recorder | None = None

    def begin(self, noisy: Path, clean: Path, force: bool = False) -> None:
        """Begin to write two files. Raises AudioError if they cannot be written."""
        self._recorder = Recorder(noisy, clean, *self._like, force)
        self.names = f"{noisy.name}, {clean.name}"
        self.failure = None

    def begin_here(self) -> None:
        """Begin to write two files in the present folder, named by the time. Raises AudioError if that cannot be."""
        begun = time.strftime("percepnet-%Y%m%d-%H%M%S")
        self.begin(Path(f"{begun}-noisy.wav"), Path(f"{begun}-clean.wav"))

    def write(self, collected: deque[tuple[np.ndarray, np.ndarray]] | None) -> AudioError | None:
        """Take all that is there and store it, if anything is being written; return what went wrong, once."""
        if collected is None:
            return None
        if self._recorder is None:
            collected.clear()
            return None
        trouble = self._recorder.write(collected)
        if trouble is not None:
            self.failure, self.names = trouble, ""
        return trouble

    def end(self) -> None:
        """Give both files their names."""
        if self._recorder is not None:
            recorder, self._recorder, self.names = self._recorder, None, ""
            recorder.__exit__(None, None, None)

    def __enter__(self) -> Recordings:
        return self

    def __exit__(self, *exception: object) -> None:
        self.end()
