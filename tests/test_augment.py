"""Augmenting moves band energies by a smooth filter, one a sequence, and nothing else."""

import numpy as np

from percepnet_cli.training.augment import LARGEST_DB, augment, random_filters


def test_each_sequence_gets_its_own_smooth_filter(rng):
    features = rng.uniform(0, 4, (50, 8, 70)).astype(np.float16)
    out = augment(features, random_filters(8, np.random.default_rng(1)))
    assert out.dtype == np.float32 and np.array_equal(out[..., 34:], features[..., 34:].astype(np.float32))
    change_db = 10 * (out[..., :34] - features[..., :34].astype(np.float32))
    assert np.abs(change_db - change_db[:1]).max() < 0.01  # the same in all hops
    assert np.abs(change_db).max() <= LARGEST_DB + 0.01
    assert np.abs(np.diff(change_db[0], axis=1)).max() < 4
    assert np.all(np.std(change_db[0], axis=0) > 1)  # and another for each sequence
    assert np.array_equal(out, augment(features, random_filters(8, np.random.default_rng(1))))


def test_digital_silence_stays_silent():
    silence = np.full((5, 3, 70), -6.0, np.float16)
    assert np.abs(augment(silence, random_filters(3, np.random.default_rng(0)))[..., :34] + 6).max() < 0.01
