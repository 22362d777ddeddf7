"""PercepNet: full-band speech denoising that leaves most of the work to perceptual signal processing.

``Denoiser`` cleans arrays and streams, ``load_model`` reads a network. Both are
imported on first use, so that ``import percepnet_cli`` stays light.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["Denoiser", "__version__", "load_model"]

if TYPE_CHECKING:
    from percepnet_cli.denoiser import Denoiser
    from percepnet_cli.network.modelfile import load_model


def __getattr__(name: str) -> Any:
    if name == "Denoiser":
        from percepnet_cli.denoiser import Denoiser

        return Denoiser
    if name == "load_model":
        from percepnet_cli.network.modelfile import load_model

        return load_model
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
