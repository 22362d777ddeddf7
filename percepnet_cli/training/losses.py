"""What the network is trained to make small: errors of gains and of comb-filter strengths."""

from __future__ import annotations

from typing import NamedTuple

import torch

from percepnet_cli.training.loudness import SPEECH_ENERGY

EPS = 1e-4
"""Added before a power below 1, whose slope at 0 is infinite."""

C4 = 10.0
"""Weight of the fourth power of the gain error [Valin 2020]."""

RELATIVE_POWER = 0.6
"""2c with c = 0.3 [Valin 2021]."""

RELATIVE_EPS = 1e-3
"""Added to the larger gain in the relative loss; our choice."""


SHARPNESS = 8.0
"""How steeply small targets are taken to 0 (RNNoise)."""

ENTROPY_SHARE = 0.5
"""Weight of the cross-entropy in the mixed loss; our choice."""

LEAST_SHARE = 0.01
"""Added to the share of what is not speech: below -20 dB less of it is not worth speech elsewhere. Our choice."""


def percepnet(gain: torch.Tensor, gain_hat: torch.Tensor) -> torch.Tensor:
    """Return d^2 + 10 d^4 with d = g^0.5 - g_hat^0.5 [Valin 2020]. float32, any shape, 0..1; so for all below."""
    square = (torch.sqrt(gain + EPS) - torch.sqrt(gain_hat + EPS)) ** 2
    return square + C4 * square * square


def rnnoise(gain: torch.Tensor, gain_hat: torch.Tensor) -> torch.Tensor:
    """Return d^2 with d = t^0.25 - g_hat^0.25 and the target made sharper, t = g tanh(8 g)^2 (RNNoise since 2024).

    The ear hears what is left of noise in pauses: a gain of 0.1 instead of 0 counts as much as 0.6 instead of 1 does
    twentyfold.
    """
    sharp = gain * torch.tanh(SHARPNESS * gain) ** 2
    return ((sharp + EPS) ** 0.25 - (gain_hat + EPS) ** 0.25) ** 2


def percepnet2021(gain: torch.Tensor, gain_hat: torch.Tensor) -> torch.Tensor:
    """Return D + 10 D^2 with D = (g^0.6 - g_hat^0.6)^2 / max(g^0.6, g_hat^0.6) [Valin 2021]."""
    wanted, found = (gain + EPS) ** RELATIVE_POWER, (gain_hat + EPS) ** RELATIVE_POWER
    square = (wanted - found) ** 2 / (torch.maximum(wanted, found) + RELATIVE_EPS)
    return square + C4 * square * square


def bce(gain: torch.Tensor, gain_hat: torch.Tensor) -> torch.Tensor:
    """Return g log(g/g_hat) + (1 - g) log((1 - g)/(1 - g_hat)), 0 where they agree.

    For small errors this is d^2 / (2 g (1 - g)): as strict near 1, where speech must stay whole, as near 0.
    """
    gain, gain_hat = gain.clamp(0, 1) * (1 - 2 * EPS) + EPS, gain_hat * (1 - 2 * EPS) + EPS
    return gain * torch.log(gain / gain_hat) + (1 - gain) * torch.log((1 - gain) / (1 - gain_hat))


def mixed(gain: torch.Tensor, gain_hat: torch.Tensor) -> torch.Tensor:
    """Return ``percepnet`` and half of ``bce``."""
    return percepnet(gain, gain_hat) + ENTROPY_SHARE * bce(gain, gain_hat)


GAIN_LOSSES = {"percepnet": percepnet, "rnnoise": rnnoise, "percepnet2021": percepnet2021, "bce": bce, "mixed": mixed}
"""Losses of one band's gain by name."""


def sisdr_loss(energy: torch.Tensor, gain: torch.Tensor, gain_hat: torch.Tensor) -> torch.Tensor:
    """Return how loud what is not speech is in the result: log10 of its energy by that of active speech, a mean.

    Speech of the ideal gain g and noise that is not like it make up a band, so g_hat leaves (1 - g_hat)^2 g^2 of the
    band's energy as missing speech and g_hat^2 (1 - g^2) as noise: least with the Wiener filter, g_hat = g^2. In bel;
    10 dB of SNR lower it by 1.

    energy: float32 [hops, batch, n] from ``loudness.heard_energy``; gain, gain_hat: float32 [hops, batch, 34], 0..1.
    """
    gain, gain_hat = gain[..., : energy.shape[-1]], gain_hat[..., : energy.shape[-1]]
    left = (1 - gain_hat) ** 2 * gain**2 + gain_hat**2 * (1 - gain**2)
    share = (left * energy).sum(-1).mean(0) / SPEECH_ENERGY
    return torch.log10(share + LEAST_SHARE).mean()


class Totals(NamedTuple):
    """What the losses of gain and strength are divided by, float32 scalars: the sums of the weights of a batch."""

    gain: torch.Tensor
    strength: torch.Tensor


def losses(
    gain_hat: torch.Tensor,
    strength_hat: torch.Tensor,
    targets: tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor],
    kind: str = "percepnet",
    asymmetry: float = 1.0,
    over_attenuation: float = 1.0,
    totals: Totals | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the losses of gain and strength, each a mean over the bands that can be judged.

    Parameters
    ----------
    gain_hat, strength_hat
        Output of the network, [hops, batch, 34].
    targets
        gain, strength, gain_weight, strength_weight, float32 of the same shape; weights 0 or more.
    kind
        One of ``GAIN_LOSSES``. The strength's loss is d^2 with d = (1 - r)^0.5 - (1 - r_hat)^0.5 [Valin 2020].
    asymmetry
        How many times that counts where r_hat < r, more than 0. Above 1 a network that is not sure filters more.
    over_attenuation
        How many times the gain's loss counts where g_hat < g = 1, more than 0; for smaller g it is less, in
        proportion to g^2, the share of the speech in the energy. Above 1 a network that is not sure keeps speech.
    totals
        Sums of the weights, where this is a part of a larger batch.
    """
    gain, strength, gain_weight, strength_weight = targets
    if kind not in GAIN_LOSSES:
        raise ValueError(f"unknown loss {kind}")
    totals = totals or Totals(gain_weight.sum(), strength_weight.sum())
    gain_loss = GAIN_LOSSES[kind](gain, gain_hat)
    if over_attenuation != 1:
        gain_loss = gain_loss * torch.where(gain_hat < gain, 1.0 + (over_attenuation - 1.0) * gain * gain, 1.0)
    error = torch.sqrt(1.0 - strength + EPS) - torch.sqrt(1.0 - strength_hat + EPS)
    strength_loss = error * error
    if asymmetry != 1:
        strength_loss = strength_loss * torch.where(error < 0, asymmetry, 1.0)
    return _mean(gain_loss, gain_weight, totals.gain), _mean(strength_loss, strength_weight, totals.strength)


def _mean(loss: torch.Tensor, weight: torch.Tensor, total: torch.Tensor) -> torch.Tensor:
    """Return the weighted mean; 0 if nothing counts."""
    return (weight * loss).sum() / total.clamp(min=1.0)
