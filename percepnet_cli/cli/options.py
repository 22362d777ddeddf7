"""Options shared by the commands that denoise."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

import click

Function = TypeVar("Function", bound=Callable[..., Any])


def _decibels(ctx: click.Context, parameter: click.Parameter, value: float | None) -> float | None:
    """Refuse what a range lets through: NaN is not smaller than 0."""
    if value is not None and math.isnan(value):
        raise click.BadParameter("nan is not a number of decibels")
    return value


def denoiser_options(function: Function) -> Function:
    """Add ``model``, ``attenuation_limit_db``, ``no_post_filter`` and ``independent_channels``."""
    options = [
        click.option("--model", metavar="NAME|FILE", help="Network to use.  [default: the shipped one]"),
        click.option(
            "--attenuation-limit",
            "attenuation_limit_db",
            type=click.FloatRange(min=0),
            callback=_decibels,
            metavar="DB",
            help="Never make noise quieter by more than this.  [default: no limit]",
        ),
        click.option("--no-post-filter", is_flag=True, help="Leave out the last sharpening of the spectrum."),
        click.option(
            "--independent-channels",
            is_flag=True,
            help="Let each channel have its own gains.  [default: linked gains, which keep the stereo image]",
        ),
    ]
    for option in reversed(options):
        function = option(function)
    return function
