"""The worker: what it makes of the ring, how it fades, what it does when it cannot follow."""

from __future__ import annotations

import time
from collections import deque
from types import SimpleNamespace

import numpy as np
import pytest
from signals import speech

from percepnet_cli.channel.stream import Newest
from percepnet_cli.constants import LATENCY_SAMPLES
from percepnet_cli.denoiser import Denoiser
from percepnet_cli.live import engine as engine_module
from percepnet_cli.live import exchange
from percepnet_cli.live.chain import Chain
from percepnet_cli.live.engine import Engine, Ring
from percepnet_cli.live.noise_meter import LOOK_SECONDS

RATE = 48000
BLOCK = 480


def give(ring, samples):
    """Be the device: deliver a block and play one. samples: float32 [n, channels]."""
    part = np.ascontiguousarray(samples, np.float32)
    out = np.zeros((len(part), int(ring.control[exchange.OUT_CHANNELS])), np.float32)
    exchange.stream_callback.ctypes(part.ctypes.data, out.ctypes.data, len(part), 0, 0, ring.address)
    return out


def play(ring, engine, samples, block=BLOCK, between=lambda number: None):
    """Pass samples block by block, the worker stepping before each block is played; return what is played."""
    played = []
    for number, start in enumerate(range(0, len(samples) - block + 1, block)):
        between(number)
        played.append(give(ring, samples[start : start + block]))
        while engine.step():
            pass
    return np.concatenate(played)


class Slow:
    """A chain that takes far longer than the audio lasts, until told otherwise."""

    def __init__(self, clock):
        self.clock = clock
        self.sample_rate = RATE
        self.slowness = 3.0
        self.denoiser = SimpleNamespace(speech_probability=0.0, newest=Newest(), dry=0.0)
        self.resets = 0
        self.only_channel = None

    def process(self, block):
        self.clock[0] += self.slowness * len(block) / RATE
        return block

    def reset(self):
        self.resets += 1


@pytest.fixture
def noisy(rng):
    return speech(RATE, rng)[0][:, None] + 0.01 * rng.standard_normal((RATE, 1)).astype(np.float32)


def test_what_is_played_is_what_the_denoiser_says(random_model, noisy):
    ring = Ring(1, 1, RATE, LATENCY_SAMPLES + BLOCK)
    engine = Engine(Chain(Denoiser(random_model), RATE), ring, BLOCK)
    out = play(ring, engine, noisy)
    wanted = Denoiser(random_model).process(noisy)
    assert np.array_equal(out[LATENCY_SAMPLES + BLOCK :], wanted[LATENCY_SAMPLES : len(out) - BLOCK])
    assert ring.control[exchange.LATE_BLOCKS] == 0


def in_thread(engine, ring, samples, block=BLOCK, between=lambda number: None):
    """Pass samples block by block to the engine's thread, for which the device waits; return what is played."""
    ring.control[exchange.WAITS] = 4000
    played = []
    engine.start()
    try:
        for number, start in enumerate(range(0, len(samples) - block + 1, block)):
            between(number)
            played.append(give(ring, samples[start : start + block]))
    finally:
        engine.stop()
    assert engine.failure is None and ring.control[exchange.LATE_BLOCKS] == 0
    return np.concatenate(played)


@pytest.mark.parametrize("usual", [True, False], ids=["compiled", "in Python"])
@pytest.mark.parametrize(("block", "batch"), [(480, 480), (333, 480), (1024, 480), (480, 960)])
def test_the_thread_does_the_same(random_model, noisy, block, batch, usual):
    chain = Chain(Denoiser(random_model), RATE)
    delay = chain.lag(block, batch)
    ring = Ring(1, 1, RATE, delay)
    engine = Engine(chain, ring, batch)
    assert engine._worker is not None
    if not usual:
        engine._worker = None
    out = in_thread(engine, ring, noisy, block)
    wanted = Denoiser(random_model).process(noisy)[LATENCY_SAMPLES:]
    assert np.array_equal(out[delay:], wanted[: len(out) - delay])


def test_the_usual_work_is_told_to_the_meters(random_model, noisy):
    """Both ways through the same hops: levels, the noise that is lowered, and what is known of the newest hop."""
    found = []
    for usual in (True, False):
        denoiser = Denoiser(random_model, attenuation_limit_db=20, post_filter=0.5)
        ring = Ring(1, 1, RATE, LATENCY_SAMPLES)
        engine = Engine(Chain(denoiser, RATE), ring, BLOCK)
        look = engine._worker._look_hops
        for start in range(0, 3 * look * BLOCK + LATENCY_SAMPLES, BLOCK):
            give(ring, noisy[start : start + BLOCK])
            if start < LATENCY_SAMPLES or not usual:
                assert step(engine)
            elif (start + BLOCK - LATENCY_SAMPLES) % (look * BLOCK) == 0:
                assert engine._work()  # all of a look, in one go
        found.append((engine.levels, denoiser.newest, denoiser.speech_probability, denoiser.voicing))

    (levels, newest, *rest), (wanted_levels, wanted_newest, *wanted_rest) = found
    assert levels == wanted_levels and levels.frames == 3 * look * BLOCK
    assert rest == wanted_rest and rest[0] > 0
    for one, wanted in zip(newest, wanted_newest, strict=True):
        assert np.array_equal(one, wanted)


def test_the_thread_does_what_is_wanted_meanwhile(random_model, noisy):
    """Bypass and recordings are not usual: Python does them, and goes back; what was set of the denoiser counts."""
    denoiser, record = Denoiser(random_model), deque()
    ring = Ring(1, 1, RATE, LATENCY_SAMPLES)
    engine = Engine(Chain(denoiser, RATE), ring, BLOCK)
    looks = engine._worker._look_hops

    def change(number):
        engine.bypass = 30 <= number < 60
        engine.record = record if 70 <= number < 80 else None
        if number == 85:
            denoiser.attenuation_limit_db = 0.0

    noisy = np.tile(noisy, (2, 1))
    out = in_thread(engine, ring, noisy, between=change)
    wanted = Denoiser(random_model).process(noisy)
    passed = slice((33 + looks) * BLOCK, 60 * BLOCK)
    assert np.array_equal(out[passed], noisy[passed.start - LATENCY_SAMPLES : passed.stop - LATENCY_SAMPLES])
    for cleaned in (slice(3 * BLOCK, 30 * BLOCK), slice((63 + looks) * BLOCK, 85 * BLOCK)):
        assert np.array_equal(out[cleaned], wanted[cleaned])
    heard = np.concatenate([pair[1] for pair in record])
    assert 10 - looks <= len(heard) / BLOCK <= 11
    unlimited = slice((86 + looks) * BLOCK, len(out) - LATENCY_SAMPLES)
    all_left_in = Denoiser(random_model, attenuation_limit_db=0.0).process(noisy)
    assert np.array_equal(out[unlimited], all_left_in[unlimited])


def test_the_usual_work_is_given_up_if_it_is_behind(random_model, noisy):
    ring = Ring(1, 1, RATE, LATENCY_SAMPLES)
    engine = Engine(Chain(Denoiser(random_model), RATE), ring, BLOCK)
    for start in range(0, 60 * BLOCK, BLOCK):
        give(ring, noisy[start : start + BLOCK])
        assert start >= LATENCY_SAMPLES or step(engine)
    assert not engine._work() and engine.step() and engine.resting
    assert not engine._work()


def test_only_one_channel_at_48_khz_is_usual(random_model, two_way_model):
    chains = [
        Chain(Denoiser(random_model, channels=2), RATE),
        Chain(Denoiser(random_model), 44100),
        Chain(Denoiser(random_model), RATE, lead=7),
        Chain(Denoiser(two_way_model), RATE),
    ]
    for chain in chains:
        ring = Ring(chain.denoiser.channels, 2, chain.sample_rate, LATENCY_SAMPLES)
        assert Engine(chain, ring, BLOCK)._worker is None
    assert Engine(Chain(Denoiser(random_model), RATE), Ring(1, 1, RATE, LATENCY_SAMPLES), 1)._worker is None


def test_bypass_and_back_without_click_or_comb(random_model):
    """A tone that passes unchanged either way keeps its amplitude while it is faded: dry and wet are in time."""
    tone = (0.25 * np.sin(2 * np.pi * 1000 * np.arange(RATE) / RATE)).astype(np.float32)[:, None]
    ring = Ring(1, 1, RATE, LATENCY_SAMPLES + BLOCK)
    engine = Engine(Chain(Denoiser(random_model, attenuation_limit_db=0), RATE), ring, BLOCK)

    def toggle(number):
        if number in (40, 60):
            engine.bypass = not engine.bypass

    out = play(ring, engine, tone, between=toggle)[:, 0]
    settled = out[20 * BLOCK :]
    peaks = np.abs(settled[: len(settled) // 48 * 48].reshape(-1, 48)).max(axis=1)
    assert peaks.min() > 0.248 and peaks.max() < 0.252


def test_bypass_ends_as_the_very_input(random_model, noisy):
    ring = Ring(1, 1, RATE, LATENCY_SAMPLES + BLOCK)
    engine = Engine(Chain(Denoiser(random_model), RATE), ring, BLOCK, bypass=False)

    def toggle(number):
        engine.bypass = 30 <= number < 60

    out = play(ring, engine, noisy, between=toggle)
    delay = LATENCY_SAMPLES + BLOCK
    late = slice(40 * BLOCK, 58 * BLOCK)
    assert np.array_equal(out[late], noisy[late.start - delay : late.stop - delay])
    wanted = Denoiser(random_model).process(noisy)
    assert np.array_equal(out[75 * BLOCK :], wanted[74 * BLOCK : len(out) - BLOCK])


@pytest.mark.parametrize("late", [False, True], ids=["in time", "while the worker is late"])
def test_mute_is_silence_whatever_else_happens(random_model, noisy, late):
    ring = Ring(1, 1, RATE, LATENCY_SAMPLES + BLOCK)
    engine = Engine(Chain(Denoiser(random_model, attenuation_limit_db=0), RATE), ring, BLOCK)
    loud = play(ring, engine, noisy[: 20 * BLOCK])
    ring.control[exchange.MUTE] = 1
    faded = give(ring, noisy[20 * BLOCK : 21 * BLOCK])
    muted = [
        give(ring, noisy[start : start + BLOCK])
        for start in range(21 * BLOCK, 40 * BLOCK, BLOCK)
        if late or step(engine)
    ]
    assert len(muted) == 19 and not np.any(muted)
    assert np.any(loud) and np.abs(faded).max() > 0 and np.abs(faded[-5:]).max() < 0.02 * np.abs(noisy).max()
    ring.control[exchange.MUTE] = 0
    give(ring, noisy[:BLOCK])
    assert np.any(give(ring, noisy[:BLOCK]))


def step(engine):
    """Let the worker do all there is; return True."""
    while engine.step():
        pass
    return True


def test_a_change_of_the_limit_is_faded(random_model):
    tone = (0.25 * np.sin(2 * np.pi * 100 * np.arange(RATE) / RATE)).astype(np.float32)[:, None]
    denoiser = Denoiser(random_model)
    ring = Ring(1, 1, RATE, LATENCY_SAMPLES + BLOCK)
    engine = Engine(Chain(denoiser, RATE), ring, BLOCK)

    def change(number):
        denoiser.attenuation_limit_db = 0.0 if number % 10 < 5 else None

    out = play(ring, engine, tone, between=change)[:, 0]
    assert np.abs(np.diff(out)).max() < 2.5 * 0.25 * 2 * np.pi * 100 / RATE


def test_recordings_are_in_time_with_each_other(random_model, noisy):
    ring = Ring(1, 1, RATE, LATENCY_SAMPLES + BLOCK)
    record = deque()
    engine = Engine(Chain(Denoiser(random_model), RATE), ring, BLOCK, record=record)
    play(ring, engine, noisy)
    heard = np.concatenate([pair[0] for pair in record])
    clean = np.concatenate([pair[1] for pair in record])
    assert len(heard) == len(clean) == len(noisy) - LATENCY_SAMPLES
    assert np.array_equal(heard, noisy[: len(heard)])
    assert np.array_equal(clean, Denoiser(random_model).process(noisy)[LATENCY_SAMPLES:])


def test_levels(random_model, noisy):
    ring = Ring(1, 1, RATE, LATENCY_SAMPLES + BLOCK)
    engine = Engine(Chain(Denoiser(random_model), RATE), ring, BLOCK)
    out = play(ring, engine, noisy)
    levels = engine.levels
    look = int(LOOK_SECONDS * RATE)
    assert levels.frames == (len(noisy) - LATENCY_SAMPLES) // look * look
    assert levels.noisy_energy == pytest.approx(float(np.sum(noisy[: levels.frames] ** 2)), rel=1e-3)
    assert levels.noisy_peak == np.abs(noisy[: levels.frames]).max()

    # What is played begins with the delay
    heard = out[LATENCY_SAMPLES + BLOCK :][: levels.frames]
    assert levels.heard_energy == pytest.approx(float(np.sum(heard**2)), rel=0.02)
    assert levels.heard_peak == pytest.approx(float(np.abs(heard).max()), rel=0.2)


def test_levels_of_what_passes_are_those_of_the_input(random_model, noisy):
    ring = Ring(1, 1, RATE, LATENCY_SAMPLES + BLOCK)
    engine = Engine(Chain(Denoiser(random_model), RATE), ring, BLOCK, bypass=True)
    play(ring, engine, noisy)
    assert engine.levels.heard_energy == engine.levels.noisy_energy > 0
    assert engine.levels.heard_peak == engine.levels.noisy_peak > 0


def test_overload_lets_the_input_pass_then_works_again(monkeypatch, noisy):
    clock = [0.0]
    monkeypatch.setattr(engine_module.time, "monotonic", lambda: clock[0])
    chain = Slow(clock)
    ring = Ring(1, 1, RATE, delay := 4 * BLOCK)
    engine = Engine(chain, ring, BLOCK)
    samples = np.tile(noisy, (4, 1))
    played, position = [], 0

    def audio_until_now():
        nonlocal position
        while position / RATE < clock[0] and position + BLOCK <= len(samples):
            played.append(give(ring, samples[position : position + BLOCK]))
            position += BLOCK

    for _ in range(40):  # three times too slow: the work falls behind until it is given up
        audio_until_now()
        engine.step()
        clock[0] += 0.001
        if engine.resting:
            break
    assert engine.resting and engine.overloads == 1
    late = int(ring.control[exchange.LATE_BLOCKS])
    assert late > 0
    chain.slowness = 0.1
    end = clock[0] + 2.0
    while clock[0] < end:
        audio_until_now()
        engine.step()
        clock[0] += 0.002
    assert not engine.resting and engine.overloads == 1 and chain.resets == 1
    counted = int(ring.control[exchange.LATE_BLOCKS])
    for _ in range(20):
        audio_until_now()
        engine.step()
        clock[0] += 0.01
    assert ring.control[exchange.LATE_BLOCKS] == counted
    out = np.concatenate(played)  # this chain answers with its input: all of it must be there, and nothing twice
    assert np.abs(out[delay:] - samples[: len(out) - delay]).max() < 1e-6


def test_rests_grow_while_overload_comes_back_soon(monkeypatch):
    clock = [100.0]
    monkeypatch.setattr(engine_module.time, "monotonic", lambda: clock[0])
    engine = Engine(Slow(clock), Ring(1, 1, RATE, BLOCK), BLOCK)
    rests = []
    for _ in range(6):
        engine._give_up()
        rests.append(engine._rest_until - clock[0])
        clock[0] = engine._rest_until
        engine.step()
        assert not engine.resting
    assert rests == [1.0, 2.0, 4.0, 8.0, 16.0, 16.0]
    clock[0] += 60
    engine._give_up()
    assert engine._rest_until - clock[0] == 1.0


def test_a_failure_is_kept_and_the_input_passes(random_model, noisy):
    class Broken(Slow):
        def process(self, block):
            raise ValueError("broken")

    ring = Ring(1, 1, RATE, BLOCK)
    engine = Engine(Broken([0.0]), ring, BLOCK)
    engine.start()
    out = [give(ring, noisy[start : start + BLOCK]) for start in range(0, 10 * BLOCK, BLOCK)]
    deadline = time.monotonic() + 5
    while engine.failure is None and time.monotonic() < deadline:
        time.sleep(0.001)
    engine.stop()
    assert str(engine.failure) == "broken"
    assert np.array_equal(np.concatenate(out)[BLOCK:], noisy[: 9 * BLOCK])


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("block", [480, 333, 1024])
def test_blocks_of_any_size_and_both_sides(random_model, rng, channels, block):
    samples = 0.1 * rng.standard_normal((RATE // 2, channels)).astype(np.float32)
    delay = LATENCY_SAMPLES + 480 + block
    ring = Ring(channels, channels, RATE, delay)
    engine = Engine(Chain(Denoiser(random_model, channels=channels), RATE), ring, BLOCK)
    out = play(ring, engine, samples, block)
    wanted = Denoiser(random_model, channels=channels).process(samples)
    shift = delay - LATENCY_SAMPLES
    assert np.array_equal(out[delay:], wanted[LATENCY_SAMPLES : len(out) - shift])
