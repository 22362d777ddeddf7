"""What gains do to speech and to noise, against loops over the cells."""

import math

import numpy as np
import pytest

from percepnet_cli.metrics.cells import (
    ONSET_HOPS,
    PAUSE_HOPS,
    TREBLE_BANDS,
    Gains,
    active_hops,
    cell_levels,
    mean_levels,
    onsets,
)

HOPS, BANDS = 120, 34


@pytest.fixture
def recording():
    """A second of speech and noise: 0.3 s of noise, then speech in half of the bands."""
    rng = np.random.default_rng(7)
    ideal = rng.uniform(0.0, 0.01, (HOPS, BANDS))
    ideal[30:, ::2] = rng.uniform(0.75, 1.0, (HOPS - 30, BANDS // 2))
    energy = 10 ** rng.uniform(2, 3, (HOPS, BANDS))
    coherence = rng.uniform(0, 1, (HOPS, BANDS))
    return Gains(ideal.copy(), ideal, energy, coherence, np.ones((HOPS, BANDS)))


def db(ratio):
    return 20 * math.log10(max(ratio, 0.01))


def reference(gains):
    """The measures cell by cell."""
    speech = gains.known * gains.ideal**2 * gains.energy
    total = [sum(row) for row in speech]
    loud = np.percentile([t for t in total if t > 0], 90)
    errors, noise, harmonic = [], [], []
    treble = {band: [] for band in TREBLE_BANDS}

    for hop in range(len(total)):
        active = total[hop] > loud / 1000
        for band in range(BANDS):
            found, ideal = gains.found[hop, band], gains.ideal[hop, band]
            if not gains.known[hop, band]:
                continue
            if active and ideal > 0.7 and speech[hop, band] > max(speech[hop]) / 1000:
                errors.append(db(found) - db(ideal))
            if ideal < 0.1 and gains.energy[hop, band] > max(gains.energy[hop]) / 1000:
                if active:
                    noise.append(db(found))
                if gains.coherence[hop, band] > 0.7:
                    harmonic.append(db(found))
            if active and band in treble:
                treble[band].append(found - ideal)

    return np.mean(errors), np.percentile(errors, 10), np.mean(noise), np.mean(harmonic), treble


def test_levels_are_those_of_a_loop_over_the_cells(recording):
    rng = np.random.default_rng(8)
    known = (rng.uniform(size=(HOPS, BANDS)) > 0.2).astype(np.uint8)
    found = np.clip(recording.ideal * 10 ** rng.uniform(-1, 0.3, (HOPS, BANDS)), 0, 1)
    found = np.where(recording.ideal < 0.1, rng.uniform(0, 0.3, (HOPS, BANDS)), found)
    gains = recording._replace(found=found, known=known)
    levels = cell_levels(gains)
    speech, worst, noise, harmonic, treble = reference(gains)
    assert levels.speech_db == pytest.approx(speech)
    assert levels.speech_worst_db == pytest.approx(worst)
    assert levels.noise_db == pytest.approx(noise)
    assert levels.harmonic_db == pytest.approx(harmonic)
    assert levels.treble_error == pytest.approx([np.mean(treble[band]) for band in TREBLE_BANDS])
    assert worst < speech < 0
    assert -30 < noise < -15


def test_ideal_gains_lose_nothing(recording):
    levels = cell_levels(recording)
    assert levels.speech_db == 0
    assert (levels.onsets, levels.onsets_cut) == (1, 0)
    assert max(map(abs, levels.treble_error)) == 0


@pytest.mark.parametrize(("loss_db", "cut"), [(5.9, 0), (6.1, 1)])
def test_an_onset_is_cut_when_its_80_ms_lose_6_db(recording, loss_db, cut):
    found = np.ones((HOPS, BANDS))
    found[30 : 30 + ONSET_HOPS] = 10 ** (-loss_db / 20)
    levels = cell_levels(recording._replace(found=found))
    assert (levels.onsets, levels.onsets_cut) == (1, cut)


def test_an_onset_follows_a_pause_within_the_recording():
    active = np.zeros(200, bool)
    active[10:20] = True  # the pause before may be shorter than it should
    active[20 + PAUSE_HOPS : 60] = True
    active[60 + PAUSE_HOPS - 1 : 120] = True  # too short a pause
    active[200 - ONSET_HOPS + 1 :] = True  # ends too early
    assert onsets(active) == [20 + PAUSE_HOPS]


def test_a_level_of_the_recording_changes_nothing(recording):
    found = recording._replace(found=recording.ideal * 0.5)
    louder = found._replace(energy=found.energy * 1e6)
    assert cell_levels(louder)[:4] == pytest.approx(cell_levels(found)[:4])


def test_silence_and_noise_alone_have_no_speech():
    zeros = np.zeros((50, BANDS))
    assert not active_hops(zeros).any()
    levels = cell_levels(Gains(zeros, zeros, zeros + 1, zeros, zeros + 1))
    assert math.isnan(levels.speech_db)
    assert math.isnan(levels.noise_db)
    assert (levels.onsets, levels.onsets_cut) == (0, 0)


def test_means_leave_out_what_is_not_there(recording):
    zeros = np.zeros((50, BANDS))
    silent = cell_levels(Gains(zeros, zeros, zeros + 1, zeros, zeros + 1))
    half = cell_levels(recording._replace(found=recording.ideal * 0.5))
    both = mean_levels([silent, half, cell_levels(recording)])
    assert both.speech_db == pytest.approx(half.speech_db / 2)
    assert (both.onsets, both.onsets_cut) == (2, 1)
    assert both.treble_error == pytest.approx([error / 2 for error in half.treble_error])
