"""PercepNet: full-band speech denoising that leaves most of the work to perceptual signal processing.

``denoise_file`` and ``denoise_files`` clean files, ``denoise`` arrays, ``Denoiser`` many arrays and streams,
``load_model`` reads a network. All are imported on first use, so that ``import percepnet_cli`` stays light.

>>> import numpy as np
>>> from percepnet_cli import Denoiser, denoise_file
>>> report = denoise_file("examples/street.flac", "clean.wav")
>>> report.seconds, report.sample_rate, report.channels
(8.0, 48000, 1)

Arrays of any rate and type, [n] or [n, channels]:

>>> from percepnet_cli import denoise
>>> denoise(np.zeros(16000, np.int16), 16000).dtype
dtype('int16')

Streams at 48 kHz, in pieces of any length:

>>> denoiser = Denoiser(channels=2)
>>> denoiser.denoise(np.zeros((1000, 2), np.float32)).shape
(1000, 2)
>>> part = denoiser.process(np.zeros((1000, 2), np.float32))
>>> rest = denoiser.flush()
>>> part.shape, rest.shape, denoiser.latency
((960, 2), (1480, 2), 1440)

What it follows, by the names that all modules use:

- [Valin 2020]: J.-M. Valin, U. Isik, N. Phansalkar, R. Giri, K. Helwani, A. Krishnaswamy. A Perceptually-Motivated
  Approach for Low-Complexity, Real-Time Enhancement of Fullband Speech. Interspeech 2020, arXiv 2008.04259.
- [Amazon 2020]: Amazon Science. How Amazon Chime's noise cancellation works.
- [Valin 2021]: J.-M. Valin, S. Tenneti, K. Helwani, U. Isik, A. Krishnaswamy. Low-Complexity, Real-Time Joint Neural
  Echo Control and Speech Enhancement Based On PercepNet. ICASSP 2021, arXiv 2102.05245.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from percepnet_cli.version import __version__

if TYPE_CHECKING:
    from percepnet_cli.batch.run import denoise_files
    from percepnet_cli.denoiser import Denoiser, denoise
    from percepnet_cli.errors import (
        AudioError,
        ClusterError,
        DeviceError,
        ExtraError,
        KernelError,
        ModelError,
        PercepnetError,
        StorageError,
        UnknownFormatError,
    )
    from percepnet_cli.file_denoiser import denoise_file
    from percepnet_cli.network.modelfile import load_model

__all__ = [
    "AudioError",
    "ClusterError",
    "Denoiser",
    "DeviceError",
    "ExtraError",
    "KernelError",
    "ModelError",
    "PercepnetError",
    "StorageError",
    "UnknownFormatError",
    "__version__",
    "denoise",
    "denoise_file",
    "denoise_files",
    "load_model",
]

_HOMES = {
    "denoise": "denoiser",
    "Denoiser": "denoiser",
    "denoise_file": "file_denoiser",
    "denoise_files": "batch.run",
    "load_model": "network.modelfile",
    "PercepnetError": "errors",
    "AudioError": "errors",
    "UnknownFormatError": "errors",
    "ModelError": "errors",
    "StorageError": "errors",
    "KernelError": "errors",
    "ExtraError": "errors",
    "ClusterError": "errors",
    "DeviceError": "errors",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"percepnet_cli.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
