"""What the network is trained to make small: errors of gains and of comb-filter strengths."""

from __future__ import annotations

import torch

from percepnet_cli.constants import LOOKAHEAD_HOPS, NUM_BANDS

EPS = 1e-4
"""Added before a power below 1, whose slope at 0 is infinite."""

GAMMA = 0.5
"""Power that brings gains near to loudness (paper)."""

C4 = 10.0
"""Weight of the fourth power of the gain error (paper)."""

RELATIVE_POWER = 0.6
"""2c with c = 0.3 (Valin et al. 2021)."""

RELATIVE_EPS = 1e-3
"""Added to the larger gain in the relative loss; our choice."""


ENTROPY_SHARE = 0.5
"""Weight of the cross-entropy in the mixed loss; our choice."""

LEVEL_POWER = 0.3
"""Energies enter the weight of a band by this power, about as loudness does."""

LARGEST_LEVEL_WEIGHT = 8.0
"""A short loud band counts for at most this many of the mean."""


def level_weight(features: torch.Tensor, share: float) -> torch.Tensor:
    """Return how much each band of each hop matters by its loudness in the noisy signal.

    features: float32 [hops, batch, 70], not normalised; the energies of window l stand LOOKAHEAD_HOPS before l.
    share: 0 (all alike) .. 1 (by loudness alone). Returns float32 [hops, batch, 34] with mean 1 for each sequence.
    """
    level = features[..., :NUM_BANDS]
    level = torch.cat((level[:1].expand(LOOKAHEAD_HOPS, -1, -1), level[:-LOOKAHEAD_HOPS]))
    loudness = 10 ** (LEVEL_POWER * (level - level.amax(dim=(0, 2), keepdim=True)))
    relative = (loudness / loudness.mean(dim=(0, 2), keepdim=True)).clamp(max=LARGEST_LEVEL_WEIGHT)
    return (1 - share) + share * relative


def losses(
    gain_hat: torch.Tensor,
    strength_hat: torch.Tensor,
    targets: tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor],
    kind: str = "gamma",
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the losses of gain and strength, each a mean over the bands that can be judged.

    Parameters
    ----------
    gain_hat, strength_hat
        Output of the network, [hops, batch, 34].
    targets
        gain, strength, gain_weight, strength_weight, float32 of the same shape; weights 0 or more.
    kind
        ``gamma``: the paper's, sum w (d^2 + 10 d^4) with d = g^0.5 - g_hat^0.5;
        ``relative``: D + 10 D^2 with D = (g^0.6 - g_hat^0.6)^2 / max(g^0.6, g_hat^0.6)
        (Valin et al. 2021), which punishes lost speech and leaks in silence;
        ``entropy``: the cross-entropy of g and g_hat above that of g and g, which for small errors
        is d^2 / (2 g (1 - g)): as strict near 1, where speech must stay whole, as near 0;
        ``mixed``: ``gamma`` and half of ``entropy``.
    """
    gain, strength, gain_weight, strength_weight = targets
    if kind == "entropy":
        return _mean(cross_entropy(gain, gain_hat), gain_weight), _strength_loss(
            strength, strength_hat, strength_weight
        )
    if kind in ("gamma", "mixed"):
        error = torch.sqrt(gain + EPS) - torch.sqrt(gain_hat + EPS)
        square = error * error
    elif kind == "relative":
        wanted = (gain + EPS) ** RELATIVE_POWER
        found = (gain_hat + EPS) ** RELATIVE_POWER
        square = (wanted - found) ** 2 / (torch.maximum(wanted, found) + RELATIVE_EPS)
    else:
        raise ValueError(f"unknown loss {kind}")
    loss = square + C4 * square * square
    if kind == "mixed":
        loss = loss + ENTROPY_SHARE * cross_entropy(gain, gain_hat)
    gain_loss = _mean(loss, gain_weight)
    return gain_loss, _strength_loss(strength, strength_hat, strength_weight)


def cross_entropy(gain: torch.Tensor, gain_hat: torch.Tensor) -> torch.Tensor:
    """Return g log(g/g_hat) + (1 - g) log((1 - g)/(1 - g_hat)), 0 where they agree; float32, shape of the input."""
    gain, gain_hat = gain.clamp(0, 1) * (1 - 2 * EPS) + EPS, gain_hat * (1 - 2 * EPS) + EPS
    return gain * torch.log(gain / gain_hat) + (1 - gain) * torch.log((1 - gain) / (1 - gain_hat))


def _mean(loss: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Return the weighted mean; 0 if nothing counts."""
    return (weight * loss).sum() / weight.sum().clamp(min=1.0)


def _strength_loss(strength: torch.Tensor, strength_hat: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    error = torch.sqrt(1.0 - strength + EPS) - torch.sqrt(1.0 - strength_hat + EPS)
    return _mean(error * error, weight)
