"""Ideal gains and strengths: the strength reaches the periodicity of the speech, and the masks hide what is unknown."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st
from signals import RATE, harmonics, noise, snr_db, speech

from percepnet_cli import ideal as ideal_values
from percepnet_cli.constants import BAND_CENTERS, LATENCY_SAMPLES
from percepnet_cli.dsp import comb
from percepnet_cli.signal_path import Analyzer, Synthesizer
from percepnet_cli.training.data import targets
from percepnet_cli.training.data.mixture import Mixture
from percepnet_cli.training.data.voices import Voice

BAND_HZ = np.array(BAND_CENTERS) * 50
TAPS = reference.comb_taps(100)
NOISE_GAIN = sum(w * w for w in TAPS.values())


def ideal(E=1.0, Ex=1.0, Ephat=1.0, c=0.5, qx=0.8, qy=0.5, qphat=0.9, floor=0.0):
    """Gain, attenuation, strength; each argument is one number or one per hop, the same in all bands."""
    rows = np.broadcast_arrays(*np.atleast_1d(E, Ex, Ephat, c, qx, qy, qphat, floor))
    arrays = [np.repeat(row.astype(np.float32)[:, None], 34, axis=1) for row in rows[:-1]]
    out = [np.full_like(arrays[0], np.nan) for _ in range(3)]
    ideal_values.ideal(*arrays, np.ascontiguousarray(rows[-1], np.float32), *out)
    assert all(np.abs(x - x[:, :1]).max() < 1e-3 for x in out)  # rounding apart
    return tuple(x[:, 0].astype(float) for x in out)


def unit(vector, *others):
    """A direction at right angles to the others."""
    for other in others:
        vector = vector - np.vdot(other, vector) * other
    return vector / np.linalg.norm(vector)


def coherence(a, b):
    return np.real(np.vdot(a, b)) / np.linalg.norm(a) / np.linalg.norm(b)


def noisy_band(rng, qy, taps=TAPS, size=400):
    """A band: its periodic part p, y = p and noise, and y through the comb, which keeps p and w_0 of the noise."""
    p, n, m = (rng.standard_normal(size) + 1j * rng.standard_normal(size) for _ in range(3))
    p = unit(p)
    n = unit(n, p)
    m = unit(m, p, n)
    kept, lost = taps[0], np.sqrt(sum(w * w for k, w in taps.items() if k))
    y = qy * p + np.sqrt(1 - qy**2) * n
    return p, y, qy * p + np.sqrt(1 - qy**2) * (kept * n + lost * m)


def measured(p, y, phat):
    return {
        "E": np.linalg.norm(y) ** 2,
        "Ephat": np.linalg.norm(phat) ** 2,
        "c": coherence(y, phat),
        "qy": coherence(p, y),
        "qphat": coherence(p, phat),
    }


@pytest.mark.parametrize(
    ("qy", "qx", "expected"), [(0.3, 0.6, 0.794), (0.5, 0.8, 0.767), (0.7, 0.9, 0.693), (0.9, 0.97, 0.625)]
)
def test_strength_makes_the_mix_exactly_as_periodic_as_the_speech(rng, qy, qx, expected):
    p, y, phat = noisy_band(rng, qy)
    _, attenuation, strength = ideal(qx=qx, **measured(p, y, phat))
    r = strength[0]
    assert coherence(p, (1 - r) * y + r * phat) == pytest.approx(qx, abs=1e-4)
    assert r == pytest.approx(expected, abs=1e-3)
    assert attenuation[0] == 1


@given(qy=st.floats(0.02, 0.98), qx=st.floats(0.02, 0.999), period=st.integers(96, 768))
@settings(max_examples=60, deadline=None)
def test_strength_of_comb_filtered_noise_equals_an_exhaustive_search(qy, qx, period):
    p, y, phat = noisy_band(np.random.default_rng(1), qy, reference.comb_taps(period))
    known = measured(p, y, phat)
    d = np.sqrt(known["Ephat"] / known["E"])
    expected, reached = reference.strength(qx, d, qy, known["qphat"], known["c"])
    _, attenuation, strength = ideal(qx=qx, **known)
    assert strength[0] == pytest.approx(expected, abs=2e-3)
    assert attenuation[0] == pytest.approx(reference.attenuation(qx, reached) if reached < qx else 1, abs=2e-3)


@given(seed=st.integers(0, 10**6), qx=st.floats(0.01, 0.99), size=st.integers(3, 6), d=st.floats(0.05, 3))
@settings(max_examples=150, deadline=None)
def test_strength_of_any_three_signals_is_as_good_as_an_exhaustive_search(seed, qx, size, d):
    rng = np.random.default_rng(seed)
    p, y, phat = (v / np.linalg.norm(v) for v in rng.standard_normal((3, size)))
    if min(coherence(p, y), coherence(p, phat), coherence(y, phat)) < 0.01:
        return  # the analyzer reports negative coherences as 0
    known = measured(p, y, d * phat)
    _, best = reference.strength(qx, d, known["qy"], known["qphat"], known["c"])
    r = ideal(qx=qx, **known)[2][0]
    reached = coherence(p, (1 - r) * y + r * d * phat)
    wanted = min(qx, best) if qx > known["qy"] else known["qy"]
    assert reached == pytest.approx(wanted, abs=2e-3)


def test_speech_no_more_periodic_than_the_noisy_signal_needs_no_filter(rng):
    qy = rng.random(50)
    qx = qy * rng.random(50)
    _, attenuation, strength = ideal(qx=np.append(qx, 0.5), qy=np.append(qy, 0.5), qphat=0.95)
    assert not strength.any() and np.all(attenuation == 1)


def test_speech_that_is_not_periodic_gets_no_filter():
    qx = np.linspace(0.05, 0.95, 19)
    _, attenuation, strength = ideal(qx=qx, qy=0.01, qphat=0.97, c=0.4, floor=0.62)
    assert np.array_equal(strength > 0, qx > 0.62)
    assert np.all(attenuation[qx <= 0.62] == 1)


def test_a_wrong_period_gets_no_filter():
    _, attenuation, strength = ideal(qx=0.95, qy=0.6, qphat=np.array([0.0, 0.1, 0.29]), c=0.5)
    assert not strength.any()
    assert attenuation == pytest.approx(reference.attenuation(0.95, 0.6), rel=1e-5)


def test_what_cannot_get_periodic_enough_gets_the_full_filter_and_an_attenuation(rng):
    for qy in (0.1, 0.3, 0.5):
        p, y, phat = noisy_band(rng, qy)
        known = measured(p, y, phat)
        _, attenuation, strength = ideal(qx=0.999, **known)
        assert strength[0] > 0.95  # y itself adds a little: its noise is not the comb's
        assert 0.17 <= attenuation[0] < 1
    assert ideal(qx=1.0, qy=0.0, qphat=0.0, c=0.0)[1][0] == pytest.approx(0.1707, abs=1e-4)


def test_gain_is_the_ratio_of_magnitudes_at_most_one():
    gain, _, _ = ideal(E=np.array([4.0, 1.0, 1.0, 0.0, 1e-12]), Ex=np.array([1.0, 0.0, 9.0, 1.0, 1.0]))
    assert gain == pytest.approx([0.5, 0, 1, 0, 0])


Q = st.one_of(st.sampled_from([0.0, 1.0, 0.9999999, 1e-40, 1e-7]), st.floats(0, 1))
ENERGY = st.one_of(st.sampled_from([0.0, 1e-44, 1e-30, 1e-9, 1.1e-9, 1e20, 1e25]), st.floats(0, 1e6))


@given(E=ENERGY, Ex=ENERGY, Ephat=ENERGY, c=Q, qx=Q, qy=Q, qphat=Q, floor=Q)
@settings(max_examples=300, deadline=None)
def test_any_input_gives_values_within_limits(E, Ex, Ephat, c, qx, qy, qphat, floor):
    gain, attenuation, strength = ideal(E, Ex, Ephat, c, qx, qy, qphat, floor)
    assert 0 <= gain[0] <= 1 and 0 <= strength[0] <= 1 and 0.17 < attenuation[0] <= 1


@pytest.mark.parametrize("period", [96, 192, 230, 300, 480, 768])
def test_white_noise_has_the_stated_coherence_with_its_comb(rng, period):
    hops = 40
    samples = noise(5 * 768 + 480 * (hops + 3), rng)
    periods = np.full(hops, period, np.int32)
    windows, noise_gain = np.empty((hops, 960), np.float32), np.empty(hops, np.float32)
    comb.filter_hops(samples, 5 * 768, periods, comb.TAPS, np.ones(960, np.float32), windows, noise_gain)
    stated = ideal_values.noise_coherence(noise_gain)
    taps = reference.comb_taps(period)
    assert stated == pytest.approx(taps[0] / np.sqrt(sum(w * w for w in taps.values())), abs=1e-4)
    plain = np.array([samples[5 * 768 + 480 * hop :][:960] for hop in range(hops)])
    assert coherence(plain.ravel(), windows.ravel()) == pytest.approx(stated[0], abs=0.05)


@pytest.fixture(scope="module")
def voice():
    return speech(480 * 200, np.random.default_rng(8))[0]


def mixture(noisy, clean, bandwidth_hz=24000.0, cutoff_hz=24000.0):
    return Mixture(noisy.astype(np.float32), clean.astype(np.float32), bandwidth_hz, cutoff_hz)


def test_clean_speech_keeps_everything(voice):
    found = targets.example(mixture(voice, voice), 0.5)
    assert found.features.shape == (200, 70) and found.voice.shape == (200,)
    known = found.gain_weight == 1
    assert 0.5 < known.mean() < 0.95
    assert np.all(found.gain[known] == 1)
    assert not found.gain_weight[found.voice == 0][:, 5:].any()  # digital silence between the words
    assert np.mean(found.strength[found.strength_weight == 1] > 0.01) < 0.01


def test_noise_alone_loses_everything(rng):
    found = targets.example(mixture(noise(480 * 100, rng), np.zeros(480 * 100)), 0.5)
    assert found.gain_weight.all() and not found.gain.any() and not found.strength.any()
    assert not found.voice.any() and not found.strength_weight.any()


def test_silence_is_judged_nowhere():
    found = targets.example(mixture(np.zeros(4800), np.zeros(4800)), 0.5)
    assert not found.gain_weight.any() and not found.strength_weight.any() and not found.voice.any()
    assert np.all(np.isfinite(found.features))


def test_voice_is_what_lies_within_40_db_of_the_loud(rng):
    level_db = np.repeat([0, -35, 0, -45, 0], 40)
    tone = harmonics(200, 480 * 200, rng) * np.repeat(10.0 ** (level_db / 20), 480)
    found = targets.example(mixture(tone + noise(len(tone), rng, 1e-4), tone), 0.5)
    inside = np.convolve(np.abs(np.gradient(level_db)) > 0, np.ones(11), "same") == 0
    inside[:3] = False
    assert np.array_equal(found.voice[inside], (level_db > -40)[inside])


def test_gains_are_the_ratio_of_band_energies_of_the_same_windows(voice, rng):
    added = noise(len(voice), rng, 0.05)
    found = targets.example(mixture(voice + added, voice), 0.0)
    firsts = 480 * (np.arange(200) - 1)
    E, Ex = (reference.energy(reference.spectra(reference.highpass(x), firsts)) for x in (voice + added, voice))
    assert np.abs(found.gain - np.sqrt(np.minimum(Ex / E, 1))).max() < 2e-3
    ahead = np.log10(E[2:] + 1e-6)
    assert np.abs(found.features[:-2, :34] - ahead).max() < 5e-3
    loud = Ex.sum(axis=1) > 1e-4 * np.percentile(Ex.sum(axis=1), 90)
    assert np.mean(loud == found.voice) > 0.97


def test_nothing_is_judged_above_the_cutoff_and_no_speech_above_the_recording(voice, rng):
    noisy = voice + noise(len(voice), rng, 0.03)
    cutoff = targets.example(mixture(noisy, voice, 24000, 8000), 0.5)
    assert not cutoff.gain_weight[:, BAND_HZ > 7760].any() and cutoff.gain_weight[:, BAND_HZ <= 7760].all()
    band = targets.example(mixture(noisy, voice, 8000, 24000), 0.5)
    above, speaking = BAND_HZ > 7760, band.voice == 1
    assert not band.gain_weight[np.ix_(speaking, above)].any()
    assert band.gain_weight[np.ix_(~speaking, above)].all() and band.gain_weight[:, ~above].all()
    assert not band.strength_weight[:, above].any()
    assert band.strength_weight[np.ix_(speaking, ~above)].any() and not band.strength_weight[~speaking].any()


def test_attenuation_goes_into_the_gain_by_its_power(voice, rng):
    mixed = mixture(voice + noise(len(voice), rng, 0.1), voice)
    none, half, whole = (targets.example(mixed, power) for power in (0.0, 0.5, 1.0))
    assert np.array_equal(none.strength, whole.strength)
    there = none.gain > 0.05
    factor = whole.gain[there].astype(float) / none.gain[there]
    assert factor.min() > 0.169 and factor.max() <= 1 and np.mean(factor < 0.9) > 0.05
    assert np.abs(np.sqrt(factor) - half.gain[there].astype(float) / none.gain[there]).max() < 5e-3


def test_ideal_values_clean_a_harmonic_tone_in_noise(rng):
    clean = harmonics(280, RATE, rng)
    noisy = clean + noise(RATE, rng, 0.1)
    out = {}
    analyses = [Analyzer(100).analyze(x.reshape(100, 480)) for x in (noisy, clean)]
    gain, attenuation, strength = ideal_values.band_targets(*analyses)
    for name, r in (("gain", np.zeros_like(strength)), ("gain and comb", strength)):
        out[name] = np.empty((100, 480), np.float32)
        Synthesizer(100).synthesize(analyses[0], gain * attenuation, r, 0.0, out[name])
    expected = reference.highpass(clean)[9600:-LATENCY_SAMPLES]
    snr = {name: snr_db(expected, x.ravel()[9600 + LATENCY_SAMPLES :]) for name, x in out.items()}
    assert snr_db(expected, reference.highpass(noisy)[9600:-LATENCY_SAMPLES]) == pytest.approx(0, abs=0.5)
    assert snr["gain"] > 8 and snr["gain and comb"] > snr["gain"] + 2
    lowest = np.array(BAND_CENTERS) * 50 < 4000
    assert strength[20:, lowest].mean() > 0.5


def test_mixtures_that_share_a_voice_share_its_analysis(voice, rng, monkeypatch):
    heard = Voice(voice, voice, 24000.0)
    sharing = targets.Sharing()
    analyzed = []
    analyze = targets.analyze_signal
    monkeypatch.setattr(targets, "analyze_signal", lambda samples: analyzed.append(len(samples)) or analyze(samples))
    for level, most in ((0.003, 0.03), (0.03, 1e-3), (1.0, 0.0)):
        clean = voice * np.float32(level)
        mixed = mixture(clean + noise(len(voice), rng, 0.1 * level), clean)
        alone = targets.example(mixed, 0.5)
        shared = targets.example(mixed, 0.5, (), sharing.analyze(replace(mixed, source=(heard, level))))
        assert np.array_equal(alone.voice, shared.voice) and np.array_equal(alone.features, shared.features)
        for name in ("gain", "strength"):
            weight = getattr(alone, f"{name}_weight")
            assert np.mean(weight == getattr(shared, f"{name}_weight")) > 0.999
            error = np.abs(getattr(alone, name).astype(float) - getattr(shared, name))[weight == 1]
            assert np.mean(error > 2e-3) <= most
    assert len(analyzed) == 3 * 2 + 3 + 1  # noisy and clean of each alone, noisy of each shared, the voice once
    other = replace(mixed, source=None)
    assert pytest.approx(analyze(mixed.clean).E) == sharing.analyze(other).E
