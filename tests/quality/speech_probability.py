"""How well the speech probability tells speech from pauses, and how its weights are found.

    speech_probability.py --speech TABLE --noise TABLE [--count N] [--fit FILE] [--json FILE]

Speakers and noises of the part that no training hears (``--fit``: of the other part) are mixed at 5 dB and at -5 dB,
no recording twice. A hop holds speech if the clean recording's level there is within 35 dB of its loudest hops (their
95th percentile), for 30 ms at least. Printed: area under the ROC curve at each SNR, the share of pauses taken for
speech where 95 of 100 hops with speech are found. ``--fit percepnet_cli/channel/speech_weights.py``
writes the weights instead (logistic regression).
"""

from __future__ import annotations

import argparse
import json
from itertools import pairwise
from pathlib import Path

import numpy as np

from percepnet_cli.channel import speech
from percepnet_cli.constants import HOP_SIZE, LOOKAHEAD_HOPS, SAMPLE_RATE
from percepnet_cli.denoiser import Denoiser
from percepnet_cli.training.data.corpus import Library, Recording, find, select_split

SNR_DB = (5.0, -5.0)
SECONDS = 8
PAUSE_SECONDS = 1.0
ACTIVE_DB = 35.0
SHORTEST_HOPS = 3


def hop_levels(samples: np.ndarray) -> np.ndarray:
    """Return the level of each hop, dB."""
    energy = np.mean(samples[: len(samples) // HOP_SIZE * HOP_SIZE].reshape(-1, HOP_SIZE) ** 2, axis=1)
    return 10 * np.log10(energy + 1e-12)


def active_hops(clean: np.ndarray) -> np.ndarray:
    """Return which hops of a clean recording hold speech, bool [hops]; nothing is shorter than SHORTEST_HOPS."""
    levels = hop_levels(clean)
    active = levels > np.percentile(levels, 95) - ACTIVE_DB
    for state in (False, True):  # gaps first, then sounds
        edges = np.flatnonzero(np.diff(np.concatenate(([not state], active, [not state])).astype(int)))
        for start, end in pairwise(edges):
            if active[start] == state and end - start < SHORTEST_HOPS:
                active[start:end] = not state
    return active


def utterances(library: Library, speech_of: list[Recording], rng: np.random.Generator) -> np.ndarray:
    """Return SECONDS of one speaker's sentences with pauses between them, float32 [n]."""
    size, parts, length = SECONDS * SAMPLE_RATE, [], 0
    while length < size:
        one = library.samples(speech_of[rng.integers(len(speech_of))])
        one = one[: size // 2].astype(np.float32)
        rms = np.sqrt(np.mean(one**2) + 1e-12)
        silence = np.zeros(round(rng.uniform(0.3, 2 * PAUSE_SECONDS) * SAMPLE_RATE), np.float32)
        parts += [silence, 0.05 * one / rms]
        length += len(silence) + len(one)
    return np.concatenate(parts)[:size]


def noise(library: Library, recordings: list[Recording], rng: np.random.Generator) -> np.ndarray:
    """Return SECONDS of one noise, float32 [n], repeated if it is shorter."""
    size = SECONDS * SAMPLE_RATE
    one = library.samples(recordings[rng.integers(len(recordings))]).astype(np.float32)
    start = rng.integers(max(1, len(one) - size))
    return np.resize(one[start:], size)


def observe(noisy: np.ndarray, model: str | None) -> np.ndarray:
    """Return what the weights work on, float32 [hops, features]."""
    rows = []

    def observer(channel, analysis, gain, strength):
        rows.append(speech.features(gain, strength, analysis.correlation).copy())

    denoiser = Denoiser(model, observer=observer)
    denoiser.process(np.concatenate((noisy, np.zeros(LOOKAHEAD_HOPS * HOP_SIZE, np.float32))))
    return np.concatenate(rows)[LOOKAHEAD_HOPS:]


def area_under_roc(scores: np.ndarray, truth: np.ndarray) -> float:
    """Return the probability that a hop with speech scores higher than one without."""
    order = np.argsort(scores, kind="stable")
    ranks = np.empty(len(scores))
    _, first, counts = np.unique(scores[order], return_index=True, return_counts=True)
    ranks[order] = np.repeat(first + (counts + 1) / 2, counts)
    positives = int(truth.sum())
    return float((ranks[truth].sum() - positives * (positives + 1) / 2) / (positives * (len(truth) - positives)))


def fit(values: np.ndarray, truth: np.ndarray, steps: int = 30, ridge: float = 1.0) -> tuple[np.ndarray, float]:
    """Return weights and offset of a logistic regression (Newton's method, ridge on the weights)."""
    mean, scale = values.mean(axis=0), values.std(axis=0) + 1e-6
    rows = np.concatenate(((values - mean) / scale, np.ones((len(values), 1))), axis=1).astype(np.float64)
    weights = np.zeros(rows.shape[1])
    penalty = np.full(rows.shape[1], ridge)
    penalty[-1] = 0
    for _ in range(steps):
        p = 1 / (1 + np.exp(-rows @ weights))
        gradient = rows.T @ (truth - p) - penalty * weights
        hessian = (rows * (p * (1 - p))[:, None]).T @ rows + np.diag(penalty + 1e-9)
        weights += np.linalg.solve(hessian, gradient)
    found = weights[:-1] / scale
    return found, float(weights[-1] - found @ mean)


def as_module(weights: np.ndarray, offset: float) -> str:
    """Return the source of ``percepnet_cli/channel/speech_weights.py``."""
    numbers = [f"{weight:.4f}" for weight in weights]
    rows = [", ".join(numbers[at : at + 10]) for at in range(0, len(numbers), 10)]
    return (
        '"""Weights of ``channel.speech``, written by ``tests/quality/speech_probability.py --fit``."""\n\n'
        f"OFFSET = {offset:.4f}\n"
        "WEIGHTS = (\n" + "".join(f"    {row},\n" for row in rows) + ")\n"
        '"""Of 34 gains, 34 strengths and the pitch correlation."""\n'
    )


def main() -> None:
    """Mix, observe, and fit or measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--speech", type=Path, required=True)
    parser.add_argument("--noise", type=Path, required=True)
    parser.add_argument("--audio-cache", type=Path)
    parser.add_argument("--count", type=int, default=60, help="mixtures at each SNR")
    parser.add_argument("--model")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--fit", type=Path)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()

    split = "train" if args.fit else "validation"
    rng = np.random.default_rng(args.seed)
    library = Library(folder=args.audio_cache)
    speakers: dict[str, list[Recording]] = {}
    for one in select_split(find(args.speech), split):
        speakers.setdefault(one.group, []).append(one)
    noises = [one for one in select_split(find(args.noise), split) if one.kind != "music"]
    names = sorted(speakers)

    report: dict[str, float] = {}
    all_values, all_truth = [], []
    for snr_db in SNR_DB:
        values, scores, truth = [], [], []
        for _ in range(args.count):
            clean = utterances(library, speakers[names[rng.integers(len(names))]], rng)
            added = noise(library, noises, rng)
            active = active_hops(clean)
            if not active.any() or not added.any():
                continue
            level = np.mean(clean.reshape(-1, HOP_SIZE)[active] ** 2)
            added *= np.sqrt(level / (np.mean(added**2) + 1e-12)) * 10 ** (-snr_db / 20)
            noisy = np.clip(clean + added, -1, 1)
            found = observe(noisy, args.model)
            hops = min(len(found), len(active))
            values.append(found[:hops])
            if not args.fit:
                scores.append(speech.SpeechProbability().process(found)[:hops])
            truth.append(active[:hops])
        all_values += values
        all_truth += truth
        if not args.fit:
            one_truth, one_scores = np.concatenate(truth), np.concatenate(scores)
            threshold = np.percentile(one_scores[one_truth], 5)
            report[f"auc_at_{snr_db:g}_db"] = round(area_under_roc(one_scores, one_truth), 4)
            report[f"false_at_95_percent_at_{snr_db:g}_db"] = round(
                float(np.mean(one_scores[~one_truth] >= threshold)), 3
            )
    if args.fit:
        weights, offset = fit(np.concatenate(all_values), np.concatenate(all_truth))
        args.fit.write_text(as_module(weights, offset))
    report["hops"] = sum(map(len, all_truth))
    print(json.dumps(report))
    if args.json:
        args.json.write_text(json.dumps(report) + "\n")


if __name__ == "__main__":
    main()
