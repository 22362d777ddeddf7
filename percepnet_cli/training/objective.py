"""What a run makes small: the losses of gains, strengths and what is heard of both, weighted and added up."""

from __future__ import annotations

import torch

from percepnet_cli.training.data.shards import Batch
from percepnet_cli.training.losses import Totals, losses, sisdr_loss
from percepnet_cli.training.loudness import loud_band_weight, pesq_loss
from percepnet_cli.training.options import Options
from percepnet_cli.training.processes import Group


def to_device(batch: Batch, device: torch.device) -> tuple[torch.Tensor, ...]:
    """Return the seven tensors of a batch as float32 on `device`."""
    return tuple(torch.from_numpy(array).to(device).float() for array in batch)


def distill(
    batch: tuple[torch.Tensor, ...], gain: torch.Tensor, strength: torch.Tensor, options: Options
) -> tuple[torch.Tensor, ...]:
    """Return the batch with a teacher's gain and strength beside the ideal ones, as ``Shards.crops`` mixes them.

    batch: the seven tensors of ``to_device``; gain, strength: the teacher's, [hops, batch, 34].
    """
    features, *ideals, gain_weight, strength_weight, ideal, energy = batch
    share = options.distill_weight
    roots = gain.float().sqrt() ** options.distill_power, strength.float().sqrt()
    mixed = (torch.lerp(one.sqrt(), root, share).square() for one, root in zip(ideals, roots, strict=True))
    return features, *mixed, gain_weight, strength_weight, ideal, energy


def objective(
    batch: tuple[torch.Tensor, ...],
    gain: torch.Tensor,
    strength: torch.Tensor,
    options: Options,
    group: Group | None = None,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return what is made small, and of it the losses of gain and strength, not weighted. float32 scalars.

    Parameters
    ----------
    batch
        The seven tensors of ``to_device``, [hops, batch, width].
    gain, strength
        The network's, float32 [hops, batch, 34].
    options
        Kinds and weights of the losses.
    group
        The processes that share the batch: the sum of what they get is the loss of the whole batch.
    """
    features, *targets, ideal, energy = batch
    if options.loud_band_weight:
        targets[2] = targets[2] * loud_band_weight(features, options.loud_band_weight)

    # the means are over the cells of the whole batch, of all processes
    sums = torch.stack([targets[2].sum(), targets[3].sum()])
    if group is not None:
        sums = group.add_up(sums)
    gain_loss, strength_loss = losses(
        gain,
        strength,
        tuple(targets),
        options.loss,
        options.strength_asymmetry,
        options.over_attenuation_weight,
        Totals(*sums),
    )
    total = gain_loss + options.strength_weight * strength_loss

    # these are means over sequences, of which each process has as many
    share = 1.0 if group is None else 1.0 / group.size
    if options.pesq_weight:
        total = total + share * options.pesq_weight * pesq_loss(energy, ideal, gain)
    if options.sisdr_weight:
        total = total + share * options.sisdr_weight * sisdr_loss(energy, ideal, gain)
    return total, gain_loss, strength_loss
