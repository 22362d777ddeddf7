"""What ideal gains and strengths would sound like, stage by stage, and what the network makes of it.

The stages of [Amazon 2020], each with what the last one had:

1. ideal magnitudes of all bins on the noisy phase
2. ideal gains of the bands
3. the comb filter at ideal strengths, its period tracked on the noisy signal as at run time
4. the post-filter
"""

from __future__ import annotations

import numpy as np

from percepnet_cli.constants import HOP_SIZE, LATENCY_SAMPLES, SAMPLE_RATE
from percepnet_cli.denoiser import Denoiser
from percepnet_cli.dsp import stft
from percepnet_cli.errors import AudioError
from percepnet_cli.ideal import band_targets
from percepnet_cli.metrics.alignment import MAX_DELAY_MS, constant_delay, overlap
from percepnet_cli.network.modelfile import Model, load_file_model
from percepnet_cli.signal_path import MAX_HOPS, Synthesizer, analyze_blocks

IDEAL_STAGES = ("bins", "bands", "comb", "attenuated", "postfilter")
"""All that ``run_stages`` can do; ``attenuated``: comb with all attenuation of under-periodic bands [Valin 2020]."""

STAGES = {
    "0-noisy": "noisy",
    "1-bins": "ideal bins, noisy phase",
    "2-bands": "ideal gains of 34 bands",
    "3-comb": "+ comb filter, ideal strengths",
    "4-postfilter": "+ post-filter",
    "5-network": "the network",
    "6-clean": "clean",
}
"""Names of the results, which sort, and what each is."""

UNLIKE = 0.05
"""A pair whose correlation is less hardly is one: an SNR of -26 dB."""


class BinSynthesizer:
    """Ideal magnitudes bin by bin, through the windows and overlap-add of the signal path."""

    def __init__(self) -> None:
        self._overlap = np.zeros(HOP_SIZE, np.float32)
        self._windows = np.zeros((MAX_HOPS, 2 * HOP_SIZE), np.float32)

    def synthesize(self, noisy: np.ndarray, clean: np.ndarray, out: np.ndarray) -> None:
        """Give the noisy spectra (complex64 [hops, 481]) the clean magnitudes, never more than their own.

        out: float32 [hops, 480], written.
        """
        gain = np.minimum(np.abs(clean) / np.maximum(np.abs(noisy), 1e-12), 1)
        stft.synthesize((noisy * gain).astype(np.complex64), self._overlap, self._windows[: len(out)], out)


def run_stages(noisy: np.ndarray, clean: np.ndarray) -> dict[str, np.ndarray]:
    """Return the output of each of IDEAL_STAGES, float32 [n], for one channel.

    noisy, clean: float32 [n] at 48 kHz, aligned.
    """
    bins, synthesizers = BinSynthesizer(), {stage: Synthesizer() for stage in IDEAL_STAGES[1:]}
    outputs: dict[str, list[np.ndarray]] = {stage: [] for stage in IDEAL_STAGES}
    for a, b in zip(analyze_blocks(noisy), analyze_blocks(clean), strict=True):
        gain, attenuation, strength = band_targets(a, b)
        settings = {
            "bands": (gain, np.zeros_like(strength), 0.0),
            "comb": (gain, strength, 0.0),
            "attenuated": (gain * attenuation, strength, 0.0),
            "postfilter": (gain, strength, 1.0),
        }
        out = np.empty((len(gain), HOP_SIZE), np.float32)
        bins.synthesize(a.Y, b.Y, out)
        outputs["bins"].append(out.ravel().copy())
        for stage, (g, r, post_filter) in settings.items():
            synthesizers[stage].synthesize(a, g, r, 0.0, out, post_filter)
            outputs[stage].append(out.ravel().copy())
    return {stage: np.concatenate(parts)[LATENCY_SAMPLES:][: len(noisy)] for stage, parts in outputs.items()}


def all_stages(noisy: np.ndarray, clean: np.ndarray, model: Model | None = None) -> dict[str, np.ndarray]:
    """Return what STAGES names, float32 [n, channels], of an aligned pair, float32 [n, channels] at 48 kHz.

    Every channel gets ideal targets of its own; the predictions are linked, as they are by default.
    """
    columns = [run_stages(noisy[:, c], clean[:, c]) for c in range(noisy.shape[1])]
    found = {"0-noisy": noisy}
    for name in STAGES:
        stage = name.partition("-")[2]
        if stage in IDEAL_STAGES:
            found[name] = np.stack([column[stage] for column in columns], axis=1)
    found["5-network"] = Denoiser(load_file_model(model), channels=noisy.shape[1]).denoise(noisy)
    found["6-clean"] = clean
    return found


def match(clean: np.ndarray, noisy: np.ndarray, names: tuple[str, str]) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Bring a pair to the same channels, place and length; return both and sentences about what was done.

    clean, noisy: float32 [n, channels], [m, channels] at 48 kHz; names: of the files, for the sentences. A clean signal
    of one channel serves all noisy ones. A delay of up to 100 ms is taken out. Raises AudioError if the channels do not
    match, or nothing is left.
    """
    notes = []
    if clean.shape[1] != noisy.shape[1]:
        if clean.shape[1] != 1:
            raise AudioError(
                f"{names[0]} has {clean.shape[1]} channels and {names[1]} has {noisy.shape[1]}: which belong together?"
            )
        clean = np.repeat(clean, noisy.shape[1], axis=1)

    # The same place and length; what was done is said
    delay = constant_delay(clean.mean(axis=1), noisy.mean(axis=1), SAMPLE_RATE * MAX_DELAY_MS // 1000)
    lengths = len(clean), len(noisy)
    clean, noisy = overlap(clean, noisy, delay)

    if delay:
        how = "late" if delay > 0 else "early"
        notes.append(f"{names[1]} is {1000 * abs(delay) / SAMPLE_RATE:.2f} ms {how}: it was moved")
    if lengths[0] != lengths[1]:
        seconds = [f"{length / SAMPLE_RATE:.2f} s" for length in lengths]
        notes.append(f"{names[0]} lasts {seconds[0]} and {names[1]} {seconds[1]}: what they share was used")

    # What has no level cannot be compared, and what is no pair can, but should not
    energies = [float(np.sum(np.square(x, dtype=np.float64))) for x in (clean, noisy)]
    if not all(energies):
        raise AudioError(f"{names[0] if not energies[0] else names[1]} is silent")

    likeness = abs(float(np.sum(clean * noisy, dtype=np.float64))) / (energies[0] * energies[1]) ** 0.5
    if likeness < UNLIKE:
        notes.append(
            f"{names[0]} and {names[1]} hardly resemble each other (correlation {likeness:.3f}); are they a pair?"
        )
    return np.ascontiguousarray(clean), np.ascontiguousarray(noisy), notes


def mix(clean: np.ndarray, noise: np.ndarray, snr_db: float) -> tuple[np.ndarray, np.ndarray]:
    """Add noise at an SNR over the whole recording; return clean and noisy, both quieter if they would clip.

    clean: float32 [n, channels]; noise: float32 [m, channels], repeated or cut; if its channels are others, their mean
    is added to each. Raises AudioError if one of them is silent.
    """
    if noise.shape[1] != clean.shape[1]:
        noise = np.repeat(noise.mean(axis=1, keepdims=True), clean.shape[1], axis=1)
    noise = np.tile(noise, (-(-len(clean) // len(noise)), 1))[: len(clean)].astype(np.float64)
    speech, other = (float(np.sum(np.square(x, dtype=np.float64))) for x in (clean, noise))
    if not (speech and other):
        raise AudioError(f"{'the noise' if speech else 'the clean recording'} is silent: there is no SNR to mix at")
    noisy = clean + noise * (speech / other) ** 0.5 * 10 ** (-snr_db / 20)
    scale = min(1.0, 0.999 / float(np.abs(noisy).max()))
    return (scale * clean).astype(np.float32), (scale * noisy).astype(np.float32)
