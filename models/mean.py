"""Take the mean of the weights of two models of one family: before and after more training.

    python models/mean.py BEFORE AFTER SHARE OUT

OUT gets (1 - SHARE) of BEFORE and SHARE of AFTER, as a float model that ``percepnet quantize`` takes. Both may be
8-bit or float. AFTER must be BEFORE, trained further, else a mean makes no sense: of weights that were never
close, it computes nothing. If BEFORE is narrower or causal, it becomes as wide first, with the seed of ``percepnet
train --init``. What the two know is kept where they agree, and what either was fitted to is halved (Wortsman et al.,
2022, "Robust fine-tuning of zero-shot models").
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from percepnet_cli.network.modelfile import Model, model_bytes
from percepnet_cli.storage.atomic import write_atomically
from percepnet_cli.training.model.floatmodel import KIND, read_weights
from percepnet_cli.training.model.widen import widen
from percepnet_cli.training.options import Options


def mean(before: Model, after: Model, share: float) -> dict[str, np.ndarray]:
    """Return the float32 tensors of the mean. Raises ValueError if the two are no family.

    share: 0 (all of ``before``) to 1 (all of ``after``).
    """
    if not 0 <= share <= 1:
        raise ValueError(f"the share is {share}, it must be 0 to 1")
    old = before.tensors
    if before.sizes != after.sizes:
        old = widen(old, before.sizes, after.sizes, Options.seed)
    for name in ("feature_mean", "feature_std"):
        if not np.array_equal(old[name], after.tensors[name]):
            raise ValueError(f"{name} of the two differs: neither is the other, trained further")
    return {
        name: np.float32(1 - share) * old[name] + np.float32(share) * value for name, value in after.tensors.items()
    }


def main() -> None:
    """Read, take the mean, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("share", type=float)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    try:
        before, after = read_weights(args.before), read_weights(args.after)
        tensors = mean(before, after, args.share)
    except ValueError as error:
        raise SystemExit(str(error)) from None

    # The file says what it is a mean of; how each of the two was trained is told by both
    origin = {
        "mean": {
            "before": {"share": 1 - args.share, "sha256": before.digest, "training": before.metadata.get("training")},
            "after": {"share": args.share, "sha256": after.digest},
        },
        "training": after.metadata.get("training"),
        "post_filter": after.post_filter,
    }
    data = model_bytes(tensors, after.sizes, KIND, origin)
    write_atomically(args.out, lambda part: part.write_bytes(data))


if __name__ == "__main__":
    main()
