"""The errors that a user can cause or mend: one family, whose text is a sentence for the user.

Catch :class:`PercepnetError` to catch them all. Whatever else is raised is a bug, or a wrong argument (ValueError,
TypeError).
"""

from __future__ import annotations

OUT_OF_MEMORY = "there is not enough memory"
"""What a user is told of a MemoryError."""


def os_sentence(error: OSError) -> str:
    """Return what the system refused as a sentence for the user, which names the file if the system did."""
    reason = error.strerror or str(error) or type(error).__name__
    names = [str(name) for name in (error.filename, error.filename2) if name is not None]
    return f"{', '.join(names)}: {reason}" if names else reason


def sentence_of(error: Exception) -> str:
    """Return what an error says, in the words of ``os_sentence`` if the system refused something."""
    return os_sentence(error) if isinstance(error, OSError) else str(error)


def load_sentence(error: ImportError) -> str:
    """Return why a package cannot be loaded: what was said first, without the advice that others put around it."""
    first: BaseException = error
    while isinstance(first.__cause__, ImportError):
        first = first.__cause__
    return f"a package cannot be loaded: {' '.join(str(first).split())}"


class PercepnetError(Exception):
    """Something cannot be read, written or used; the text is one sentence for the user."""


class StorageError(PercepnetError):
    """A folder, an object store or a report cannot be read or written."""


class AudioError(PercepnetError):
    """A sound file cannot be read, or not be written in the wanted format."""


class UnknownFormatError(AudioError):
    """No decoder knows what this file is."""


class ModelError(PercepnetError):
    """A model file cannot be found, read or used."""


class KernelError(PercepnetError, ValueError):
    """The environment asks for machine code that this CPU cannot run."""


class ExtraError(PercepnetError):
    """An optional package is missing."""


class ClusterError(PercepnetError):
    """A cluster cannot be reached, or cannot do the work."""


class DeviceError(PercepnetError):
    """A sound device cannot be found or used."""


class BenchError(PercepnetError):
    """An earlier measurement cannot be read."""


class PlotError(PercepnetError):
    """A picture cannot be drawn or written."""
