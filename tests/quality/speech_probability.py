"""How well the speech probability tells speech from pauses, and how its network is trained.

    speech_probability.py --speech TABLE --noise TABLE [--count N] [--fit FILE] [--json FILE]

Speakers and noises of the part that no training hears (``--fit``: of the other part) are mixed at 5 dB and at -5 dB,
no recording twice, and noises alone. A hop holds speech if the clean recording's level there is within 35 dB of its
loudest hops (their 95th percentile), for 30 ms at least. Printed: area under the ROC curve at each SNR, the share of
pauses taken for speech where 95 of 100 hops with speech are found, and the mean probability in noises alone.

``--fit percepnet_cli/channel/speech.npz --count 2100 --model percepnet --model studio --model lite`` trains and writes
the network instead (PyTorch; some 30 minutes on a core).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from itertools import cycle, pairwise
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
BATCH = 24
"""Mixtures."""
NOISE_SHARE = 0.09
"""Noises alone, for each mixture at either SNR: nobody speaks for a while."""


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


def observe(noisy: np.ndarray, model: str | None, observer: Callable[..., object]) -> int:
    """Denoise a recording and the silence that brings out its end, for somebody who looks on.

    Returns the hops that the network is late: as many rows come before those of the recording.
    """
    denoiser = Denoiser(model, observer=observer)
    late = denoiser.model.latency_hops
    denoiser.process(np.concatenate((noisy, np.zeros((LOOKAHEAD_HOPS + late) * HOP_SIZE, np.float32))))
    return late


def heard(noisy: np.ndarray, model: str | None) -> np.ndarray:
    """Return what the small network hears, float32 [hops, 104]."""
    rows: list[np.ndarray] = []
    peak = np.full(1, speech.FIRST_PEAK)

    def observer(channel, analysis, gain, strength):
        for hop in range(len(gain)):
            row = np.zeros(speech.NUM_INPUTS, np.float32)
            speech.inputs(gain[hop], strength[hop], analysis.correlation[hop], analysis.E[hop], peak, row)
            rows.append(row)

    late = observe(noisy, model, observer)
    return np.stack(rows)[LOOKAHEAD_HOPS + late :]


def score(noisy: np.ndarray, model: str | None) -> np.ndarray:
    """Return the probability of speech, float32 [hops]."""
    listener = speech.SpeechListener(1)
    late = observe(noisy, model, listener)
    return listener.result()[late:]


def area_under_roc(scores: np.ndarray, truth: np.ndarray) -> float:
    """Return the probability that a hop with speech scores higher than one without."""
    order = np.argsort(scores, kind="stable")
    ranks = np.empty(len(scores))
    _, first, counts = np.unique(scores[order], return_index=True, return_counts=True)
    ranks[order] = np.repeat(first + (counts + 1) / 2, counts)
    positives = int(truth.sum())
    return float((ranks[truth].sum() - positives * (positives + 1) / 2) / (positives * (len(truth) - positives)))


def fit(values: np.ndarray, truth: np.ndarray, epochs: int = 22, units: int = 24) -> dict[str, np.ndarray]:
    """Train the network; return its weights. values: float32 [mixtures, hops, 104]; truth: float32 [mixtures, hops]."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    mean, scale = values.mean((0, 1)), values.std((0, 1)) + 1e-3
    x, y = torch.tensor((values - mean) / scale), torch.tensor(truth)
    dense, gru, out = nn.Linear(x.shape[-1], units), nn.GRU(units, units, batch_first=True), nn.Linear(units, 1)
    weights = [w for layer in (dense, gru, out) for w in layer.parameters()]
    optimizer = torch.optim.AdamW(weights, 3e-3, weight_decay=1e-3)
    steps = -(-len(x) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 8e-3, total_steps=epochs * steps)

    for epoch in range(epochs):
        total = 0.0
        for batch in torch.randperm(len(x)).split(BATCH):
            # A small shift of every input of a mixture: no two microphones are alike
            shifted = x[batch] + 0.05 * torch.randn(len(batch), 1, x.shape[-1])
            odds = out(gru(torch.tanh(dense(shifted)))[0])[..., 0]
            loss = nn.functional.binary_cross_entropy_with_logits(odds, y[batch])
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(weights, 1.0)
            optimizer.step()
            schedule.step()
            total += float(loss)
        print(f"epoch {epoch + 1} of {epochs}: loss {total / steps:.4f}", file=sys.stderr, flush=True)

    # Mean and scale of the inputs go into the first layer
    first = dense.weight.detach().numpy() / scale
    found = {
        "dense": first,
        "dense_bias": dense.bias.detach().numpy() - first @ mean,
        "ih": gru.weight_ih_l0,
        "ih_bias": gru.bias_ih_l0,
        "hh": gru.weight_hh_l0,
        "hh_bias": gru.bias_hh_l0,
        "out": out.weight[0],
        "out_bias": out.bias,
    }
    return {name: np.asarray(w.detach() if hasattr(w, "detach") else w, np.float32) for name, w in found.items()}


def main() -> None:
    """Mix, observe, and fit or measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--speech", type=Path, required=True)
    parser.add_argument("--noise", type=Path, required=True)
    parser.add_argument("--audio-cache", type=Path)
    parser.add_argument("--count", type=int, default=60, help="mixtures at each SNR")
    parser.add_argument("--model", action="append", help="several take turns")
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

    models = cycle(args.model or [None])
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
            found = (heard if args.fit else score)(noisy, next(models))
            hops = min(len(found), len(active))
            (values if args.fit else scores).append(found[:hops])
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

    # Nobody speaks
    quiet = []
    for _ in range(round(len(SNR_DB) * args.count * NOISE_SHARE)):
        alone = noise(library, noises, rng)
        alone *= rng.uniform(0.005, 0.08) / np.sqrt(np.mean(alone**2) + 1e-12)
        alone = np.clip(alone, -1, 1)
        quiet.append((heard if args.fit else score)(alone, next(models)))
    if args.fit:
        hops = min(map(len, all_values + quiet))
        all_values = [one[:hops] for one in all_values + quiet]
        all_truth = [one[:hops] for one in all_truth] + [np.zeros(hops, bool)] * len(quiet)
        np.savez(args.fit, **fit(np.stack(all_values), np.stack(all_truth).astype(np.float32)))
    else:
        report["mean_in_noise_alone"] = round(float(np.mean(np.concatenate(quiet))), 3)
    report["hops"] = sum(map(len, all_truth))
    print(json.dumps(report))
    if args.json:
        args.json.write_text(json.dumps(report) + "\n")


if __name__ == "__main__":
    main()
