"""The rows of docs/paper.md: what is published, what the program has, and the command that shows it.

Our numbers come from the program's constants, models/scores.json, docs/upper_bound.json and docs/benchmarks.json; none
is written here.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np

from percepnet_cli import constants
from percepnet_cli.dsp import comb
from percepnet_cli.network.graph import PRESETS, matrices
from percepnet_cli.network.shipped import measured, shipped

ROOT = Path(__file__).resolve().parent.parent

SCORES = {"pesq_wb": ".2f", "stoi": ".3f", "si_sdr": ".1f", "dnsmos_ovrl": ".2f"}
"""Scores of the upper bound, with their format."""


class Claim(NamedTuple):
    """One row."""

    what: str
    said: str
    here: str
    command: str


def upper_bound() -> dict[str, dict[str, float]]:
    """Return the scores with ideal targets, by stage and score, as ``tests/quality/oracle.py`` gave them."""
    stages: dict[str, dict[str, float]] = json.loads((ROOT / "docs" / "upper_bound.json").read_text("utf-8"))["stages"]
    return stages


def upper_bound_table() -> str:
    """Return the same as a table."""
    lines = ["| | PESQ-wb | STOI | SI-SDR dB | DNSMOS OVRL |", "| :-- | --: | --: | --: | --: |"]
    for stage, scores in upper_bound().items():
        cells = (f"{scores[key]:{form}}" for key, form in SCORES.items())
        lines.append(f"| {stage} | {' | '.join(cells)} |")
    return "\n".join(lines)


def shares(place: str) -> str:
    """Return a measured percentage of the models that have it in docs/benchmarks.json. place: key of a report."""
    models = json.loads((ROOT / "docs" / "benchmarks.json").read_text("utf-8"))["models"]
    return ", ".join(f"`{name}` {one[place]:.3f} %" for name, one in models.items() if one[place] is not None)


def weights(preset: str) -> int:
    """Return the number of weights of named sizes."""
    return sum(int(np.prod(shape)) for shape in matrices(PRESETS[preset]).values())


def show(*names: str) -> str:
    """Return the command that prints constants."""
    return f'`python -c "from percepnet_cli.constants import *; print({", ".join(names)})"`'


def quality() -> list[Claim]:
    """Return the rows of what is measured by metrics."""
    bound = upper_bound()
    recorded = measured()
    default = recorded[constants.DEFAULT_MODEL]

    command = "`make quality PAIRS=PAIRS`"
    here = "; ".join(f"`{name}` {record['scores']['pesq_wb']:.2f}" for name, record in recorded.items())
    overall = "; ".join(f"`{name}` {record['scores']['dnsmos_ovrl']:.2f}" for name, record in recorded.items())
    stages = ("ideal magnitudes of 481 bins", "ideal gains of 34 bands", "and comb filter, ideal strengths")
    bins, gains, with_comb = (f"{bound[stage]['pesq_wb']:.2f}" for stage in stages)
    script = "tests/quality/oracle.py"
    oracle = f"`python {script} --pairs PAIRS --out OUT`"
    if not (ROOT / script).exists():
        oracle = "`percepnet oracle clean.wav noisy.wav stages/`"

    pairs = f"dev36, {default['pairs']} pairs at -5 to 15 dB"
    return [
        Claim("PESQ-wb", "VCTK + DEMAND: 1.97 noisy, 2.29 RNNoise, 2.54 PercepNet", f"{pairs}: noisy "
              f"{bound['noisy']['pesq_wb']:.2f}; {here}", command),
        Claim("listeners", "MOS 4.05 (RNNoise 3.70) on VCTK; 3.52 in the DNS challenge (baseline 3.03)",
              f"no listeners were asked; DNSMOS OVRL: noisy {bound['noisy']['dnsmos_ovrl']:.2f}; {overall}", command),
        Claim("ideal targets: bins, bands, bands + comb", "each step down from bins costs, the comb gives back",
              f"PESQ-wb {bins}, {gains}, {with_comb}", oracle),
    ]  # fmt: skip


def claims() -> list[Claim]:
    """Return all rows."""
    c = constants
    published = weights("percepnet")
    models = shipped()
    info = f"`percepnet info {c.DEFAULT_MODEL}`"

    # What the stages do, computed from their constants
    ms = 1000 / c.SAMPLE_RATE
    ratio = np.linspace(1, 100, 10000)
    boost = np.sqrt((1 + c.POSTFILTER_BETA) * ratio / (1 + c.POSTFILTER_BETA * ratio**2)).max()
    noise_db = 10 * np.log10(np.sum(comb.TAPS.astype(float) ** 2))
    rate = c.SAMPLE_RATE // c.HOP_SIZE

    return [
        Claim("weights", "about 8 million [Amazon 2020]", f"{published:,} in its shape; shipped: "
              + ", ".join(f"`{m.name}` {m.num_weights:,}" for m in models), "`percepnet models`"),
        Claim("multiply-adds per second", "800 million [Amazon 2020]",
              f"{published * rate / 1e6:.0f} million in its shape; "
              + ", ".join(f"`{m.name}` {m.multiply_adds_per_second / 1e6:.0f} million" for m in models),
              "`percepnet models --json`"),
        Claim("bytes per weight", "1 (8 bits)", ", ".join(f"`{m.name}` {m.file_bytes / m.num_weights:.2f}, "
              "scales and all" for m in models), "`percepnet models --json`"),
        Claim("share of a core, hop after hop", "4.1 % of an x86 core [Valin 2020], below 5 % [Amazon 2020]",
              shares("hop_core_percent"), "`percepnet bench`"),
        Claim("share of a core, live, by the clock", "-", shares("live_core_percent"), "`percepnet bench`"),
        Claim("delay", "30 ms [Amazon 2020], 40 ms with three windows of look-ahead [Valin 2020]",
              f"{c.LATENCY_SAMPLES * ms:.0f} ms", "`percepnet bench`"),
        Claim("sample rate, bandwidth", "48 kHz, 20 kHz", f"{c.SAMPLE_RATE / 1000:.0f} kHz, "
              f"{c.BAND_CENTERS[-1] * c.SAMPLE_RATE / c.WINDOW_SIZE / 1000:.0f} kHz",
              info),
        Claim("windows", "20 ms, 50 % overlap", f"{c.WINDOW_SIZE * ms:.0f} ms, "
              f"{100 - 100 * c.HOP_SIZE / c.WINDOW_SIZE:.0f} % overlap", show("WINDOW_SIZE", "HOP_SIZE")),
        Claim("look-ahead", "two windows [Amazon 2020], three [Valin 2020]",
              f"{c.LOOKAHEAD_HOPS} windows, {c.LOOKAHEAD_HOPS * c.HOP_SIZE * ms:.0f} ms", info),
        Claim("bands", "34, ERB, triangles, at least 100 Hz", f"{c.NUM_BANDS}, narrowest "
              f"{min(np.diff(c.BAND_CENTERS)) * c.SAMPLE_RATE / c.WINDOW_SIZE:.0f} Hz from center to center",
              info),
        Claim("features", "70: bands, coherences, period, correlation", f"{c.NUM_FEATURES}", info),
        Claim("pitch range", "not known to us",
              f"{c.SAMPLE_RATE / c.PERIOD_MAX:g} to {c.SAMPLE_RATE / c.PERIOD_MIN:g} Hz",
              show("SAMPLE_RATE / PERIOD_MAX", "SAMPLE_RATE / PERIOD_MIN")),
        Claim("comb filter", "5 periods on each side, about -9 dB on noise",
              f"{c.COMB_PERIODS}, {noise_db:.2f} dB", "`python -m pytest tests/test_comb.py`"),
        Claim("post-filter's gain", "at most 5.5 dB", f"at most {20 * np.log10(boost):.2f} dB",
              "`python -m pytest tests/test_gains.py`"),
        Claim("training", "120 h of speech, 80 h of noise", "public recordings, far fewer: [models](../models/README.md"
              "#recordings)", info),
        *quality(),
    ]  # fmt: skip


def table() -> str:
    """Return the rows as Markdown."""
    lines = ["| | published | here | shown by |", "| :-- | :-- | :-- | :-- |"]
    return "\n".join([*lines, *(f"| {' | '.join(claim)} |" for claim in claims())])
