"""What libsndfile cannot read, through ffmpeg where that is installed: films, AAC, WMA..."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

from percepnet_cli.audio.pipes import PipeReader
from percepnet_cli.errors import AudioError

PROGRAM = "ffmpeg"


def installed() -> bool:
    """Return whether there is an ffmpeg."""
    return shutil.which(PROGRAM) is not None


class MediaReader(PipeReader):
    """The first audio track of a file, decoded by ffmpeg; a context manager with the face of ``audio.Reader``.

    Raises AudioError if ffmpeg finds no sound in it.
    """

    def __init__(self, path: Path) -> None:
        source = f"file:{path}"  # or else a name like "a:b.mp4" would be taken for a protocol
        command = [PROGRAM, "-nostdin", "-v", "error", "-protocol_whitelist", "file,pipe", "-i", source]
        command += ["-map", "0:a:0", "-f", "wav", "-c:a", "pcm_f32le", "-"]
        self._messages = tempfile.TemporaryFile()  # noqa: SIM115  (closed by close)
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self._messages
        )
        assert self._process.stdout is not None
        try:
            super().__init__(self._process.stdout, str(path))  # type: ignore[arg-type]
        except BaseException:
            self.close()
            raise
        self.format, self.subtype, self.frames = "MEDIA", "MEDIA", None

    def _read_some(self, size: int) -> bytes:
        data = super()._read_some(size)
        if not data and self._process.wait() != 0:
            raise AudioError(f"{self.path} is damaged: ffmpeg says '{self._last_message()}'")
        return data

    def _last_message(self) -> str:
        self._messages.seek(0)
        lines = self._messages.read().decode("utf-8", "replace").strip().splitlines()
        return lines[-1].strip() if lines else f"exit code {self._process.returncode}"

    def close(self) -> None:
        """End ffmpeg; doing it twice is harmless."""
        self._file.close()
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._messages.close()
