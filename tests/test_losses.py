"""The losses: finite at the ends, blind to what cannot be judged."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from percepnet_cli.training.losses import GAIN_LOSSES, LEAST_SHARE, Totals, bce, losses, sisdr_loss  # noqa: E402
from percepnet_cli.training.loudness import SPEECH_ENERGY  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_torch_thread")


def targets(gain=0.5, strength=0.5, hops=4):
    ones = torch.ones(hops, 2, 34)
    return gain * ones, strength * ones, ones.clone(), ones.clone()


@pytest.mark.parametrize("kind", GAIN_LOSSES)
@pytest.mark.parametrize("target", [0.0, 1.0])
@pytest.mark.parametrize("found", [0.0, 1.0])
def test_losses_and_slopes_are_finite_at_the_ends(kind, target, found):
    gain = torch.full((4, 2, 34), found, requires_grad=True)
    strength = torch.full((4, 2, 34), found, requires_grad=True)
    both = losses(gain, strength, targets(target, target), kind)
    sum(both).backward()
    assert all(torch.isfinite(loss) for loss in both)
    assert torch.isfinite(gain.grad).all()
    assert torch.isfinite(strength.grad).all()
    assert all((loss.item() < 1e-6) == (found == target) for loss in both)


def test_loss_values():
    half = torch.full((4, 2, 34), 0.25)
    gain, strength = losses(half, half, targets(1.0, 0.0))
    error = 1.0 - 0.5
    assert float(gain) == pytest.approx(error**2 + 10 * error**4, rel=1e-3)
    assert float(strength) == pytest.approx((1 - 0.75**0.5) ** 2, rel=1e-3)
    with pytest.raises(ValueError, match="unknown loss square"):
        losses(half, half, targets(), "square")


def test_strengths_that_are_too_small_count_more():
    found = torch.full((4, 2, 34), 0.5)
    for target, times in ((0.8, 3.0), (0.2, 1.0)):
        even, uneven = (float(losses(found, found, targets(0.5, target), asymmetry=k)[1]) for k in (1.0, 3.0))
        assert uneven == pytest.approx(times * even, rel=1e-6)


def test_gains_that_are_too_low_count_more_where_there_is_speech():
    for target, found, times in ((1.0, 0.5, 3.0), (0.5, 0.2, 1.5), (0.1, 0.0, 1.02), (0.5, 0.9, 1.0)):
        gain = torch.full((4, 2, 34), found)
        even, uneven = (float(losses(gain, gain, targets(target), over_attenuation=k)[0]) for k in (1.0, 3.0))
        assert uneven == pytest.approx(times * even, rel=1e-6)


def test_parts_of_a_batch_add_up_to_its_losses():
    gain, strength = torch.rand(4, 2, 34), torch.rand(4, 2, 34)
    wanted = torch.rand(4, 2, 34), torch.rand(4, 2, 34), (torch.rand(4, 2, 34) > 0.4).float(), torch.rand(4, 2, 34)
    whole = losses(gain, strength, wanted)
    totals = Totals(wanted[2].sum(), wanted[3].sum())
    parts = [
        losses(gain[:, i : i + 1], strength[:, i : i + 1], tuple(t[:, i : i + 1] for t in wanted), totals=totals)
        for i in (0, 1)
    ]
    for k in (0, 1):
        assert float(parts[0][k] + parts[1][k]) == pytest.approx(float(whole[k]), rel=1e-5)


@pytest.mark.parametrize("kind", GAIN_LOSSES)
def test_masked_bands_do_not_matter(kind):
    gain, strength, gain_weight, strength_weight = targets()
    gain_hat, strength_hat = torch.rand(4, 2, 34), torch.rand(4, 2, 34)
    gain_weight[:, :, 20:] = 0
    strength_weight[1:] = 0
    first = losses(gain_hat, strength_hat, (gain, strength, gain_weight, strength_weight), kind)
    gain, strength, gain_hat, strength_hat = (t.clone() for t in (gain, strength, gain_hat, strength_hat))
    for tensor in (gain, gain_hat):
        tensor[:, :, 20:] = torch.rand(4, 2, 14)
    for tensor in (strength, strength_hat):
        tensor[1:] = torch.rand(3, 2, 34)
    second = losses(gain_hat, strength_hat, (gain, strength, gain_weight, strength_weight), kind)
    assert [float(a) for a in first] == [float(b) for b in second]
    # the mean is over what counts: fewer bands of the same error give the same loss
    alone = losses(gain_hat[:, :, :20], strength_hat, (gain[:, :, :20], *targets()[1:2], *(
        weight for weight in (gain_weight[:, :, :20], strength_weight))), kind)  # fmt: skip
    assert float(alone[0]) == pytest.approx(float(second[0]), rel=1e-5)
    nothing = torch.zeros(4, 2, 34)
    empty = losses(gain_hat, strength_hat, (gain, strength, nothing, nothing), kind)
    assert [float(loss) for loss in empty] == [0.0, 0.0]


def test_cross_entropy_is_the_divergence_of_two_coins():
    gain, found = torch.tensor([0.2, 0.5, 0.99, 0.3]), torch.tensor([0.4, 0.5, 0.6, 0.3])
    expected = gain * torch.log(gain / found) + (1 - gain) * torch.log((1 - gain) / (1 - found))
    assert torch.allclose(bce(gain, found), expected, atol=1e-3)
    ones = torch.ones(1, 1, 34)
    parts = [
        losses(0.6 * ones, ones, (0.9 * ones, ones, ones, ones), kind)[0] for kind in ("percepnet", "bce", "mixed")
    ]
    assert float(parts[2]) == pytest.approx(float(parts[0] + 0.5 * parts[1]), rel=1e-5)


def test_the_wiener_filter_leaves_least_sisdr_loss():
    energy = SPEECH_ENERGY / 26 / 0.36 * torch.ones(4, 2, 26)
    gain = torch.full((4, 2, 34), 0.6)
    found = {g: float(sisdr_loss(energy, gain, torch.full((4, 2, 34), g))) for g in (0.0, 0.26, 0.36, 0.46, 1.0)}
    assert min(found, key=found.get) == 0.36
    assert found[0.0] == pytest.approx(np.log10(1 + LEAST_SHARE), abs=1e-5)  # all of the speech is missing
    assert found[1.0] == pytest.approx(np.log10(0.64 / 0.36 + LEAST_SHARE), abs=1e-5)  # all of the noise is there
    nothing = torch.zeros(4, 2, 34, requires_grad=True)
    sisdr_loss(0 * energy, gain, nothing).backward()
    assert torch.isfinite(nothing.grad).all()
