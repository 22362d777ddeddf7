"""Scores against their definitions, written out slowly, and against other implementations."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from signals import noise, speech

from percepnet_cli.metrics import perceptual, recognition, scores
from percepnet_cli.metrics.alignment import constant_delay, overlap
from percepnet_cli.metrics.bootstrap import interval
from percepnet_cli.metrics.levels import segmental_snr, si_sdr, snr

ROOT_SEED = 5
WORDS = st.lists(st.sampled_from(["a", "b", "c", "d"]), max_size=6)


def pair(rate=48000, seconds=2.0, snr_db=5.0, seed=ROOT_SEED):
    rng = np.random.default_rng(seed)
    clean = speech(int(48000 * seconds), rng)[0].astype(np.float64)
    hiss = rng.standard_normal(len(clean))
    hiss *= np.sqrt((clean @ clean) / (hiss @ hiss)) * 10 ** (-snr_db / 20)
    return clean, clean + hiss


# --- levels ----------------------------------------------------------------------------------


@given(st.floats(-20, 40))
def test_snr_is_what_was_mixed(level_db):
    clean, noisy = pair(seconds=0.1, snr_db=level_db)
    assert snr(clean, noisy) == pytest.approx(level_db, abs=1e-9)


def test_snr_of_nothing():
    some = np.ones(10)
    assert math.isnan(snr(0 * some, some)) and snr(some, some) == math.inf


@settings(deadline=None)
@given(st.floats(-20, 40), st.floats(0.01, 10), st.floats(-0.5, 0.5), st.booleans())
def test_si_sdr_is_the_angle_between_the_signals(level_db, scale, offset, flipped):
    """cot^2 of the angle between both: an independent form of the same, by numpy's correlation."""
    clean, noisy = pair(seconds=0.1, snr_db=level_db)
    test = (-scale if flipped else scale) * noisy + offset
    rho = np.corrcoef(clean, test)[0, 1]
    assert si_sdr(clean, test) == pytest.approx(10 * math.log10(rho**2 / (1 - rho**2)), abs=1e-6)


def test_si_sdr_works_in_double_precision_on_single():
    clean, noisy = pair()
    single = si_sdr(clean.astype(np.float32), noisy.astype(np.float32))
    assert single == pytest.approx(si_sdr(clean, noisy), abs=1e-4)


def test_si_sdr_has_ends():
    clean, _ = pair(seconds=0.1)
    assert si_sdr(clean, 0.5 * clean) == pytest.approx(150)
    assert math.isnan(si_sdr(clean, 0 * clean)) and math.isnan(si_sdr(0 * clean, clean))
    assert math.isnan(si_sdr(clean[:0], clean[:0]))


@pytest.mark.parametrize("rate", [48000, 16000])
def test_segmental_snr_by_hand(rate):
    clean, noisy = pair(seconds=0.3)
    size = int(0.030 * rate)
    window = [0.5 - 0.5 * math.cos(2 * math.pi * (n + 1) / (size + 1)) for n in range(size)]
    ratios = []
    for start in range(0, len(clean) - size + 1, size // 4):
        signal = sum((window[n] * clean[start + n]) ** 2 for n in range(size))
        error = sum((window[n] * (clean[start + n] - noisy[start + n])) ** 2 for n in range(size))
        ratios.append(min(35, max(-10, 10 * math.log10(signal / error))))
    assert segmental_snr(clean, noisy, rate) == pytest.approx(sum(ratios) / len(ratios), abs=1e-9)


def test_segmental_snr_has_ends():
    clean, noisy = pair(seconds=0.3)
    assert segmental_snr(clean, clean, 48000) == 35
    assert segmental_snr(clean, clean + 1e3 * (noisy - clean), 48000) == -10
    assert math.isnan(segmental_snr(0 * clean, noisy, 48000))
    assert math.isnan(segmental_snr(clean[:100], noisy[:100], 48000))


# --- alignment -------------------------------------------------------------------------------


@settings(deadline=None, max_examples=40)
@given(st.integers(-480, 480), st.integers(0, 300), st.booleans())
def test_a_delay_is_found_and_taken_out(delay, longer, flipped):
    rng = np.random.default_rng(abs(delay))
    sound = noise(6000, rng)
    test = np.concatenate((np.zeros(max(0, delay)), sound[max(0, -delay) :], np.zeros(longer)))
    assert constant_delay(sound, -test if flipped else test, 480) == delay
    a, b = overlap(sound, test, delay)
    common = len(sound) - abs(min(0, delay))
    assert len(a) == len(b) and np.array_equal(a[:common], b[:common])


def test_silence_has_no_delay():
    assert constant_delay(np.zeros(100), np.ones(100), 10) == 0
    assert constant_delay(np.zeros(0), np.ones(100), 10) == 0


# --- bootstrap -------------------------------------------------------------------------------


def test_intervals_are_those_of_scipy(rng):
    stats = pytest.importorskip("scipy.stats")
    values = rng.gamma(2.0, size=36)
    ours = interval(values, draws=20000)
    theirs = stats.bootstrap((values,), np.mean, n_resamples=20000, method="percentile", rng=1).confidence_interval
    width = theirs.high - theirs.low
    assert ours.mean == pytest.approx(values.mean())
    assert ours.low == pytest.approx(theirs.low, abs=0.03 * width)
    assert ours.high == pytest.approx(theirs.high, abs=0.03 * width)


def test_paired_and_weighted_intervals_are_those_of_scipy(rng):
    stats = pytest.importorskip("scipy.stats")
    words = rng.integers(5, 40, 36).astype(float)
    errors = rng.binomial(words.astype(int), 0.3, (2, 36)).T.astype(float)
    ours = interval(errors, np.stack((words, words), axis=1), draws=20000)

    def difference(first, second, weight, axis=-1):
        return second.sum(axis) / weight.sum(axis) - first.sum(axis) / weight.sum(axis)

    theirs = stats.bootstrap(
        (errors[:, 0], errors[:, 1], words), difference, paired=True, n_resamples=20000, method="percentile", rng=1
    ).confidence_interval
    width = theirs.high - theirs.low
    assert ours.mean == pytest.approx((errors[:, 1].sum() - errors[:, 0].sum()) / words.sum())
    assert ours.low == pytest.approx(theirs.low, abs=0.04 * width)
    assert ours.high == pytest.approx(theirs.high, abs=0.04 * width)


@settings(deadline=None, max_examples=30)
@given(hnp.arrays(np.float64, st.integers(2, 20), elements=st.floats(-50, 50)), st.integers(0, 5))
def test_intervals_lie_among_the_values_and_depend_on_the_seed_alone(values, seed):
    found = interval(values, draws=50, seed=seed)
    assert found == interval(values, draws=50, seed=seed)
    assert values.min() - 1e-9 <= found.low <= found.high <= values.max() + 1e-9


def test_one_file_has_a_mean_but_no_interval():
    for values, mean in (([3.0], 3), ([[3.0, 5.0]], 2)):
        found = interval(np.array(values))
        assert found.mean == mean and math.isnan(found.low) and math.isnan(found.high)


def test_pairing_takes_out_what_files_have_in_common(rng):
    first = rng.normal(0, 10, 30)
    difference = interval(np.stack((first, first + 1), axis=1))
    assert difference == pytest.approx((1, 1, 1))


# --- words -----------------------------------------------------------------------------------


def edits(reference, heard):
    """Shortest way by the definition: try everything."""
    if not reference or not heard:
        return len(reference) + len(heard)
    return min(
        edits(reference[1:], heard) + 1,
        edits(reference, heard[1:]) + 1,
        edits(reference[1:], heard[1:]) + (reference[0] != heard[0]),
    )


@given(WORDS, WORDS)
def test_word_errors_are_the_fewest_edits(reference, heard):
    assert recognition.word_errors(reference, heard) == edits(reference, heard)


def test_words_of_a_text():
    assert recognition.words_of("Don't  STOP — it\u2019s “two-fold”, 42!") == [
        "don't",
        "stop",
        "it's",
        "two",
        "fold",
        "42",
    ]


@pytest.mark.service
def test_a_recognizer_hears_nothing_in_silence_and_forgets_what_it_heard():
    pytest.importorskip("pocketsphinx")
    assert recognition.recognize(np.zeros(8000)) == []
    street = soundfile.read(Path(__file__).parents[1] / "examples/street.flac")[0][::3]
    sound, other = street[32_000:80_000], street[80_000:]
    first = recognition.recognize(sound)
    assert len(first) > 3
    recognition.recognize(0.1 * other)
    assert recognition.recognize(sound) == first


# --- all of them -----------------------------------------------------------------------------


def test_all_scores_of_a_shifted_pair():
    for module in ("pesq", "pystoi"):
        pytest.importorskip(module)
    clean, noisy = pair(seconds=3)
    late = np.concatenate((np.zeros(960), noisy))
    found = scores.score_pair(clean, late, 48000, {"PESQ", "STOI"})
    straight = scores.score_pair(clean, noisy, 48000, {"PESQ", "STOI"})
    assert found["delay_ms"] == 20 and found["length_difference"] == 960
    for key in ("pesq_wb", "stoi", "estoi", "si_sdr", "segmental_snr"):
        assert found[key] == pytest.approx(straight[key], abs=1e-6)
    assert math.isnan(found["dnsmos_sig"])
    best = scores.score_pair(clean, clean, 48000, {"PESQ", "STOI"})
    assert best["pesq_wb"] > 4.6 and best["stoi"] > 0.999 and best["estoi"] > 0.999
    assert straight["pesq_wb"] < best["pesq_wb"] and straight["stoi"] < best["stoi"]


@pytest.mark.service
def test_dnsmos_does_not_hang_on_the_length():
    pytest.importorskip("speechmos")
    sound = pair(seconds=2, snr_db=10)[1][::3]
    one, repeated = perceptual.dnsmos(sound), perceptual.dnsmos(np.resize(sound, perceptual.DNSMOS_WINDOW))
    assert one == repeated
    assert all(1 <= value <= 5 for value in one.values())


@pytest.mark.parametrize("size", [0, 1, 100, 4000])
@pytest.mark.parametrize("kinds", list(itertools.product(("silence", "sound"), repeat=2)))
def test_what_is_not_defined_is_nan(size, kinds):
    for module in ("pesq", "pystoi"):
        pytest.importorskip(module)
    rng = np.random.default_rng(1)
    clean, test = (np.zeros(size) if kind == "silence" else noise(size, rng) if size else np.zeros(0) for kind in kinds)
    found = scores.score_pair(clean, test, 48000, {"PESQ", "STOI"})
    assert math.isnan(found["pesq_wb"]) or size == 4000
    assert math.isnan(found["si_sdr"]) == (size < 2 or "silence" in kinds)


def test_samples_that_are_no_numbers_are_refused():
    with pytest.raises(ValueError, match="not finite"):
        scores.score_pair(np.array([0.0, np.nan]), np.zeros(2), 48000)


def test_missing_packages_are_named(monkeypatch):
    absent = {"pesq", "onnxruntime"}
    monkeypatch.setattr(scores, "missing", lambda *modules: [m for m in modules if m in absent])
    groups, text = scores.available()
    assert groups == {"STOI"}
    assert text == "PESQ and DNSMOS need pesq and onnxruntime: pip install pesq onnxruntime"
