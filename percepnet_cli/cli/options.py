"""Options shared by the commands that denoise."""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import click

from percepnet_cli.constants import DEFAULT_FILE_MODEL, HIGHEST_LUFS, LOWEST_LUFS
from percepnet_cli.extras import missing, sentence

EXIT_CODES = """
  0    done
  1    something cannot be read, written or used; one sentence for each on standard error says what and why
  2    the command line is wrong
  130  interrupted by Ctrl-C (143 by SIGTERM, 129 by SIGHUP); nothing half-written is left
"""

ENVIRONMENT = """
  PERCEPNET_CACHE_DIR  folder of the compiled kernels, instead of the user's cache folder
  PERCEPNET_ISA        instruction set of the 8-bit product, such as portable, instead of the CPU's fastest
  NO_COLOR             if set, nothing is colored
"""


def as_options(sentence: str) -> str:
    """Return an error in the words of the command line: ``use force=True to`` is ``use --force to``."""
    return re.sub(r"\buse (\w+)=True to\b", lambda match: f"use --{match[1].replace('_', '-')} to", sentence)


class CommandWithSections(click.Command):
    """A command whose help has its options in groups and ends with sections, as a manual page does.

    Parameters
    ----------
    examples
        The first section.
    sections
        Those after it: title and text, whose lines are kept.
    option_groups
        Names of options by the title under which they are listed. Options that are in no group come last.
    """

    def __init__(
        self,
        *arguments: Any,
        examples: str = "",
        sections: Mapping[str, str] | None = None,
        option_groups: Mapping[str, Sequence[str]] | None = None,
        **options: Any,
    ) -> None:
        options["context_settings"] = {"help_option_names": ["-h", "--help"], **options.get("context_settings", {})}
        super().__init__(*arguments, **options)
        self._sections = {"Examples": examples, **(sections or {})}
        self.option_groups = dict(option_groups or {})

        # A number is an x, as in its range: [x>=1]
        numbers = click.types.IntParamType | click.types.FloatParamType
        for parameter in self.params:
            if parameter.metavar is None and isinstance(parameter.type, numbers):
                parameter.metavar = "X"

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options group by group; then, of a group of commands, the commands."""
        group_of = {name: title for title, names in self.option_groups.items() for name in names}
        rest = "Other" if group_of else "Options"
        rows: dict[str, list[tuple[str, str]]] = {title: [] for title in (*self.option_groups, rest)}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record and isinstance(parameter, click.Option):
                rows[group_of.get(parameter.opts[-1], rest)].append(record)

        for title, records in rows.items():
            with formatter.section(title):
                formatter.write_dl(records)
        if isinstance(self, click.Group):
            self.format_commands(ctx, formatter)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the sections after the options, line by line as they are."""
        for title, text in self._sections.items():
            if text:
                formatter.write(f"\n{title}:\n{textwrap.indent(textwrap.dedent(text.strip(chr(10))), '  ').rstrip()}\n")


Function = TypeVar("Function", bound=Callable[..., Any])


class Number(click.FloatRange):
    """A range that also refuses what no comparison catches: NaN, and infinity."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return a finite number of the range."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{number} is not a finite number.", param, ctx)
        return number


class Time(Number):
    """Seconds, as a number or as MM:SS or HH:MM:SS: 90, 1:30, 0:01:30.5."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return seconds within the range."""
        if isinstance(value, str) and ":" in value:
            match = re.fullmatch(r"(?:(\d+):)?(\d{1,2}):(\d{1,2}(?:\.\d*)?)", value.strip())
            if match is None or float(match[3]) >= 60 or (match[1] and int(match[2]) >= 60):
                self.fail(f"'{value}' is no time: give seconds, MM:SS or HH:MM:SS.", param, ctx)
            value = 3600 * int(match[1] or 0) + 60 * int(match[2]) + float(match[3])
        elif isinstance(value, str):
            value = re.sub(r"\s*s$", "", value.strip())
        return super().convert(value, param, ctx)


class Decibels(Number):
    """A range of decibels, with the unit or without: 12, 12dB, "12 dB"."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return a finite number of the range."""
        if isinstance(value, str):
            value = re.sub(r"\s*db$", "", value.strip(), flags=re.IGNORECASE).replace("\N{MINUS SIGN}", "-")
        return super().convert(value, param, ctx)


class Loudness(Number):
    """LUFS, with the unit or without: -16, "-16 LUFS"."""

    name = "loudness"

    def __init__(self) -> None:
        super().__init__(min=LOWEST_LUFS, max=HIGHEST_LUFS)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return a finite number of the range."""
        if isinstance(value, str):
            value = re.sub(r"\s*(lufs|lkfs)$", "", value.strip(), flags=re.IGNORECASE).replace("\N{MINUS SIGN}", "-")
        return super().convert(value, param, ctx)


class Reduction(Decibels):
    """Decibels by which something is lowered, 0 or more: 12 and -12 mean the same; infinity is no limit."""

    name = "reduction"

    def __init__(self) -> None:
        super().__init__(min=0)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return 0 or more, or infinity."""
        if isinstance(value, str):
            value = re.sub(r"^\s*[-\N{MINUS SIGN}](?=[\d.])", "", value)
            if value.strip().lower() in ("inf", "infinity"):
                return math.inf
        return super().convert(value, param, ctx)


post_filter_option = click.option(
    "--post-filter/--no-post-filter",
    default=None,
    help="Sharpen the spectrum at the end, or not.  [default: as much as the network asks for]",
)


def start_option(what: str) -> Callable[[Function], Function]:
    """Return the option ``start_seconds``. what: the sentence of its help, to which the forms of a time are added."""
    return click.option(
        "--start",
        "start_seconds",
        type=Time(min=0),
        default=0.0,
        metavar="TIME",
        help=f"{what}: seconds, MM:SS or HH:MM:SS.",
    )


def denoiser_options(default_model: str = DEFAULT_FILE_MODEL) -> Callable[[Function], Function]:
    """Return what adds ``model``, ``attenuation_limit_db``, ``post_filter`` and ``independent_channels``."""
    options = [
        click.option("-m", "--model", metavar="NAME|FILE", help=f"Network to use.  [default: {default_model}]"),
        click.option(
            "--attenuation-limit",
            "attenuation_limit_db",
            type=Reduction(),
            metavar="DB",
            help="Never make noise quieter by more than this.  [default: no limit]",
        ),
        post_filter_option,
        click.option(
            "--independent-channels",
            is_flag=True,
            help="Let each channel have its own gains.  [default: linked gains, which keep the stereo image]",
        ),
    ]

    def add(function: Function) -> Function:
        # Decorators apply from the inside out: the last one is shown first in the help
        for option in reversed(options):
            function = option(function)
        return function

    return add


jobs_option = click.option("-j", "--jobs", type=click.IntRange(min=1), help="Processes.  [default: the cores]")


def _scheduler(ctx: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    modules = missing("distributed") if value is not None else []
    if modules:
        raise click.ClickException(sentence("a Dask scheduler", modules))
    return value


scheduler_option = click.option(
    "--scheduler",
    metavar="ADDRESS",
    callback=_scheduler,
    help="Let the workers of a Dask scheduler do it, such as tcp://host:8786.",
)
