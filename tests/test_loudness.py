"""What the ear makes of bands: weights by loudness, and the disturbance after P.862."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from percepnet_cli.constants import BAND_CENTERS  # noqa: E402
from percepnet_cli.training.loudness import (  # noqa: E402
    LARGEST_LEVEL_WEIGHT,
    LARGEST_NOISE,
    SPEECH_ENERGY,
    THRESHOLD,
    WIDTH,
    at_the_level_of,
    disturbance,
    heard_energy,
    loud_band_weight,
    loudness,
    pesq_loss,
)

pytestmark = pytest.mark.usefixtures("one_torch_thread")


def test_loud_band_weights_follow_the_loudness_of_the_window_two_hops_later():
    features = torch.zeros(50, 3, 70)
    features[20, 1, 7] = 3.0  # the energy of window 22: 1000 times the rest
    weight = loud_band_weight(features, 1.0)
    assert weight.shape == (50, 3, 34)
    assert torch.allclose(weight[:, 0], torch.ones(50, 34))
    assert int(weight[:, 1].argmax()) == 22 * 34 + 7
    rest = weight[:, 1].flatten().median()
    assert float(weight[22, 1, 7] / rest) == pytest.approx(1000**0.3, rel=1e-4)
    assert float(weight.mean()) == pytest.approx(1.0, rel=1e-4)
    assert torch.allclose(
        loud_band_weight(features + 2.0, 1.0), weight, rtol=1e-4
    )  # a matter of contrast, not of level
    assert torch.allclose(loud_band_weight(features, 0.25), 0.75 + 0.25 * weight)
    features[20, 1, 7] = 12.0
    assert float(loud_band_weight(features, 1.0).max()) == pytest.approx(LARGEST_LEVEL_WEIGHT)


def speech(hops=100, batch=3, seed=0):
    """Features of noisy windows, and the ideal gains of syllables in them."""
    rng = np.random.default_rng(seed)
    features = np.zeros((hops, batch, 70), np.float32)
    features[..., :34] = rng.normal(0, 0.5, (hops, batch, 34)) - 0.05 * np.arange(34)
    gain = rng.uniform(0, 1, (hops, batch, 34)) * (np.sin(np.arange(hops) / 8) > 0)[:, None, None]
    return torch.from_numpy(features), torch.from_numpy(gain.astype(np.float32))


def test_speech_has_the_same_energy_at_any_level():
    features, gain = speech()
    energy = heard_energy(features, gain)
    assert energy.shape == (100, 3, 26)
    louder = features.clone()
    louder[..., :34] += 2.0
    torch.testing.assert_close(heard_energy(louder, gain), energy, rtol=1e-3, atol=1.0)
    spoken = (gain[..., :26] ** 2 * energy).sum(-1)
    assert float(spoken[spoken > 0].mean()) == pytest.approx(SPEECH_ENERGY, rel=1e-3)
    # window l is described LOOKAHEAD_HOPS hops earlier
    features[40, 1, 5] = 4.0
    assert int(heard_energy(features, gain)[:, 1, 5].argmax()) == 42


def test_noise_alone_has_an_energy_too():
    features, gain = speech()
    energy = heard_energy(features, 0 * gain)
    assert float(energy.sum(-1).mean()) == pytest.approx(LARGEST_NOISE * SPEECH_ENERGY, rel=1e-3)
    silent = torch.full_like(features, -6.0)
    loss = pesq_loss(heard_energy(silent, gain), gain, gain)
    assert torch.isfinite(loss)


def test_loudness_is_none_at_the_threshold_and_grows_as_energy_to_the_0_23():
    assert (loudness(THRESHOLD) == 0).all()
    kilohertz = BAND_CENTERS.index(21)  # 1050 Hz
    soft, loud = (float(loudness(torch.full((26,), 10.0**db))[kilohertz]) for db in (8, 9))
    assert loud / soft == pytest.approx(10**0.23, rel=0.02)
    assert float(WIDTH.sum()) == pytest.approx(21.4, abs=0.2)  # Bark at 8 kHz


def reference(clean, found):
    """P.862's two disturbances of one window, band by band in float64."""
    hz = np.maximum(np.array(BAND_CENTERS[:27]) * 50.0, 50.0)

    def bark(f):
        return 13 * np.arctan(0.76 * f / 1000) + 3.5 * np.arctan((f / 7500) ** 2)

    def sone(energy, f):
        k = f / 1000
        threshold = 10 ** (0.364 * k**-0.8 - 0.65 * np.exp(-0.6 * (k - 3.3) ** 2) + 1e-4 * k**4)
        power = 0.23 if bark(f) >= 4 else 0.23 * min(6 / (bark(f) + 2), 2) ** 0.15
        return max(0.1866 * (threshold / 0.5) ** power * ((0.5 + 0.5 * energy / threshold) ** power - 1), 0)

    centers = np.array(BAND_CENTERS) * 50.0
    edges = [0.0] + [(centers[b] + centers[b + 1]) / 2 for b in range(26)]
    squares = asymmetric = total = 0.0
    for band in range(26):
        width = bark(edges[band + 1]) - bark(edges[band])
        x, y = clean[band] / width, found[band] / width
        lx, ly = sone(x, hz[band]), sone(y, hz[band])
        difference = max(abs(ly - lx) - 0.25 * min(lx, ly), 0)
        added = ((y + 50) / (x + 50)) ** 1.2
        added = 0 if added < 3 else min(added, 12)
        squares += (difference * width) ** 2
        asymmetric += difference * width * added
        total += width
    weight = ((sum(clean) + 1e5) / 1e7) ** 0.04
    both = np.sqrt(squares * total) / weight, asymmetric / weight
    return [part if part <= 45 else 45 + 0.1 * (part - 45) for part in both]


def test_disturbance_equals_the_reference():
    features, gain = speech(hops=30, batch=2)
    energy = heard_energy(features, gain)
    clean, found = gain[..., :26] ** 2 * energy, torch.rand(30, 2, 26) ** 4 * energy
    both, asymmetric = disturbance(clean, found)
    for hop in range(30):
        for column in range(2):
            wanted = reference(clean[hop, column].double().numpy(), found[hop, column].double().numpy())
            assert float(both[hop, column]) == pytest.approx(wanted[0], rel=1e-3, abs=1e-2)
            assert float(asymmetric[hop, column]) == pytest.approx(wanted[1], rel=1e-3, abs=1e-2)


def test_a_level_is_followed_but_not_what_differs_between_bands():
    features, gain = speech()
    clean = heard_energy(features, gain)
    torch.testing.assert_close(at_the_level_of(clean, 0.5 * clean)[2:], clean[2:], rtol=1e-2, atol=1.0)
    assert (at_the_level_of(clean, 0.01 * clean)[2:] < 0.06 * clean[2:]).all()  # at most five times
    tilted = clean * torch.linspace(0.5, 2, 26)
    level = at_the_level_of(clean, tilted)
    assert float((level / tilted).amax(-1).sub((level / tilted).amin(-1)).max()) < 1e-5
    assert not torch.allclose(level, clean, rtol=0.1)


def test_the_right_gains_are_not_heard_and_added_noise_costs_more_than_lost_speech():
    features, gain = speech()
    energy = heard_energy(features, gain)
    assert float(pesq_loss(energy, gain, gain)) < 0.014  # from what keeps the roots finite
    clean = gain[..., :26] ** 2 * energy
    assert float(disturbance(clean, 16 * clean)[1].mean()) > 0
    assert float(disturbance(clean, clean / 16)[1].max()) == 0


@pytest.mark.parametrize("found", [0.0, 1e-4, 0.5, 1.0])
def test_slopes_are_finite_and_point_to_the_right_gains(found):
    features, gain = speech()
    energy = heard_energy(features, gain)
    gain_hat = torch.full_like(gain, found, requires_grad=True)
    loss = pesq_loss(energy, gain, gain_hat)
    loss.backward()
    assert torch.isfinite(gain_hat.grad).all()
    assert (gain_hat.grad[..., 26:] == 0).all()  # bands above 8 kHz are not heard
    if found == 0.5:
        with torch.no_grad():
            nearer = pesq_loss(energy, gain, gain_hat - 0.05 * gain_hat.grad / gain_hat.grad.abs().max())
        assert nearer.item() < loss.item()
