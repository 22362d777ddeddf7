"""Windows, transforms and overlap-add."""

from __future__ import annotations

import numpy as np
import pytest
import reference
from signals import noise, snr_db

from percepnet_cli.dsp import stft


def analyze(samples, first, hops):
    windows = np.full((hops, 960), np.nan, np.float32)
    stft.window_hops(np.asarray(samples, np.float32), first, stft.WINDOW, windows)
    out = np.full((hops, 481), np.nan, np.complex64)
    stft.transform(windows, out)
    return out


def synthesize(spectra, memory=None):
    out = np.full((len(spectra), 480), np.nan, np.float32)
    memory = np.zeros(480, np.float32) if memory is None else memory
    stft.synthesize(spectra, memory, np.full((len(spectra), 960), np.nan, np.float32), out)
    return out.ravel()


def test_window_is_the_published_one_and_complementary_in_power():
    assert stft.WINDOW.dtype == np.float32
    assert np.abs(stft.WINDOW - reference.vorbis_window()).max() < 1e-7
    squares = stft.WINDOW.astype(float) ** 2
    assert np.abs(squares[:480] + squares[480:] - 1).max() < 1e-6


def test_spectra_equal_the_reference(rng):
    samples = noise(480 * 12, rng)
    firsts = 100 + 480 * np.arange(8)
    expected = reference.spectra(samples, firsts)
    assert snr_db(expected, analyze(samples, 100, 8)) > 120


def test_spectra_are_not_scaled():
    amplitude = np.abs(analyze(np.ones(960), 0, 1)[0, 0])
    assert amplitude == pytest.approx(reference.vorbis_window().sum(), rel=1e-6)


def test_synthesis_equals_the_reference(rng):
    spectra = (rng.standard_normal((6, 481)) + 1j * rng.standard_normal((6, 481))).astype(np.complex64)
    spectra[:, [0, 480]] = spectra[:, [0, 480]].real
    assert snr_db(reference.overlap_add(spectra), synthesize(spectra)) > 120


def test_analysis_then_synthesis_is_the_identity(rng):
    samples = noise(480 * 22, rng)
    restored = synthesize(analyze(samples, 0, 21))
    assert snr_db(samples[480 : 480 * 21], restored[480:]) > 120


def test_a_window_s_spectrum_does_not_depend_on_its_neighbors(rng):
    samples = noise(480 * 12, rng)
    together = analyze(samples, 0, 11)
    alone = np.concatenate([analyze(samples, 480 * hop, 1) for hop in range(11)])
    assert together.tobytes() == alone.tobytes()


def test_synthesis_carries_over_any_cut(rng):
    spectra = analyze(noise(480 * 12, rng), 0, 11)
    memory = np.zeros(480, np.float32)
    parts = [synthesize(spectra[a:b], memory) for a, b in ((0, 1), (1, 6), (6, 11))]
    assert np.concatenate(parts).tobytes() == synthesize(spectra).tobytes()
