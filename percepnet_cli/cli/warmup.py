"""``percepnet warmup``: compile ahead."""

from __future__ import annotations

import time
from contextlib import suppress

import click

from percepnet_cli.cli.options import CommandWithSections
from percepnet_cli.cli.progress import prepare
from percepnet_cli.errors import DeviceError

EXAMPLES = """
    percepnet warmup
"""


@click.command(cls=CommandWithSections, examples=EXAMPLES)
def warmup() -> None:
    """Compile the kernels ahead of the first run.

    Then the first run starts at once. The kernels are kept in the user's cache folder, or in the one that
    PERCEPNET_CACHE_DIR names, until the program, numba, Python or the kind of CPU change: run it once after
    installing, or while an image is built (on the kind of CPU that the image will run on).
    """
    import numpy as np

    from percepnet_cli.compute.cpu import isa
    from percepnet_cli.compute.jit import CACHE_DIR, is_cold

    prepare()
    cold = is_cold()
    start = time.perf_counter()

    from percepnet_cli.constants import HOP_SIZE, SAMPLE_RATE
    from percepnet_cli.denoiser import Denoiser
    from percepnet_cli.live.chain import Chain
    from percepnet_cli.live.engine import Engine, Ring
    from percepnet_cli.network.modelfile import load_model, shipped_names

    # Files with either kind of network, the speech probability, and live sound where there is a sound server
    networks = {model.sizes.bidirectional: model for model in map(load_model, shipped_names())}
    for model in networks.values():
        denoiser = Denoiser(model)
        denoiser.denoise(np.zeros(2 * HOP_SIZE, np.float32))
        denoiser.process(np.zeros(HOP_SIZE, np.float32))
        _ = denoiser.speech_probability
        if not model.sizes.bidirectional:
            Engine(Chain(denoiser, SAMPLE_RATE), Ring(1, 1, SAMPLE_RATE, HOP_SIZE), HOP_SIZE)
    with suppress(DeviceError):
        from percepnet_cli.live import pulse_callback  # noqa: F401
    seconds = time.perf_counter() - start
    what = f"compiled in {seconds:.1f} s" if cold else f"were compiled, loaded in {seconds:.1f} s"
    if CACHE_DIR is None:
        raise click.ClickException(f"the kernels {what}, but there is no folder to keep them in")
    click.echo(f"the kernels (8-bit product: {isa()}) {what}; they are in {CACHE_DIR}")
