"""Imported for what it does: everything that denoising needs is loaded, and compiled if need be.

A process that imports this and forks has children that start at once.
"""

from __future__ import annotations

from contextlib import suppress

import numpy as np

import percepnet_cli.batch.run  # noqa: F401  (what the children will ask for)
from percepnet_cli.constants import HOP_SIZE
from percepnet_cli.denoiser import Denoiser

with suppress(Exception):  # whatever it is, the first file will say it better
    Denoiser().denoise(np.zeros(2 * HOP_SIZE, np.float32))
