"""How often each recording is drawn: shares of collections, speakers and folders, caps, and what cannot be read."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from signals import noise

from percepnet_cli.errors import AudioError
from percepnet_cli.training.data.corpus import Library, Recording
from percepnet_cli.training.data.draws import Draw, cap, noise_draw, speech_draw


def voice(speaker, collection="", seconds=4.0, bandwidth_hz=20000.0, kind="", count=1):
    return [
        Recording(f"{collection}/{speaker}/{n}.wav", speaker, bandwidth_hz, seconds, collection, kind)
        for n in range(count)
    ]


def share(draw, wanted):
    return sum(chance for r, chance in zip(draw.recordings, draw.chance, strict=True) if wanted(r))


@pytest.mark.parametrize("seconds", [None, 4.0])
def test_without_columns_speakers_count_by_the_root_of_their_length(seconds):
    counts = (("a", 4), ("b", 1), ("c", 900))
    draw = speech_draw([r for name, count in counts for r in voice(name, "", seconds, count=count)], 0.1, 0.1)
    for name, weight in (("a", 2), ("b", 1), ("c", 10)):
        assert share(draw, lambda r, name=name: r.group == name) == pytest.approx(weight / 13)


def test_collections_count_by_the_third_root_of_length_times_speakers():
    many = [r for n in range(8) for r in voice(f"m{n}", "many", 10.0)]
    draw = speech_draw(many + voice("one", "one", 10.0, count=1), 1, 1)
    assert share(draw, lambda r: r.collection == "many") == pytest.approx(4 / 5)
    same_name = speech_draw(voice("x", "one", count=3) + voice("x", "two", count=3), 1, 1)
    assert len(same_name) == 2  # a name of one collection is no speaker of another


def test_words_and_narrow_recordings_are_a_tenth_at_most():
    recordings = (
        voice("w", "words", kind="words", count=50)
        + voice("n", "narrow", bandwidth_hz=8000, count=50)
        + voice("b", "both", bandwidth_hz=8000, kind="words", count=50)
        + voice("f", "free", bandwidth_hz=16000, count=3)
    )
    draw = speech_draw(recordings, 0.1, 0.1)
    assert share(draw, lambda r: r.kind == "words") == pytest.approx(0.1, abs=1e-6)
    assert share(draw, lambda r: r.bandwidth_hz <= 8200) == pytest.approx(0.1, abs=1e-6)
    free = speech_draw(recordings, 1, 1)
    assert share(free, lambda r: r.kind == "words") > 0.4
    alone = speech_draw(recordings[:50], 0.1, 0.1)  # nothing else is there
    assert alone.chance == pytest.approx(np.full(50, 0.02))


@given(seed=st.integers(0, 10**6), first=st.floats(0.01, 0.9), second=st.floats(0.01, 0.9))
@settings(max_examples=50, deadline=None)
def test_caps_hold_and_leave_what_is_below_them_in_proportion(seed, first, second):
    rng = np.random.default_rng(seed)
    chance = rng.exponential(size=12)
    a, b = rng.random(12) < 0.4, rng.random(12) < 0.4
    a[0] = b[0] = False
    capped = cap(chance, ((a, first), (b, second)))
    assert capped.sum() == pytest.approx(1) and np.all(capped >= 0)
    assert capped[a].sum() <= first + 1e-6 and capped[b].sum() <= second + 1e-6
    free = ~(a | b)
    assert capped[free] / capped[free].sum() == pytest.approx(chance[free] / chance[free].sum())


def test_a_thousand_footsteps_do_not_flood_the_noise():
    steps = [Recording(f"/steps/gravel/{n}.ogg", "x", None, 0.4, "steps") for n in range(1000)]
    rain = [
        Recording("/calls/rain/1.ogg", "x", None, 60.0, "calls"),
        Recording("/calls/bar/1.ogg", "x", None, 30.0, "calls"),
    ]
    draw = noise_draw(steps + rain)
    seconds = np.sqrt([400, 60])
    assert share(draw, lambda r: r.collection == "steps") == pytest.approx(seconds[0] / seconds.sum())
    assert share(draw, lambda r: "bar" in r.path) == pytest.approx(share(draw, lambda r: "rain" in r.path))


def test_what_is_drawn_has_the_stated_chances(rng):
    draw = speech_draw(voice("a", count=9) + voice("b", count=1), 1, 1)
    groups = Counter(draw.groups[draw.group(rng)][0].group for _ in range(4000))
    assert groups["a"] / 4000 == pytest.approx(0.75, abs=0.04)
    within = Counter(draw.within(0, rng).path for _ in range(4500))
    assert len(within) == 9 and max(within.values()) < 1.3 * min(within.values())


@pytest.mark.parametrize(("count", "there"), [(3, 5), (5, 5), (4, 2)])
def test_several_are_different_as_far_as_there_are(rng, count, there):
    draw = speech_draw([r for n in range(there) for r in voice(str(n))], 1, 1)
    for _ in range(30):
        drawn = draw.several(count, rng)
        assert len(drawn) == count and len(set(drawn)) == min(count, there)


def test_what_cannot_be_read_is_left_out_and_changes_nothing_else(tmp_path, rng):
    for name in "ab":
        soundfile.write(tmp_path / f"{name}.wav", noise(4800, rng), 48000)
    soundfile.write(tmp_path / "silent.wav", np.zeros(4800), 48000)
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    recordings = [Recording(str(tmp_path / f"{name}.wav"), name) for name in ("a", "b", "silent", "broken")]
    draw = Draw(recordings, [r.group for r in recordings], np.ones(4))
    fresh, used = Library(), Library()
    for recording in recordings:
        used.samples(recording)
    results = [
        [draw.readable(library, np.random.default_rng(7), group)[0].group for _ in range(1)]
        for library in (fresh, used)
        for group in (None, 0, 1, 2, 3)
    ]

    assert results[:5] == results[5:]
    assert {name for result in results for name in result} <= {"a", "b"}
    assert used.faults.unreadable == {r.path for r in recordings[2:]}
    broken = Draw(recordings[2:], "cd", np.ones(2))
    with pytest.raises(AudioError, match=r"none of 2 recordings can be read, .*\.wav for one"):
        broken.readable(fresh, rng)
