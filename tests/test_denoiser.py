"""The whole path: what goes in comes out, delayed by exactly the latency, however the stream is cut."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from types import MethodType

import numpy as np
import pytest
import reference
from hypothesis import example, given, settings
from hypothesis import strategies as st
from signals import harmonics, noise, snr_db, speech

from percepnet_cli.constants import HOP_SIZE, LATENCY_SAMPLES
from percepnet_cli.denoiser import Denoiser
from percepnet_cli.network.float_reference import FloatState
from percepnet_cli.signal_path import MAX_HOPS, Analyzer

SAMPLES = 480 * 150 + 123
"""More than two blocks of hops, and a rest."""


class Scripted(Denoiser):
    """A denoiser that takes gains and strengths from arrays [channels, hops, 34] or numbers, instead of a network."""

    def __init__(self, model, gain, strength, late=0, **options):
        self.late = late
        shape = (options.get("channels", 1), 5000, 34)
        self.script = [x if np.ndim(x) == 3 else np.full(shape, x, np.float32) for x in (gain, strength)]
        self.made = 0
        super().__init__(model, predictor=self.play, **options)

    def play(self, model):
        self.made += 1
        return Player(*(values[(self.made - 1) % self.channels] for values in self.script), self.late)


class Player:
    def __init__(self, gain, strength, latency_hops):
        before = np.full((latency_hops, 34), 0.7, np.float32)  # must not be heard
        self.gain, self.strength = (np.concatenate((before, values)) for values in (gain, strength))
        self.latency_hops, self.hop = latency_hops, 0

    def run(self, features, gain, strength):
        assert features.shape == (len(gain), 70) and np.all(np.isfinite(features))
        part = slice(self.hop, self.hop + len(gain))
        gain[:], strength[:] = self.gain[part], self.strength[part]
        self.hop = part.stop

    def end(self, gain, strength):
        assert gain.shape == strength.shape == (self.latency_hops, 34)
        part = slice(self.hop, self.hop + self.latency_hops)
        gain[:], strength[:] = self.gain[part], self.strength[part]


def run(denoiser, samples, cuts=()):
    """All output of a stream that is given in pieces: those of ``cuts``, then the rest."""
    edges = np.minimum(np.cumsum([0, *cuts]), len(samples))
    parts = [denoiser.process(samples[a:b]) for a, b in zip(edges, [*edges[1:], len(samples)], strict=True)]
    return np.concatenate([*parts, denoiser.flush()])


@pytest.fixture(params=["causal", "bidirectional"])
def either_model(request, random_model, two_way_model):
    return {"causal": random_model, "bidirectional": two_way_model}[request.param]


@pytest.mark.parametrize("shape", [(0,), (1,), (5000,), (5000, 2), (100_000,)])
def test_a_whole_recording_is_the_stream_without_its_delay(either_model, shape):
    samples = np.random.default_rng(6).standard_normal(shape).astype(np.float32)
    denoiser = Denoiser(either_model, channels=shape[1] if len(shape) > 1 else 1)
    expected = run(denoiser, samples)[denoiser.latency :]
    denoiser.process(samples[::-1])  # a stream that has begun
    for _ in range(2):
        cleaned = denoiser.denoise(samples)
        assert cleaned.shape == samples.shape and cleaned.tobytes() == expected.tobytes()


def delayed(samples):
    """What a perfect path returns: the high-passed input behind ``latency`` zeros."""
    axis_last = reference.highpass(np.asarray(samples, float).T)
    return np.concatenate((np.zeros((LATENCY_SAMPLES, *samples.shape[1:])), axis_last.T))


@pytest.fixture(scope="module")
def mono():
    rng = np.random.default_rng(5)
    return speech(SAMPLES, rng)[0] + noise(SAMPLES, rng, 0.02)


@pytest.fixture(scope="module")
def stereo(mono):
    rng = np.random.default_rng(6)
    second = harmonics(310, SAMPLES, rng) + noise(SAMPLES, rng, 0.05)
    return np.stack((mono, second), axis=1)


def test_latency_is_that_of_the_model(random_model, two_way_model):
    assert Denoiser(random_model).latency == LATENCY_SAMPLES == 1440
    assert Denoiser(two_way_model).latency == two_way_model.latency_samples == 1440 + 149 * 480


@pytest.mark.parametrize("late", [1, 63, 64, 65, 149])
@pytest.mark.parametrize("channels", [1, 2])
def test_a_late_network_delays_the_same_output(random_model, stereo, late, channels):
    """The gains of a hop meet its spectra, however late they are."""
    samples = stereo[:, :channels]
    gain, strength = np.random.default_rng(3).random((2, channels, 500, 34)).astype(np.float32)
    options = {"channels": channels, "attenuation_limit_db": 30.0}
    at_once = run(Scripted(random_model, gain, strength, **options), samples, (480, 5000, 31000))
    delayed = run(Scripted(random_model, gain, strength, late, **options), samples, (480, 5000, 31000))
    assert len(delayed) == len(at_once) + late * HOP_SIZE
    assert not delayed[: late * HOP_SIZE].any()
    assert delayed[late * HOP_SIZE :].tobytes() == at_once.tobytes()


def test_the_end_of_a_recording_is_not_drowned_in_the_silence_behind_it(two_way_models, mono):
    """Layers against time begin at the end of the recording: it sounds as if the network saw it whole."""
    exact = two_way_models[1]
    samples = mono[: 120 * HOP_SIZE]
    hops = 120 + LATENCY_SAMPLES // HOP_SIZE
    whole = Denoiser(exact, predictor=lambda model: FloatState(model, hops, 0)).denoise(samples)
    assert np.array_equal(Denoiser(exact, predictor=FloatState).denoise(samples), whole)


@pytest.mark.parametrize("late", [0, 30])
def test_the_observer_sees_what_belongs_together(random_model, mono, late):
    seen = []

    def observe(channel, analysis, gain, strength):
        seen.append([np.copy(x) for x in (*analysis, gain, strength)])

    script = np.linspace(0, 1, 5000 * 34, dtype=np.float32).reshape(1, 5000, 34)
    denoiser = Scripted(random_model, script, script[:, ::-1], late, observer=observe)
    denoiser.denoise(mono)
    found = [np.concatenate(parts)[late:] for parts in zip(*seen, strict=True)]
    hops = -(-len(mono) // HOP_SIZE)
    padded = np.zeros((hops, HOP_SIZE), np.float32)
    padded.reshape(-1)[: len(mono)] = mono
    analyzer = Analyzer()
    expected = [[np.copy(x) for x in analyzer.analyze(padded[i : i + MAX_HOPS])] for i in range(0, hops, MAX_HOPS)]
    for actual, *parts in zip(found[:-2], *expected, strict=True):
        assert np.concatenate(parts).tobytes() == actual[:hops].tobytes()
    assert np.array_equal(found[-2][:hops], script[0, :hops])
    assert np.array_equal(found[-1][:hops], script[0, ::-1][:hops])


def test_voicing_is_of_the_hop_that_is_put_out(random_model, mono):
    at_once, late = Scripted(random_model, 1.0, 0.0), Scripted(random_model, 1.0, 0.0, 40)
    voicings = []
    for start in range(0, 140 * HOP_SIZE, HOP_SIZE):
        hop = mono[start : start + HOP_SIZE]
        at_once.process(hop), late.process(hop)
        voicings.append((at_once.voicing, late.voicing))
    now, then = np.array(voicings).T
    assert not then[:40].any() and np.array_equal(then[40:], now[:-40]) and np.ptp(now) > 0.5


@pytest.mark.parametrize("post_filter", [False, True])
def test_full_gain_returns_the_high_passed_input_one_latency_later(random_model, mono, post_filter):
    denoiser = Scripted(random_model, 1.0, 0.0, post_filter=post_filter)
    out = run(denoiser, mono)
    assert out.dtype == np.float32
    assert snr_db(delayed(mono), out) > 110


def test_zero_gain_is_exact_silence(random_model, stereo):
    assert not run(Scripted(random_model, 0.0, 1.0, channels=2), stereo).any()


@pytest.mark.parametrize("wanted", [None, False, True, 0.3])
@pytest.mark.parametrize("trained_for", [None, False, True, 0.5])
def test_the_model_decides_about_the_post_filter_unless_told(random_model, mono, trained_for, wanted):
    metadata = random_model.metadata | ({} if trained_for is None else {"post_filter": trained_for})
    model = replace(random_model, metadata=metadata)
    gain = np.random.default_rng(8).random((1, 200, 34)).astype(np.float32)

    def out(model, **options):
        return run(Scripted(model, gain, 0.0, **options), mono)

    found = out(model, **({} if wanted is None else {"post_filter": wanted}))
    with_filter, without = (out(random_model, post_filter=on) for on in (True, False))
    assert not np.array_equal(with_filter, without)
    expected = trained_for if wanted is None else wanted
    assert np.array_equal(found, out(random_model, post_filter=True if expected is None else expected))
    assert np.array_equal(found, without) == (expected is False)
    assert np.array_equal(found, with_filter) == (expected in (None, True))


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_of_the_post_filter_is_0_to_1(random_model, share):
    with pytest.raises(ValueError, match=r"post_filter is .*, it must be True, False or 0 to 1"):
        Denoiser(random_model, post_filter=share)


@pytest.mark.parametrize("post_filter", [False, True, 0.5])
@pytest.mark.parametrize("limit_db", [None, 12.0])
def test_whole_path_equals_the_reference(random_model, mono, post_filter, limit_db):
    rng = np.random.default_rng(7)
    hops = 60
    samples = mono[: hops * HOP_SIZE]
    gain, strength = rng.random((2, 1, hops, 34)).astype(np.float32)
    period = Analyzer().analyze(samples.reshape(hops, HOP_SIZE)).period
    dry = 0.0 if limit_db is None else 10 ** (-limit_db / 20)
    expected = reference.denoise(samples, period, gain[0], strength[0], post_filter, dry)
    denoiser = Scripted(random_model, gain, strength, post_filter=post_filter, attenuation_limit_db=limit_db)
    assert snr_db(expected, denoiser.process(samples)) > 100


@pytest.mark.parametrize("post_filter", [False, True])
def test_linked_channels_share_gain_strength_and_post_filter(random_model, stereo, post_filter):
    hops = 40
    samples = stereo[: hops * HOP_SIZE]
    gain, strength = np.random.default_rng(9).random((2, 2, hops, 34)).astype(np.float32)
    period = [Analyzer().analyze(x.reshape(hops, HOP_SIZE).copy()).period for x in samples.T]
    E = np.array([reference.analyze(x, T)[2] for x, T in zip(samples.T, period, strict=True)])
    one_gain, one_strength = reference.link(E, gain, strength)
    if post_filter:
        one_gain = [reference.postfilter(g, e) for g, e in zip(one_gain, E.sum(axis=0), strict=True)]
    out = Scripted(random_model, gain, strength, channels=2, post_filter=post_filter).process(samples)
    for channel in range(2):
        expected = reference.denoise(samples[:, channel], period[channel], one_gain, one_strength)
        assert snr_db(expected, out[:, channel]) > 90


def test_silence_in_is_exact_silence_out(either_model):
    denoiser = Denoiser(either_model, channels=2)
    out = run(denoiser, np.zeros((SAMPLES, 2), np.float32))
    assert out.shape == (SAMPLES + denoiser.latency, 2) and not out.any()


def test_silence_around_a_sound_stays_exact_silence(random_model):
    samples = np.zeros(480 * 60, np.float32)
    loud = slice(480 * 20, 480 * 30)
    samples[loud] = 1e-2 * np.random.default_rng(1).standard_normal(4800)
    out = run(Scripted(random_model, 1.0, 1.0), samples)[LATENCY_SAMPLES:]
    assert np.std(out[loud]) > 1e-3
    assert not out[: 480 * 19].any()
    assert np.abs(out[480 * 31 :]).max() < 1e-4  # what the high-pass lets ring is all that is left


PIECES = st.one_of(
    st.sampled_from([0, 1, 479, HOP_SIZE, HOP_SIZE + 1, 64 * HOP_SIZE, 65 * HOP_SIZE, 130 * HOP_SIZE]),
    st.integers(0, 3000),
)


def check_cuts(denoiser, samples, cuts, expected):
    assert run(denoiser, samples, cuts).tobytes() == expected.tobytes()


@pytest.mark.parametrize("kind", ["mono", "linked", "unlinked"])
def test_any_cut_of_the_stream_gives_the_same_bits(either_model, mono, stereo, kind):
    samples = mono if kind == "mono" else stereo
    options = {"channels": samples.ndim, "linked": kind != "unlinked"}
    expected = run(Denoiser(either_model, **options), samples)
    assert len(expected) == SAMPLES + either_model.latency_samples and np.std(expected) > 1e-3

    @given(cuts=st.lists(PIECES, max_size=30))
    @settings(max_examples=20, deadline=None)
    @example(cuts=[0])
    @example(cuts=[HOP_SIZE] * 150)
    @example(cuts=[1] * 500)
    @example(cuts=[(MAX_HOPS + 1) * HOP_SIZE + 7, 0, 1])
    def check(cuts):
        check_cuts(Denoiser(either_model, **options), samples, cuts, expected)

    check()


def test_any_cut_gives_the_same_bits_with_the_full_network(full_model, mono):
    assert full_model.num_weights == 7_948_288
    samples = mono[: 70 * HOP_SIZE]
    expected = run(Denoiser(full_model), samples)
    for cuts in ([HOP_SIZE] * 70, [1, 479, 33 * HOP_SIZE, 0, 5000], [3 * HOP_SIZE - 1] * 30):
        check_cuts(Denoiser(full_model), samples, cuts, expected)


@given(samples=st.integers(0, 3000), cut=st.integers(0, 3000), channels=st.integers(1, 3))
@settings(max_examples=40, deadline=None)
@pytest.mark.parametrize("kind", ["causal", "bidirectional"])
def test_output_is_longer_by_exactly_the_latency(random_model, two_way_model, kind, samples, cut, channels):
    denoiser = Denoiser(random_model if kind == "causal" else two_way_model, channels=channels)
    stream = np.ones((samples, channels), np.float32)
    first = denoiser.process(stream[:cut])
    assert first.shape == (min(cut, samples) // HOP_SIZE * HOP_SIZE, channels)
    rest = denoiser.process(stream[cut:])
    tail = denoiser.flush()
    assert len(first) + len(rest) + len(tail) == samples + denoiser.latency
    assert rest.shape[1:] == tail.shape[1:] == (channels,)
    assert np.all(np.isfinite(tail))


def test_mono_may_have_one_axis_or_two(random_model, mono):
    flat = run(Denoiser(random_model), mono)
    assert flat.ndim == 1
    assert run(Denoiser(random_model), mono[:, None]).tobytes() == flat.tobytes()


@pytest.mark.parametrize("end", ["reset", "flush"])
def test_reset_and_flush_start_a_new_stream(either_model, stereo, end):
    denoiser = Denoiser(either_model, channels=2)
    denoiser.process(stereo[::-1][:77777])
    getattr(denoiser, end)()
    assert run(denoiser, stereo).tobytes() == run(Denoiser(either_model, channels=2), stereo).tobytes()


def test_streams_that_share_a_model_do_not_touch_each_other(random_model, mono):
    tensors = {name: tensor.tobytes() for name, tensor in random_model.tensors.items()}
    streams = (mono, mono[::-1].copy())
    alone = [run(Denoiser(random_model), samples) for samples in streams]
    denoisers = [Denoiser(random_model) for _ in streams]
    parts = [[], []]
    for start in range(0, SAMPLES, 1000):
        for index, denoiser in enumerate(denoisers):
            parts[index].append(denoiser.process(streams[index][start : start + 1000]))
    for index, denoiser in enumerate(denoisers):
        assert np.concatenate([*parts[index], denoiser.flush()]).tobytes() == alone[index].tobytes()
    assert tensors == {name: tensor.tobytes() for name, tensor in random_model.tensors.items()}


def test_input_is_neither_kept_nor_changed(random_model, stereo):
    kept = stereo[:5000].copy()
    given_array = kept.copy()
    denoiser = Denoiser(random_model, channels=2)
    first = denoiser.process(given_array)
    assert np.array_equal(given_array, kept)
    given_array[:] = 7  # what waits for the next hop must be a copy
    again = first.copy()
    rest = denoiser.process(stereo[5000:])
    assert np.array_equal(first, again)
    whole = Denoiser(random_model, channels=2).process(stereo)
    assert np.concatenate((first, rest)).tobytes() == whole.tobytes()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_hop_of_garbage_acts_as_silence_and_is_forgotten(random_model, stereo, value):
    broken, mended = stereo.copy(), stereo.copy()
    broken[20000:20700, 1] = value
    mended[20000:20700, 1] = 0
    out = run(Denoiser(random_model, channels=2), broken)
    assert np.all(np.isfinite(out))
    assert out.tobytes() == run(Denoiser(random_model, channels=2), mended).tobytes()


@pytest.mark.parametrize("level", [1e30, 3e38, 1e6, 1e-10, 1e-30, 1e-42])
def test_any_level_gives_finite_output(random_model, mono, level):
    with np.errstate(under="ignore"):
        samples = (np.sign(mono) * np.float32(level)).astype(np.float32)
    denoiser = Denoiser(random_model)
    out = run(denoiser, samples[:40000])
    assert np.all(np.isfinite(out))
    if level < 1e-20:
        assert not out.any()
    assert np.all(np.isfinite(denoiser.process(mono)))


def float_arrays(thing, seen):
    """All float arrays that an object of the package holds."""
    if id(thing) in seen:
        return
    seen.add(id(thing))
    if isinstance(thing, np.ndarray):
        if thing.dtype.kind in "fc":
            yield thing
    elif isinstance(thing, list | tuple):
        for item in thing:
            yield from float_arrays(item, seen)
    elif type(thing).__module__.startswith("percepnet_cli") and not isinstance(thing, MethodType):
        for value in vars(thing).values():
            yield from float_arrays(value, seen)


def test_after_a_decay_only_zeros_or_normal_numbers_are_left(random_model, mono):
    denoiser = Denoiser(random_model)
    denoiser.process(mono)
    for _ in range(3):
        denoiser.process(np.zeros(100 * HOP_SIZE, np.float32))
    arrays = list(float_arrays(denoiser, set()))
    assert sum(array.size for array in arrays) > 100_000
    for array in arrays:
        magnitude = np.abs(np.stack((array.real, array.imag)))
        assert not np.any((magnitude > 0) & (magnitude < np.finfo(np.float32).tiny))
    ends = denoiser._channels[0]._ends
    tail = ends.synthesizer
    for array in float_arrays([ends.analyzer.signal, tail.spectra, tail.windows, tail.overlap], set()):
        assert not array.any()
    assert not denoiser.process(np.zeros(HOP_SIZE, np.float32)).any()


def test_linked_channels_keep_the_stereo_image(random_model, mono):
    both = np.stack((mono, 0.25 * mono), axis=1)
    out = run(Denoiser(random_model, channels=2), both)
    assert snr_db(0.25 * out[:, 0], out[:, 1]) > 90
    apart = run(Denoiser(random_model, channels=2, linked=False), both)
    assert snr_db(0.25 * apart[:, 0], apart[:, 1]) < 40


@pytest.mark.parametrize("post_filter", [False, True])
def test_one_compiled_call_gives_the_same_bits_as_its_parts(random_model, mono, post_filter):
    options = {"post_filter": post_filter, "attenuation_limit_db": 20}
    seen = []
    whole, parted = (
        Denoiser(random_model, **options),
        Denoiser(random_model, **options, observer=lambda *x: seen.append(1)),
    )
    for part in np.split(mono, [480, 5000, 40000]):
        assert whole.process(part).tobytes() == parted.process(part).tobytes()
        assert whole.voicing == parted.voicing
    assert seen and whole._channels[0].is_one_call


def test_unlinked_channels_are_two_mono_streams(random_model, stereo):
    out = run(Denoiser(random_model, channels=2, linked=False), stereo)
    for channel in range(2):
        alone = run(Denoiser(random_model), stereo[:, channel])
        assert alone.tobytes() == out[:, channel].tobytes()


def test_linking_equal_channels_is_mono(random_model, mono):
    out = run(Denoiser(random_model, channels=3), np.stack((mono,) * 3, axis=1))
    alone = run(Denoiser(random_model), mono)
    assert all(snr_db(alone, out[:, channel]) > 90 for channel in range(3))


def test_no_attenuation_allowed_returns_the_input(either_model, mono):
    denoiser = Denoiser(either_model, attenuation_limit_db=0)
    assert snr_db(delayed(mono)[LATENCY_SAMPLES:], denoiser.denoise(mono)) > 110


def test_in_both_directions_8_bits_sound_like_float(two_way_models, mono):
    """The whole path with blocks: a hop in a wrong place would be heard."""
    quantized, exact = two_way_models
    expected = Denoiser(exact, predictor=FloatState).denoise(mono)
    assert snr_db(expected, Denoiser(quantized).denoise(mono)) > 30
    shifted = np.concatenate((expected[HOP_SIZE:], np.zeros(HOP_SIZE)))
    assert snr_db(expected, shifted) < 10


@pytest.mark.parametrize("limit_db", [3.0, 12.0, 40.0])
def test_noise_stays_at_the_attenuation_limit(random_model, mono, limit_db):
    out = run(Scripted(random_model, 0.0, 0.5, attenuation_limit_db=limit_db), mono)
    assert snr_db(delayed(mono) * 10 ** (-limit_db / 20), out) > 100


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"channels": 0}, "channels"),
        ({"attenuation_limit_db": -1.0}, "attenuation_limit_db"),
        ({"attenuation_limit_db": float("nan")}, "attenuation_limit_db"),
    ],
)
def test_senseless_options_are_refused(random_model, options, word):
    with pytest.raises(ValueError, match=word):
        Denoiser(random_model, **options)


@pytest.mark.parametrize("shape", [(100, 3), (2, 100), (100,), (5, 2, 2)])
def test_wrong_channels_are_refused(random_model, shape):
    with pytest.raises(ValueError, match="shape"):
        Denoiser(random_model, channels=2).process(np.zeros(shape, np.float32))


@pytest.mark.parametrize("linked", [True, False])
def test_threads_give_the_same_bits(either_model, linked):
    samples = noise((480 * 150, 5), np.random.default_rng(8), 0.1)
    found = [
        run(Denoiser(either_model, channels=5, linked=linked, threads=threads), samples, (1000, 480, 5000))
        for threads in (1, 2, 5)
    ]
    assert found[0].any() and all(np.array_equal(found[0], other) for other in found[1:])


def test_threads_must_be_positive(random_model):
    with pytest.raises(ValueError, match="threads is 0"):
        Denoiser(random_model, threads=0)


def test_a_long_run_of_single_hops_keeps_no_memory(either_model):
    denoiser = Denoiser(either_model)
    hop = noise(480, np.random.default_rng(9), 0.1)
    for _ in range(200):
        denoiser.process(hop)
    tracemalloc.start()

    try:
        for _ in range(70):
            denoiser.process(hop)
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        for _ in range(700):
            out = denoiser.process(hop)
        after, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    # Less than a twentieth of the samples; numba asks for attributes by strings that Python's cache of them keeps, 4096
    assert after - before < 65_536
    # The output and small change; once in 64 hops what is kept moves: 21 KB of signal, and the spectra that wait
    assert peak - before < 40_000 + 8 * 481 * either_model.latency_hops
    assert out.shape == (480,)
