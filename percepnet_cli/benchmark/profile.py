"""The share of every stage in the time of the signal path, by clocks around its functions while it runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from percepnet_cli.dsp import bands, comb, features, gains, highpass, pitch, stft
from percepnet_cli.network import blocks, percepnet

STAGES: tuple[tuple[str, Any, str], ...] = (
    ("high-pass", highpass, "filter_hops"),
    ("window", stft, "window_hops"),
    ("transform", stft, "transform"),
    ("bands", bands, "energy"),
    ("bands", bands, "cross"),
    ("bands", bands, "coherence"),
    ("pitch", pitch.Tracker, "track"),
    ("comb", comb, "filter_hops"),
    ("features", features, "pack"),
    ("network", percepnet.State, "run"),
    ("network", blocks.BlockState, "run"),
    ("post-filter", gains, "postfilter_hops"),
    ("mix and scale", gains.Renderer, "render"),
    ("synthesis", stft, "synthesize"),
)
"""Label, owner and name of every function that the signal path calls."""


def shares(run: Callable[[], object]) -> dict[str, float]:
    """Return per cent of the time of ``run`` by stage; what runs between them is called ``rest``."""
    spent: dict[str, float] = {}
    with clocks(spent):
        start = time.perf_counter()
        run()
        total = time.perf_counter() - start
    spent["rest"] = total - sum(spent.values())
    return {label: 100 * seconds / total for label, seconds in spent.items()}


@contextmanager
def clocks(spent: dict[str, float]) -> Iterator[None]:
    """Add up the seconds of the functions of STAGES by label; nested calls count for the inner one only."""
    inner = [0.0]

    def timed(label: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            before, inner[0] = inner[0], 0.0
            start = time.perf_counter()
            result = function(*arguments)
            elapsed = time.perf_counter() - start
            spent[label] = spent.get(label, 0.0) + elapsed - inner[0]
            inner[0] = before + elapsed
            return result

        return call

    originals = [(owner, name, getattr(owner, name)) for _, owner, name in STAGES]
    try:
        for (label, owner, name), (_, _, function) in zip(STAGES, originals, strict=True):
            setattr(owner, name, timed(label, function))
        yield
    finally:
        for owner, name, function in originals:
            setattr(owner, name, function)
