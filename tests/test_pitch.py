"""The pitch tracker: right periods over its whole range, no octave errors, and its parts against slow ones."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scipy.linalg import solve_toeplitz
from signals import harmonics, noise, snr_db, speech, tone

from percepnet_cli.dsp import pitch, whitening

SETTLED = 12
"""Hops until the 64 ms that the longest period needs are full, and the path is sure."""
PERIODS = np.geomspace(96, 768, 25)
"""500 to 62.5 Hz, eight to the octave."""


def track(samples, cuts=()):
    """Period and correlation per hop; hop t tells of the window centered at sample 480 t - 480."""
    hops = len(samples) // 480 - 1
    signal = np.ascontiguousarray(samples, np.float32)
    tracker = pitch.Tracker(hops)
    period, correlation = np.zeros(hops, np.int32), np.full(hops, np.nan, np.float32)
    edges = [0, *cuts, hops]
    for a, b in pairwise(edges):
        pitch.track(tracker, signal, 480 * (a + 1), b - a, period[a:b], correlation[a:b])
    return period, correlation


@pytest.mark.parametrize("noise_db", [None, 5.0], ids=["clean", "5 dB"])
@pytest.mark.parametrize("rolloff", [0.0, 1.0], ids=["equal amplitudes", "1/k amplitudes"])
def test_every_settled_hop_has_the_period_within_one_percent(rng, rolloff, noise_db):
    wrong = {}
    for true in PERIODS:
        samples = harmonics(true, 480 * 50, rng, rolloff)
        if noise_db is not None:
            samples = samples + noise(len(samples), rng, 0.1 * 10 ** (-noise_db / 20))
        period, correlation = track(samples)
        error = np.abs(period[SETTLED:] / true - 1)
        if error.max() > 0.01 or correlation[SETTLED:].min() < (0.95 if noise_db is None else 0.6):
            wrong[round(true)] = (error.max(), correlation[SETTLED:].min())
    assert not wrong


def test_noise_louder_than_the_tone_leads_to_no_wrong_octave(rng):
    for true in PERIODS[:-8]:  # up to 384 samples, whose doubles are in the range too
        period, _ = track(harmonics(true, 480 * 50, rng) + noise(480 * 50, rng, 0.14))
        assert np.abs(period[SETTLED:] / true - 1).max() < 0.1


def test_periods_are_as_fine_as_a_sample(rng):
    for true in (96, 97, 98, 99, 131, 301, 302, 303, 767, 768):
        period, _ = track(harmonics(true, 480 * 30, rng, highest_hz=4000))
        assert np.abs(period[SETTLED:] - true).max() <= 1


@pytest.mark.parametrize(("start", "end"), [(480, 160), (160, 480), (700, 200)])
def test_follows_a_glide_in_time_with_the_window(rng, start, end):
    true = np.geomspace(start, end, 48000)
    period, correlation = track(harmonics(true, 48000, rng, highest_hz=4000))
    center = 480 * np.arange(len(period)) - 480
    error = np.abs(period / true[center] - 1)[SETTLED:]
    assert error.max() < 0.01 and error.mean() < 0.004
    assert correlation[SETTLED:].min() > 0.7


def test_follows_a_jump_within_50_ms(rng):
    samples = np.concatenate((harmonics(200, 480 * 40, rng), harmonics(330, 480 * 40, rng)))
    period, _ = track(samples)
    assert np.all(np.abs(period[SETTLED:39] - 200) <= 2)
    assert np.all(np.abs(period[47:] - 330) <= 3)


@pytest.mark.parametrize("f0", [80.0, 130.0, 220.0, 350.0])
def test_formants_are_not_taken_for_pitch(rng, f0):
    samples, true = speech(480 * 300, rng, f0_hz=f0)
    period, _ = track(samples)
    center = 480 * np.arange(len(period)) - 480
    inside = (true[center - 1440] > 0) & (true[center] > 0) & (true[np.minimum(center + 960, len(true) - 1)] > 0)
    inside[:SETTLED] = False
    error = np.abs(period / np.maximum(true[center], 1) - 1)[inside]
    assert inside.sum() > 100
    assert np.mean(error > 0.03) < 0.02


def test_silence_has_correlation_zero():
    _, correlation = track(np.zeros(480 * 30))
    assert not correlation.any()


def test_noise_has_a_low_correlation_and_any_period_is_in_range(rng):
    period, correlation = track(noise(480 * 100, rng))
    assert correlation.max() < 0.5 and correlation.min() >= 0
    assert period.min() >= 96 and period.max() <= 768


def test_level_does_not_matter_from_60_db_below_full_scale_up(rng):
    samples = harmonics(250, 480 * 40, rng) + noise(480 * 40, rng, 0.03)
    loud = track(samples)
    for factor in (0.01, 1e6):
        period, correlation = track(samples * np.float32(factor))
        assert np.array_equal(period, loud[0])
        assert np.abs(correlation - loud[1]).max() < 0.02


def test_any_cut_gives_the_same_bits(rng):
    samples = speech(480 * 60, rng)[0] + noise(480 * 60, rng, 0.01)
    period, correlation = track(samples)
    for cuts in (range(1, 59), (1, 2, 30), (7, 8, 9, 50)):
        other = track(samples, cuts)
        assert np.array_equal(period, other[0]) and correlation.tobytes() == other[1].tobytes()


def test_decimator_keeps_the_low_and_removes_what_would_alias():
    def level(frequency):
        out = np.empty(120 * 50, np.float32)
        whitening.decimate(tone(frequency, 480 * 51, 1.0), 480, out)
        return 20 * np.log10(np.std(out) * np.sqrt(2))

    assert abs(level(100)) < 0.1 and abs(level(500)) < 0.5
    assert max(level(f) for f in (6500, 9000, 11900, 12100, 20000)) < -35


def test_decimation_is_a_convolution(rng):
    samples = noise(480 * 4, rng)
    out = np.empty(120 * 3, np.float32)
    whitening.decimate(samples, 480, out)
    filtered = np.convolve(samples.astype(float), whitening.DECIMATOR[::-1].astype(float))
    assert snr_db(filtered[483 : 480 * 4 : 4], out) > 110


def test_predictor_solves_the_normal_equations(rng):
    segment = (tone(700, 960)[::4] + noise(240, rng, 0.2)).astype(np.float32)
    lpc = np.zeros(whitening.LPC_ORDER + 1)
    whitening.predict(segment, whitening.LPC_TAPER, np.zeros(16, np.float32), np.zeros(9), lpc)
    weighted = (segment * whitening.LPC_TAPER).astype(float)
    r = np.array([weighted[: 240 - lag] @ weighted[lag:] for lag in range(whitening.LPC_ORDER + 1)])
    column = r[:-1].copy()
    column[0] *= 1 + whitening.LPC_WHITE_NOISE
    expected = -solve_toeplitz(column, r[1:]) * whitening.LPC_DAMPING ** np.arange(1, whitening.LPC_ORDER + 1)
    assert lpc[0] == 1
    assert snr_db(expected, lpc[1:]) > 70


def test_block_correlations_equal_slow_ones(rng):
    hops = 3
    residual = noise(pitch.RESIDUAL_HISTORY + hops * 120, rng)
    dot, past = np.empty((2, hops, pitch.NUM_LAGS), np.float32)
    now = np.empty(hops, np.float32)
    pitch.correlate(residual, np.full(pitch.NUM_LAGS, np.nan, np.float32), dot, past, now)
    blocks = [pitch.RESIDUAL_HISTORY + 120 * hop + np.arange(120) for hop in range(hops)]
    lags = np.arange(pitch.LAG_FIRST, pitch.LAG_LAST + 1)
    exact = residual.astype(float)
    assert snr_db([[exact[b] @ exact[b - lag] for lag in lags] for b in blocks], dot) > 100
    assert snr_db([[exact[b - lag] @ exact[b - lag] for lag in lags] for b in blocks], past) > 100
    assert snr_db([exact[b] @ exact[b] for b in blocks], now) > 100


def test_cells_hold_their_best_normalized_correlation(rng):
    hops, lags = 4, pitch.NUM_LAGS
    past, now = (
        rng.uniform(0.5, 2, (hops + 2, lags)).astype(np.float32),
        rng.uniform(0.5, 2, hops + 2).astype(np.float32),
    )
    dot = (rng.uniform(-1, 1, (hops + 2, lags)) * np.sqrt(past * now[:, None])).astype(np.float32)
    best = np.empty((hops, pitch.NUM_CELLS), np.float32)
    best_period = np.zeros(best.shape, np.int32)
    work, fine = np.zeros(lags, np.float32), np.zeros((4, lags), np.float32)
    pitch.score(dot, past, now, pitch.INTERPOLATOR, pitch.CELL_EDGES, work, fine, best, best_period)

    for hop in range(hops):
        three = slice(hop, hop + 3)
        energies = 0.5 * (past[three].sum(axis=0, dtype=float) + now[three].sum(dtype=float))
        correlation = dot[three].sum(axis=0, dtype=float) / (energies + 1e-9)
        fine = {}
        for period in range(96, 769):
            lag, phase = divmod(period - 96, 4)  # the first lag is 4 below 96 / 4, the taps begin 3 below the lag
            fine[period] = correlation[lag + 1 : lag + 9] @ pitch.INTERPOLATOR[phase]
        for cell in range(pitch.NUM_CELLS):
            periods = range(96 + pitch.CELL_EDGES[cell], 96 + pitch.CELL_EDGES[cell + 1])
            top = max(fine[period] for period in periods)
            assert best[hop, cell] == pytest.approx(min(max(top, 0), 1), abs=1e-5)
            assert best_period[hop, cell] in periods and fine[best_period[hop, cell]] > top - 1e-5


def test_cells_are_equal_musical_intervals_that_cover_every_period_once():
    edges = 96 + pitch.CELL_EDGES
    assert edges[0] == 96 and edges[-1] == 769 and np.diff(edges).min() >= 1
    center = (edges[:-1] + edges[1:] - 1) / 2
    assert np.abs(12 * np.log2(center / (96 * 2 ** (np.arange(len(center)) / 48)))).max() < 0.15  # semitones
    fractions = np.arange(8)[None, :] - 3 - np.arange(4)[:, None] / 4
    assert np.abs((pitch.INTERPOLATOR * fractions).sum(axis=1)).max() < 0.02  # each phase delays by its fraction
    assert np.abs(pitch.INTERPOLATOR.sum(axis=1) - 1).max() < 1e-6


def test_tones_to_3_khz_are_interpolated_within_1_5_percent():
    distance = np.arange(8)[None, :] - 3 - np.arange(4)[:, None] / 4
    for frequency in range(100, 3001, 100):
        found = np.sum(pitch.INTERPOLATOR * np.exp(2j * np.pi * frequency / 12000 * distance), axis=1)
        assert np.abs(found - 1).max() < 0.015, frequency


def test_path_is_the_best_one_by_exhaustive_dynamic_programming(rng):
    hops, cells, trace = 40, pitch.NUM_CELLS, pitch.TRACE_HOPS
    best = rng.random((trace + hops, cells)).astype(np.float32)
    best[:trace] = 0
    best_period = rng.integers(96, 769, best.shape).astype(np.int32)
    origin = np.zeros(best.shape, np.int32)
    period, correlation = np.zeros(hops, np.int32), np.zeros(hops, np.float32)
    work = np.zeros((2, cells), np.float32)
    pitch.follow(best, best_period, work[0], work[1], origin, period, correlation)

    distance = np.abs(np.subtract.outer(np.arange(cells), np.arange(cells)))
    cost = np.where(
        distance <= pitch.REACH, np.minimum(pitch.GLIDE_COST * distance**2, pitch.JUMP_COST), pitch.JUMP_COST
    )
    bias = pitch.OCTAVE_BIAS * np.arange(cells) / pitch.CELLS_PER_OCTAVE
    score, came_from = np.zeros(cells), []
    for hop in range(hops):
        candidates = score[None, :] - cost
        came_from.append(candidates.argmax(axis=1))
        score = candidates.max(axis=1) + best[trace + hop] - bias
        cell = int(score.argmax())
        for back in range(min(trace, hop + 1)):
            cell = int(came_from[hop - back][cell])
        if hop >= trace:
            assert correlation[hop] == best[hop, cell]
            assert period[hop] == best_period[hop, cell]
