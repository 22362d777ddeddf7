"""The live stream's resampler, and the denoiser at any rate: in time, as early as possible, however it is cut."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import resample_poly
from signals import speech

from percepnet_cli.constants import HOP_SIZE, LATENCY_SAMPLES, SAMPLE_RATE
from percepnet_cli.denoiser import Denoiser
from percepnet_cli.file_denoiser import denoise_blocks
from percepnet_cli.live.chain import Chain
from percepnet_cli.live.polyphase import HALF_WIDTH, Polyphase

RATES = [8000, 11025, 16000, 32000, 44100, 48000, 88200, 96000, 192000]


def in_parts(process, samples, sizes):
    parts, start = [], 0
    while start < len(samples):
        size = int(next(sizes))
        parts.append(process(samples[start : start + size]))
        start += size
    return np.concatenate(parts)


def random_sizes(rng, largest):
    while True:
        yield rng.integers(1, largest)


@pytest.mark.parametrize("rate", [r for r in RATES if r != SAMPLE_RATE])
@pytest.mark.parametrize("upward", [True, False])
def test_a_tone_stays_where_it_is(rate, upward, rng):
    rates = (rate, SAMPLE_RATE) if upward else (SAMPLE_RATE, rate)
    for share in (0.05, 0.25, 0.45):
        frequency_hz = share * min(rates)
        tone = np.sin(2 * np.pi * frequency_hz * np.arange(rates[0] // 5) / rates[0]).astype(np.float32)
        out = in_parts(Polyphase(*rates, 1).process, tone[:, None], random_sizes(rng, 900))[:, 0]
        wanted = np.sin(2 * np.pi * frequency_hz * np.arange(len(out)) / rates[1])
        middle = slice(len(out) // 4, None)
        error = np.mean((out - wanted)[middle] ** 2) / 0.5
        assert 10 * np.log10(error) < -95, (frequency_hz, rates)


def test_what_the_lower_rate_cannot_hold_is_taken_out():
    rate = 16000
    tone = np.sin(2 * np.pi * 9000 * np.arange(24000) / SAMPLE_RATE).astype(np.float32)
    out = Polyphase(SAMPLE_RATE, rate, 1).process(tone[:, None])
    assert 20 * np.log10(np.abs(out[1000:]).max()) < -90


def test_the_filter_agrees_with_another_one(rng):
    samples = speech(24000, rng)[0]
    out = Polyphase(SAMPLE_RATE, 16000, 1).process(samples[:, None])[:, 0]
    other = resample_poly(samples.astype(np.float64), 1, 3)[: len(out)]
    assert np.sqrt(np.mean((out - other) ** 2)) < 0.01 * np.sqrt(np.mean(other**2))


@pytest.mark.parametrize("rate", RATES)
def test_it_holds_back_no_more_than_half_its_filter(rate):
    for rates in ((rate, SAMPLE_RATE), (SAMPLE_RATE, rate)):
        out = Polyphase(*rates, 2).process(np.zeros((rates[0], 2), np.float32))
        held_back = 1 - len(out) / rates[1]
        assert 0 <= held_back <= (HALF_WIDTH + 1) / min(rates) and (rate != SAMPLE_RATE or held_back == 0)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), rate=st.sampled_from(RATES), upward=st.booleans())
def test_any_cutting_gives_the_same_bits(seed, rate, upward):
    rng = np.random.default_rng(seed)
    rates = (rate, SAMPLE_RATE) if upward else (SAMPLE_RATE, rate)
    samples = rng.standard_normal((3000, 2)).astype(np.float32)
    whole = Polyphase(*rates, 2).process(samples)
    cut = in_parts(Polyphase(*rates, 2).process, samples, random_sizes(rng, 700))
    assert np.array_equal(whole, cut)


@pytest.fixture
def denoiser(random_model):
    return Denoiser(random_model)


def test_at_48_khz_it_is_what_denoise_makes_of_it(denoiser, random_model, rng):
    samples = speech(48000, rng)[0][:, None]
    live = in_parts(Chain(denoiser, SAMPLE_RATE).process, samples, random_sizes(rng, 900))
    file = np.concatenate([b.copy() for b in denoise_blocks([samples], SAMPLE_RATE, 1, Denoiser(random_model))])
    assert len(live) == len(samples) // HOP_SIZE * HOP_SIZE - LATENCY_SAMPLES
    assert np.array_equal(live, file[: len(live)])


@pytest.mark.parametrize("rate", [16000, 44100, 96000])
def test_at_other_rates_a_sound_that_is_kept_stays_in_its_place(rate, random_model, rng):
    time = np.arange(rate) / rate
    samples = sum(0.1 * np.sin(2 * np.pi * f * time) for f in (3000.0, 4000.0, 5000.0)).astype(np.float32)[:, None]
    chain = Chain(Denoiser(random_model, attenuation_limit_db=0), rate, lead=77)
    live = in_parts(chain.process, samples, random_sizes(rng, 900))
    assert 0 <= len(samples) - len(live) < 0.05 * rate
    error = (live - samples[: len(live)])[rate // 2 :]
    assert np.sqrt(np.mean(error**2)) < 0.01 * np.sqrt(np.mean(samples**2))  # the high-pass turns them a little


@pytest.mark.parametrize("block", [480, 960, 240, 256, 512, 441, 333, 1024])
def test_the_lag_is_what_blocks_and_hops_make_it(block, denoiser):
    assert Chain(denoiser, SAMPLE_RATE).fit(block) == LATENCY_SAMPLES + HOP_SIZE - math.gcd(block, HOP_SIZE)


@pytest.mark.parametrize("rate", [16000, 44100, 96000])
def test_resampling_costs_no_extra_hop(rate, denoiser):
    block = rate // 100
    chain = Chain(denoiser, rate)
    without_lead = chain.lag(block)
    lag = chain.fit(block)
    assert lag < without_lead
    lag_ms = 1000 * lag / rate
    assert lag_ms <= 30 + 2 * 1000 * (HALF_WIDTH + 2) / min(rate, SAMPLE_RATE)


@pytest.mark.parametrize("rate", [44100, 48000])
@pytest.mark.parametrize("block", [441, 512, 1000])
@pytest.mark.parametrize("batch", [1, 960])
def test_the_lag_is_reached_and_never_exceeded(rate, block, batch, denoiser):
    chain = Chain(denoiser, rate)
    lag = chain.fit(block, batch)
    taken, given_back, lags = 0, 0, []
    for number in range(1, 500):
        ready = (number * block - taken) // batch * batch
        taken += ready
        given_back += len(chain.process(np.zeros((ready, 1), np.float32)))
        assert given_back == chain.settled(taken)
        lags.append(number * block - given_back)
    assert max(lags) <= lag and (batch > 1 or max(lags) == lag)


def test_the_lead_does_not_shift_the_sound(denoiser, random_model, rng):
    samples = speech(48000, rng)[0][:, None]
    plain = Chain(Denoiser(random_model, attenuation_limit_db=0), SAMPLE_RATE).process(samples)
    led = Chain(Denoiser(random_model, attenuation_limit_db=0), SAMPLE_RATE, lead=100).process(samples)
    count = min(len(plain), len(led))
    # with a limit of 0 dB the output is the high-passed input, whatever the grid of hops
    assert np.abs(plain[:count] - led[:count])[HOP_SIZE:].max() < 1e-4
