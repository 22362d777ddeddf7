"""What moves the weights by their gradients."""

from __future__ import annotations

import torch

from percepnet_cli.training.model.torch_model import PercepNet
from percepnet_cli.training.options import Options

BETAS = (0.9, 0.98)
"""Decay of the optimizer's two means."""

WEIGHT_DECAY = 0.01
"""Shrinks weight matrices by lr times this per step; our choice, keeps rows fit for 8 bits."""


def make_optimizers(model: PercepNet, options: Options) -> list[torch.optim.Optimizer]:
    """Return what moves the weights: AdamW, or Muon for the matrices of the recurrent layers and AdamW for the rest.

    Muon's steps are scaled to the size of AdamW's, so one learning rate serves both (Liu et al. 2025).
    """
    recurrent: list[torch.nn.Parameter] = []
    decayed: list[torch.nn.Parameter] = []
    others: list[torch.nn.Parameter] = []
    for name, parameter in model.named_parameters():
        if options.optimizer == "muon" and parameter.dim() == 2 and "gru" in name:
            recurrent.append(parameter)
        else:
            (decayed if parameter.dim() > 1 else others).append(parameter)

    # Matrices decay, biases do not
    groups = [{"params": decayed, "weight_decay": WEIGHT_DECAY}, {"params": others, "weight_decay": 0.0}]
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(groups, lr=options.learning_rate, betas=BETAS, eps=1e-8, fused=True)
    ]

    if recurrent:
        if not hasattr(torch.optim, "Muon"):
            raise ValueError("this version of torch has no Muon; use --optimizer adamw, or torch 2.9 and later")
        optimizers.append(
            torch.optim.Muon(
                recurrent,
                lr=options.learning_rate,
                weight_decay=WEIGHT_DECAY,
                momentum=0.95,
                adjust_lr_fn="match_rms_adamw",
            )
        )
    return optimizers
