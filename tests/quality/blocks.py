"""What a network in both directions loses by working in blocks: PESQ-wb in blocks and on whole recordings.

    blocks.py --pairs DIR --float FILE [--blocks 100:50 20:20 ...] [--every N]

FILE is what `percepnet train` wrote of a bidirectional network. The float reference denoises ``DIR/noisy``, with each
recording whole and in blocks of so many hops with so many of future, by the same signal path; the 8-bit runtime does it
as in use. All are scored against ``DIR/clean``. A recording of 8 s takes about ten seconds per way.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import soundfile

from percepnet_cli.constants import (
    BIDIRECTIONAL_BLOCK_HOPS,
    BIDIRECTIONAL_FUTURE_HOPS,
    HOP_SIZE,
    LATENCY_SAMPLES,
    SAMPLE_RATE,
)
from percepnet_cli.denoiser import Denoiser
from percepnet_cli.metrics.scores import score_pair
from percepnet_cli.network.float_reference import FloatState
from percepnet_cli.network.modelfile import Model, load_model, model_bytes
from percepnet_cli.network.quantize import quantize_tensors

WHOLE, EIGHT_BITS = "whole", "8 bits, as in use"


def rounded(model: Model, folder: Path) -> Model:
    """Return the 8-bit model of a float one, through its file."""
    path = folder / "rounded.safetensors"
    path.write_bytes(model_bytes(quantize_tensors(model.tensors, model.sizes), model.sizes, "int8", model.metadata))
    return load_model(path)


def ways(blocks: list[tuple[int, int]], samples: int) -> dict[str, Callable[[Model], FloatState]]:
    """Return what makes the float network of each way, for a recording of so many samples."""
    hops = -(-(samples + LATENCY_SAMPLES) // HOP_SIZE)
    made: dict[str, Callable[[Model], FloatState]] = {WHOLE: partial(FloatState, block=hops, future=0)}
    for block, future in blocks:
        made[f"{block} + {future}"] = partial(FloatState, block=block, future=future)
    return made


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=Path, required=True)
    parser.add_argument("--float", type=Path, required=True, dest="weights")
    parser.add_argument("--blocks", nargs="+", default=[f"{BIDIRECTIONAL_BLOCK_HOPS}:{BIDIRECTIONAL_FUTURE_HOPS}"])
    parser.add_argument("--every", type=int, default=1, help="use every so manyth recording")
    args = parser.parse_args()
    blocks = [(int(block), int(future)) for block, _, future in (text.partition(":") for text in args.blocks)]
    model = load_model(args.weights, "float")
    if not model.sizes.bidirectional:
        raise SystemExit(f"{args.weights} is causal: blocks change nothing")

    with tempfile.TemporaryDirectory() as folder:
        small = rounded(model, Path(folder))
    scores: dict[str, list[float]] = {}
    snr: dict[str, list[float]] = {}
    for path in sorted((args.pairs / "clean").iterdir())[:: args.every]:
        clean = soundfile.read(path)[0]
        noisy = soundfile.read(args.pairs / "noisy" / path.name, dtype="float32")[0]
        denoisers = {way: Denoiser(model, predictor=new) for way, new in ways(blocks, len(noisy)).items()}
        reference = np.zeros(0)
        for way, denoiser in (denoisers | {EIGHT_BITS: Denoiser(small)}).items():
            output = denoiser.denoise(noisy)
            reference = output if way == WHOLE else reference
            error = np.sum((output - reference) ** 2, dtype=np.float64)
            snr.setdefault(way, []).append(10 * np.log10(np.sum(reference**2, dtype=np.float64) / (error + 1e-20)))
            scores.setdefault(way, []).append(score_pair(clean, output, SAMPLE_RATE, ("PESQ",))["pesq_wb"])

    print(f"{'hops + future':<20} PESQ-wb   against whole: mean   lowest  highest   output SNR dB, median")
    for way, values in scores.items():
        change = np.subtract(values, scores[WHOLE])
        line = f"{way:<20} {np.mean(values):7.4f}"
        if way != WHOLE:
            line += f"{change.mean():+22.4f} {change.min():+8.4f} {change.max():+8.4f} {np.median(snr[way]):12.1f}"
        print(line)


if __name__ == "__main__":
    main()
