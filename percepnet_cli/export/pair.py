"""Two channels of one recording in one call: what ``Denoiser`` does with two linked channels."""

from __future__ import annotations

import numpy as np

from percepnet_cli.compute.jit import kernel
from percepnet_cli.dsp.link import link_pair
from percepnet_cli.signal_path import Path, finish, predict_gains


@kernel
def process_pair(left: Path, right: Path, hops: int, post_filter: np.float32, dry: np.float32) -> None:
    """Do what ``signal_path.process`` does for each channel, with one gain and strength for both."""
    predict_gains(left, hops)
    predict_gains(right, hops)
    link_pair(left.energy, left.gain, left.strength, right.energy, right.gain, right.strength, hops)
    finish(left, hops, post_filter, dry)
    finish(right, hops, post_filter, dry)
