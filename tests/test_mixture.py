"""Training mixtures: levels, ratios and damage as the recipe says, and the same again from the same seed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import fftconvolve, lfilter
from signals import noise, snr_db, speech, tone

from percepnet_cli.audio.resample import change_speed
from percepnet_cli.training.data import filters, synthetic
from percepnet_cli.training.data.corpus import Library, Recording, find
from percepnet_cli.training.data.mixture import draw, transients
from percepnet_cli.training.data.recipe import BALANCED, RECIPE, Recipe
from percepnet_cli.training.data.sources import Sources, coming_and_going, draw_noise, draw_speech, silence_pauses
from percepnet_cli.training.data.voices import phrases, step_levels

PLAIN = Recipe(
    seconds=3.0,
    speech_only=0,
    noise_only=0,
    usual_snr=0,
    snr_db=(7, 7),
    level_db=(-30, -30),
    delayed_start=0,
    rir=0,
    color=0,
    low_pass=0,
    clip=0,
    round_to_16_bits=0,
    dropout=0,
    babble=0,
    change_speed=0,
)
"""Speech and noise, nothing else."""


@pytest.fixture
def sources(corpus):
    return Sources(*(find(corpus / name) for name in ("speech", "noise", "rir")))


def level_db(samples):
    """RMS over the 10 ms that lie within 30 dB of the loud ones, dB below full scale."""
    power = np.mean(samples[: len(samples) // 480 * 480].reshape(-1, 480).astype(float) ** 2, axis=1)
    active = power > np.percentile(power[power > 0], 95) / 1000
    return 10 * np.log10(power[active].mean())


@given(snr=st.floats(-10, 50), level=st.floats(-50, -26), seed=st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_level_and_ratio_are_those_drawn(corpus, snr, level, seed):
    sources = Sources(*(find(corpus / name) for name in ("speech", "noise", "rir")))
    recipe = replace(PLAIN, snr_db=(snr, snr), level_db=(level, level))
    rng = np.random.default_rng(seed)
    sound = draw_noise(sources, recipe.size, rng, recipe)
    mixture = draw(sources, rng, recipe, noise=sound)
    assert len(mixture.noisy) == len(mixture.clean) == 3 * 48000

    # The level of noise is taken before it is added: of a few knocks, what rounding leaves of the sum changes which of
    # the 10 ms are counted.
    added = mixture.noisy.astype(float) - mixture.clean
    raised_db = 10 * np.log10(np.mean(added**2) / np.mean(sound.samples.astype(float) ** 2))
    assert level_db(mixture.clean) - level_db(sound.samples) - raised_db == pytest.approx(snr, abs=0.1)
    if np.abs(mixture.noisy).max() < 0.999:
        assert level_db(mixture.clean) == pytest.approx(level, abs=0.05)


def test_the_usual_ratios_are_drawn_as_often_as_said(sources, rng):
    recipe = replace(PLAIN, seconds=1.0, usual_snr=0.7, usual_snr_db=(0, 0), snr_db=(20, 20))
    found = []
    for _ in range(40):
        mixture = draw(sources, rng, recipe)
        found.append(round(level_db(mixture.clean) - level_db(mixture.noisy - mixture.clean)))
    assert set(found) == {0, 20} and 0.5 < found.count(0) / 40 < 0.9


def test_the_same_generator_gives_the_same_samples_whatever_was_read_before(sources, corpus):
    fresh = Sources(*(find(corpus / name) for name in ("speech", "noise", "rir")))
    for seed in range(6):
        draw(fresh, np.random.default_rng(seed + 100))
        a, b, c = (
            draw(s, np.random.default_rng((seed, 1)), replace(RECIPE, seconds=2.0)) for s in (sources, fresh, fresh)
        )
        assert a.noisy.tobytes() == b.noisy.tobytes() == c.noisy.tobytes()
        assert a.clean.tobytes() == b.clean.tobytes()
        assert (a.bandwidth_hz, a.cutoff_hz) == (b.bandwidth_hz, b.cutoff_hz)
    other = draw(sources, np.random.default_rng((seed, 2)), replace(RECIPE, seconds=2.0))
    assert other.noisy.tobytes() != a.noisy.tobytes()


@pytest.mark.service
@pytest.mark.parametrize("seconds", [0.5, 1.0, 4.5])
def test_whatever_the_recipe_draws_is_finite_and_within_full_scale(sources, seconds):
    recipe = replace(
        RECIPE, seconds=seconds, clip=0.3, dropout=0.3, noise_only=0.2, delayed_start=0.5, level_db=(-60.0, 3.0)
    )
    for seed in range(40):
        mixture = draw(sources, np.random.default_rng(seed), recipe)
        for samples in (mixture.noisy, mixture.clean):
            assert samples.dtype == np.float32 and samples.shape == (round(seconds * 100) * 480,)
            assert samples.flags.c_contiguous and np.all(np.isfinite(samples))
        assert np.abs(mixture.noisy).max() <= 1
        assert 1000 < mixture.cutoff_hz <= 24000 and 1000 < mixture.bandwidth_hz <= 24000


@pytest.mark.parametrize("seconds", [0.2, 1.0, 5.0])
def test_a_delayed_start_is_silence_and_changes_no_length(sources, seconds):
    recipe = replace(PLAIN, seconds=seconds, delayed_start=1, speech_only=1)
    for seed in range(8):
        mixture = draw(sources, np.random.default_rng(seed), recipe)
        assert mixture.clean.shape == (round(seconds * 48000),)
        assert not mixture.clean[: min(14399, len(mixture.clean))].any()


def test_speech_only_and_noise_only_are_what_they_say(sources, rng):
    alone = draw(sources, rng, replace(PLAIN, speech_only=1))
    assert np.array_equal(alone.noisy, alone.clean) and level_db(alone.clean) == pytest.approx(-30, abs=0.05)
    nothing = draw(sources, rng, replace(PLAIN, noise_only=1))
    assert not nothing.clean.any() and level_db(nothing.noisy) == pytest.approx(-30, abs=0.05)


def test_low_pass_empties_both_signals_above_the_cutoff(sources, rng):
    for _ in range(6):
        mixture = draw(sources, rng, replace(PLAIN, low_pass=1))
        frequency = np.fft.rfftfreq(len(mixture.noisy), 1 / 48000)
        assert 3000 <= mixture.cutoff_hz < 24000
        for samples in (mixture.noisy, mixture.clean):
            power = np.abs(np.fft.rfft(samples * np.hanning(len(samples)))) ** 2
            assert power[frequency > 1.04 * mixture.cutoff_hz].sum() < 1e-9 * power.sum()
            assert (
                power[(frequency > 0.9 * mixture.cutoff_hz) & (frequency < mixture.cutoff_hz)].sum()
                > 1e-9 * power.sum()
            )


def test_overload_clips_the_noisy_signal_alone(sources, rng):
    mixture = draw(sources, rng, replace(PLAIN, clip=1, snr_db=(30, 30)))
    assert np.sum(np.abs(mixture.noisy) == 1) > 1
    assert np.abs(mixture.clean).max() > 1.1
    low = np.abs(mixture.clean) < 0.9
    assert snr_db(mixture.clean[low], mixture.noisy[low]) > 20


def test_what_would_overload_is_turned_down_with_its_target(sources, rng):
    mixture = draw(sources, rng, replace(PLAIN, speech_only=1, level_db=(10, 10)))
    assert np.abs(mixture.noisy).max() == 1 and np.array_equal(mixture.noisy, mixture.clean)


def test_the_narrowest_recording_sets_the_bandwidth(sources, rng, monkeypatch):
    monkeypatch.setattr(Library, "known_up_to_hz", Library.bandwidth_hz)
    anna = [r for r in sources.speech.recordings if r.group == "anna"]
    anna = [replace(r, bandwidth_hz=hz) for r, hz in zip(anna, (9000.0, 4000.0), strict=True)]
    narrow = Sources(anna, sources.noise.recordings, [], replace(PLAIN, narrow_share=1))
    assert draw_speech(narrow, 20 * 48000, rng, PLAIN)[1] == 4000
    assert draw(narrow, rng, replace(PLAIN, seconds=20.0)).bandwidth_hz == 4000
    for speed in (0.9, 1.25):
        speech, bandwidth_hz = draw_speech(
            narrow, 20 * 48000, rng, replace(PLAIN, change_speed=1, speech_speed=(speed, speed))
        )
        assert bandwidth_hz == pytest.approx(4000 * speed) and len(speech) == 20 * 48000


def test_noises_are_drawn_by_the_root_of_their_length():
    made = [Recording(f"{seconds}", "x", None, seconds) for seconds in (1.0, 4.0, 25.0, 3000.0)]
    chance = Sources([], made, []).noise.chance
    assert chance == pytest.approx(np.sqrt([1, 4, 25, 30]) / np.sqrt([1, 4, 25, 30]).sum())


def test_a_recording_played_faster_is_shorter_and_higher():
    faster = change_speed(tone(1000.0, 48000, 0.25), 1.25)
    assert abs(len(faster) - 48000 / 1.25) <= 1
    assert snr_db(tone(1250.0, len(faster), 0.25)[2000:-2000], faster[2000:-2000]) > 60
    assert np.abs(change_speed(tone(23000.0, 48000, 0.25), 1.3)[2000:-2000]).max() < 1e-3


def test_rounding_makes_16_bit_samples(sources, rng):
    mixture = draw(sources, rng, replace(PLAIN, round_to_16_bits=1))
    steps = mixture.noisy.astype(float) * 32767
    assert np.abs(steps - np.round(steps)).max() < 1e-3
    assert np.abs(mixture.clean.astype(float) * 32767 % 1 - 0.5).min() < 0.05  # the target is not rounded


def test_dropouts_silence_both_signals(sources, rng):
    mixture = draw(sources, rng, replace(PLAIN, dropout=1))
    empty = mixture.noisy == 0
    assert empty.sum() > 4000 and not mixture.clean[empty].any()


def test_rirs_leave_only_early_sound_in_a_target_without_tail(sources, corpus, rng):
    recipe = replace(PLAIN, rir=1, given_rir=1, speech_only=1, target_rt60_s=0)
    mixture = draw(sources, rng, recipe)
    assert 1 < snr_db(mixture.clean, mixture.noisy) < 20
    echo = mixture.noisy - mixture.clean
    first = np.flatnonzero(np.abs(mixture.clean) > 1e-4)[0]
    assert not np.abs(echo[: first + 900]).max() > 1e-6  # nothing of it within the first 20 ms


def test_speech_of_one_speaker_at_equal_levels(sources, rng):
    speech, bandwidth_hz = draw_speech(sources, 10 * 48000, rng)
    assert speech.shape == (480_000,) and speech.dtype == np.float32
    assert level_db(speech) == pytest.approx(0, abs=1.5)
    assert 3000 < bandwidth_hz <= 24000


def test_pauses_become_silence_and_speech_stays(rng):
    voice = np.zeros(480 * 200, np.float32)
    for start, end in ((20, 60), (95, 130), (140, 180)):  # 350 ms of pause, then 100 ms
        voice[480 * start : 480 * end] = tone(300, 480 * (end - start), 0.3)
    recording = voice + noise(len(voice), rng, 1e-4)
    out = silence_pauses(recording)
    for start, end in ((0, 14), (67, 88), (187, 200)):
        assert not out[480 * start : 480 * end].any()
    for start, end in ((18, 62), (93, 182)):  # with the short pause
        assert np.array_equal(out[480 * start : 480 * end], recording[480 * start : 480 * end])
    assert np.all(np.abs(out) <= np.abs(recording))


def test_pauses_of_noisy_recordings_are_found_too_and_steady_ones_left_alone(rng):
    voice, _ = speech(480 * 300, rng)
    out = silence_pauses(voice + noise(len(voice), rng, 0.002))
    assert 0.05 < np.mean(out == 0) < 0.3
    steady = noise(480 * 100, rng)
    assert np.array_equal(silence_pauses(steady), steady)
    assert np.array_equal(silence_pauses(steady[:5000]), steady[:5000])


def test_building_blocks_equal_slow_ones(rng):
    samples = noise(4800, rng)
    b, a = np.array([1.0, -0.4, 0.3]), np.array([1.0, -0.5, 0.2])
    out = np.empty_like(samples)
    filters.biquad(samples, b, a, out)
    assert snr_db(lfilter(b, a, samples.astype(float)), out) > 120
    response = noise(700, rng)
    assert snr_db(fftconvolve(samples.astype(float), response)[:4800], filters.convolve(samples, response)) > 100
    assert 20 * np.log10(filters.active_rms(samples)) == pytest.approx(level_db(samples), abs=1e-3)
    assert filters.active_rms(np.zeros(4800, np.float32)) == 0 == filters.active_rms(samples[:100])


def test_a_shortened_tail_keeps_20_ms_and_decays_as_told(rng):
    decay = 10 ** (-3 * np.arange(48000) / 48000 / 0.8)
    response = (rng.standard_normal(48000) * decay * 0.1).astype(np.float32)
    response[50] = 1
    assert filters.reverberation_time(response[51:]) == pytest.approx(0.8, rel=0.1)
    shortened = filters.shorten_tail(response, 0.2)
    assert np.array_equal(shortened[:1010], response[:1010])
    assert filters.reverberation_time(shortened[1010:]) == pytest.approx(0.2, rel=0.15)
    assert np.array_equal(filters.shorten_tail(shortened[1010:], 0.5), shortened[1010:])
    assert (
        np.abs(filters.shorten_tail(response, 0)[1200:]).max() < 1e-9
        and len(filters.shorten_tail(response[:500], 0)) == 500
    )


@pytest.mark.parametrize("maker", [synthetic.colored_noise, synthetic.hum, synthetic.chirps, synthetic.crackle])
def test_synthetic_noises_are_finite_sound(maker):
    for seed in range(20):
        made = maker(48000, np.random.default_rng(seed))
        assert made.shape == (48000,) and made.dtype == np.float32
        assert np.all(np.isfinite(made)) and np.std(made) > 1e-3


def test_synthetic_rirs_start_with_the_direct_sound_and_decay():
    for seed in range(20):
        response = filters.synthetic_rir(np.random.default_rng(seed))
        assert response[0] == 1 and np.all(np.isfinite(response))
        halves = np.array_split(response[1:].astype(float) ** 2, 2)
        assert halves[1].sum() < 0.2 * halves[0].sum() and 10 ** (-1.5) < halves[0].sum() + halves[1].sum() < 10**0.31


def test_random_filters_are_stable_and_differ(rng):
    samples = noise(48000, rng)
    levels = [np.std(filters.random_filter(samples, rng)) / np.std(samples) for _ in range(60)]
    assert max(levels) < 30 and min(levels) > 0.01 and len(np.unique(levels)) > 30


def only(**changes):
    """The plain recipe with something more."""
    return replace(PLAIN, seconds=6.0, synthetic_noise=0, **changes)


def test_music_is_one_piece_at_its_own_ratio(corpus, rng):
    speech_recordings = find(corpus / "speech")
    piece = replace(find(corpus / "noise")[0], kind="music")
    sources = Sources(speech_recordings, [piece], [])
    mixture = draw(sources, rng, only(music=1, music_snr_db=(3, 3)))
    assert mixture.tags == ("music",)
    assert level_db(mixture.clean) - level_db(mixture.noisy - mixture.clean) == pytest.approx(3, abs=0.2)
    # it is drawn as nothing else
    other = draw(sources, rng, only(music=0))
    assert "recorded" not in other.tags


def test_a_crowd_is_of_several_voices_at_its_own_ratio(sources, monkeypatch):
    from percepnet_cli.training.data import sources as module

    heard = []
    original = module.draw_speech

    def listen(sources, size, rng, recipe=RECIPE, speaker=None):
        heard.append(speaker)
        return original(sources, size, rng, recipe, speaker)

    monkeypatch.setattr(module, "draw_speech", listen)
    for seed in range(12):
        heard.clear()
        mixture = draw(sources, np.random.default_rng(seed), only(crowd=1, crowd_snr_db=(-2, -2)))
        voices = [speaker for speaker in heard if speaker is not None]
        assert mixture.tags == ("crowd",) and 3 <= len(voices) <= 6
        assert len(set(voices)) == 3  # as many speakers as there are
        assert level_db(mixture.clean) - level_db(mixture.noisy - mixture.clean) == pytest.approx(-2, abs=0.2)


def test_nearly_clean_speech_comes_before_what_a_noise_asks_for(sources, rng):
    recipe = only(crowd=1, crowd_snr_db=(0, 0), nearly_clean=1, nearly_clean_snr_db=(30, 30))
    mixture = draw(sources, rng, recipe)
    assert mixture.tags == ("crowd", "nearly clean")
    assert level_db(mixture.clean) - level_db(mixture.noisy - mixture.clean) == pytest.approx(30, abs=0.2)


def test_soft_speech_keeps_its_ratio(sources, rng):
    mixture = draw(sources, rng, only(soft=1, soft_level_db=(-58, -58)))
    assert level_db(mixture.clean) == pytest.approx(-58, abs=0.1)
    assert level_db(mixture.clean) - level_db(mixture.noisy - mixture.clean) == pytest.approx(7, abs=0.2)


def test_phrases_are_what_lies_between_pauses(rng):
    voice = np.zeros(480 * 300, np.float32)
    for start, end in ((10, 50), (55, 90), (120, 200)):  # pauses of 50 and of 300 ms
        voice[480 * start : 480 * end] = noise(480 * (end - start), rng)
    assert phrases(voice, 0.2) == [(10, 90), (120, 200)]
    assert phrases(voice, 0.03) == [(10, 50), (55, 90), (120, 200)]
    assert phrases(np.zeros(48000, np.float32), 0.2) == []


def test_levels_step_in_pauses_alone(rng):
    voice = np.zeros(480 * 600, np.float32)
    spans = [(start, start + 40) for start in range(0, 600, 60)]
    for start, end in spans:
        voice[480 * start : 480 * end] = tone(200, 480 * 40, 0.5)
    recipe = replace(RECIPE, level_step_db=(10, 20))

    steps = []
    for seed in range(10):
        stepped = step_levels(voice, np.random.default_rng(seed), recipe)
        gains = []
        for start, end in spans:
            gain = stepped[480 * start + 50 : 480 * end] / np.where(voice[480 * start + 50 : 480 * end] == 0, np.nan, 1)
            ratio = stepped[480 * start : 480 * end] @ voice[480 * start : 480 * end]
            ratio /= voice[480 * start : 480 * end] @ voice[480 * start : 480 * end]
            np.testing.assert_allclose(
                stepped[480 * start : 480 * end], ratio * voice[480 * start : 480 * end], atol=1e-3
            )
            assert np.isfinite(gain[np.isfinite(gain)]).all()
            gains.append(20 * np.log10(ratio))
        assert max(gains) < 0.01 + 15 and min(gains) > -26
        steps += [abs(step) for step in np.diff(gains) if abs(step) > 0.01]

    assert len(steps) > 30 and min(steps) > 9.9 and max(steps) < 20.1


@pytest.mark.parametrize("lead_ms", [20, 150])
def test_knocks_come_right_before_speech_sets_in(corpus, lead_ms, rng):
    sources = Sources(find(corpus / "speech"), [], [])
    voice = np.zeros(480 * 400, np.float32)
    for start, end in ((60, 120), (150, 200), (210, 300)):  # after 600, 300 and 100 ms
        voice[480 * start : 480 * end] = noise(480 * (end - start), rng, 0.1)
    recipe = replace(RECIPE, onset_share=1, onset_lead_ms=(lead_ms, lead_ms), onset_level_db=(6, 6))
    loudest = np.abs(voice).max()
    for seed in range(10):
        knocks = transients(sources, voice, np.random.default_rng(seed), recipe)
        peaks = [start * 480 - lead_ms * 48 for start in (60, 150)]
        for peak in peaks:
            assert np.abs(knocks[peak - 1 : peak + 2]).max() == pytest.approx(loudest * 10**0.3, rel=0.35)
        quiet = np.ones(len(knocks), bool)
        for peak in peaks:
            quiet[max(0, peak - 19200) : peak + 19200] = False
        assert not knocks[quiet].any()


def test_knocks_are_no_part_of_the_target_and_change_no_level(sources):
    recipe = only(onset_transients=1, onset_level_db=(0, 0), snr_db=(40, 40), delayed_start=1)
    for seed in range(6):
        with_knocks, without = (
            draw(sources, np.random.default_rng(seed), replace(recipe, onset_share=share)) for share in (1, 0)
        )
        assert "onset transients" in with_knocks.tags
        # the generators part ways after the knocks, but for the speech
        assert np.abs(with_knocks.noisy - with_knocks.clean).max() > 10 * np.abs(without.noisy - without.clean).max()
        assert level_db(with_knocks.clean) == pytest.approx(level_db(without.clean), abs=0.01)


def test_noises_come_and_go(rng):
    shapes = [coming_and_going(8 * 48000, np.random.default_rng(seed)) for seed in range(60)]
    for gain in shapes:
        assert gain.shape == (8 * 48000,) and gain.dtype == np.float32
        assert np.all((gain >= 0) & (gain <= 1)) and gain.max() > 0.09
        assert np.abs(np.diff(gain)).max() < 1 / 239  # no click
    assert sum(gain[0] == 0 and gain[-1] == 1 for gain in shapes) > 6
    assert sum(gain[0] == 1 and gain[-1] == 0 for gain in shapes) > 6
    assert sum(gain[0] == gain[-1] == 1 and gain.min() == 0 for gain in shapes) > 6
    assert sum(0 < gain.min() < gain.max() <= 1 for gain in shapes) > 6


def test_a_noise_that_takes_turns_is_one_at_a_time(corpus, rng, monkeypatch):
    from percepnet_cli.training.data import sources as module

    sources = Sources([], find(corpus / "noise"), [])
    tones_hz = iter([400.0, 4000.0] * 50)
    monkeypatch.setattr(
        module, "_one_noise", lambda sources, size, rng, recipe: (tone(next(tones_hz), size, 0.3), "tone")
    )
    recipe = only(noise_switch=1, more_noises=(1, 0), color=0)
    changed = 0
    for seed in range(12):
        made = draw_noise(sources, 6 * 48000, np.random.default_rng(seed), recipe)
        assert made.tags == ("switch", "tone", "tone") and made.snr_db is None
        spectra = np.abs(np.fft.rfft(made.samples.reshape(-1, 4800) * np.hanning(4800), axis=1))
        low, high = spectra[:, 40], spectra[:, 400]
        both = (low > 0.1 * low.max()) & (high > 0.1 * high.max())
        assert both.mean() < 0.1 and (low[0] > low[-1] or low.max() == low[0]) and high[-1] >= high[0]
        changed += low[0] > 10 * low[-1]
    assert changed > 6


@pytest.mark.service
def test_every_recipe_draws_what_it_says(corpus):
    found = find(corpus / "noise")
    sources = Sources(
        find(corpus / "speech"), [*found, replace(found[0], kind="music")], find(corpus / "rir"), BALANCED
    )
    tags = []
    for seed in range(300):
        tags += draw(sources, np.random.default_rng(seed), replace(BALANCED, seconds=1.0)).tags
    for tag, chance in (
        ("music", BALANCED.music * 0.95),
        ("nearly clean", BALANCED.nearly_clean),
        ("soft", BALANCED.soft),
        ("rir", BALANCED.rir),
        ("level steps", BALANCED.level_steps * 0.95),
        ("onset transients", BALANCED.onset_transients * 0.95),
    ):
        assert tags.count(tag) / 300 == pytest.approx(chance, abs=4 * np.sqrt(chance / 300))
    assert {name for name, _ in BALANCED.synthetic_kinds} == set(synthetic.MAKERS)
    assert sum(share for _, share in BALANCED.synthetic_kinds) == pytest.approx(1)


def test_convolution_with_several_responses_shares_the_signal(rng):
    samples = noise(48000 - 11, rng)
    responses = [noise(size, rng) for size in (1, 480, 481, 1920, 5000)]
    for response, found in zip(responses, filters.convolve_each(samples, responses), strict=True):
        assert snr_db(fftconvolve(samples.astype(float), response)[: len(samples)], found) > 100
    trimmed = filters.trim_tail(np.concatenate((noise(500, rng), np.zeros(100, np.float32))))
    assert len(trimmed) == 500 and filters.trim_tail(np.float32([1.0])).tolist() == [1.0]
