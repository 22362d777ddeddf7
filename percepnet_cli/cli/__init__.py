"""The command line: a group of commands, each in a file of its own.

Only click is imported to show help; what a command needs is imported in its body. Here
is the one place where errors that users can cause become one sentence and an exit code.
"""

from __future__ import annotations

from percepnet_cli.cli import standard_streams
from percepnet_cli.cli.interrupts import EXIT_INTERRUPTED, is_program, restore

# isort: split
import errno
import hashlib
import importlib
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import click

from percepnet_cli.cli.options import ENVIRONMENT, EXIT_CODES, CommandWithSections, as_options
from percepnet_cli.cli.printed import printable
from percepnet_cli.constants import DEFAULT_FILE_MODEL, DEFAULT_MODEL
from percepnet_cli.errors import OUT_OF_MEMORY, PercepnetError, load_sentence, os_sentence
from percepnet_cli.version import __version__

GROUPS = {
    "Use": {
        "denoise": "Remove the noise from recordings of speech.",
        "info": "Say what is known of sound files and models.",
        "play": "Play a recording through the denoiser.",
        "demo": "Let you hear what the program does.",
        "live": "Denoise a microphone and play the result.",
        "devices": "List sound devices.",
        "models": "List the models that come with the program.",
        "warmup": "Compile the kernels ahead of the first run.",
    },
    "Measure": {
        "evaluate": "Score recordings against their clean references.",
        "oracle": "Show the best that each stage could do.",
        "plot": "Draw recordings before and after.",
        "bench": "Measure the speed on this machine.",
    },
    "Train": {
        "train-targets": "Mix speech and noise into shards for training.",
        "train": "Train the network on shards of mixtures.",
        "quantize": "Round a trained network to 8 bits.",
        "export": "Make a library, a plug-in or a web module that needs no Python.",
    },
}
"""What each command is for, as its own help begins: the help of the group imports none of them."""

COMMANDS = {
    name: f"percepnet_cli.cli.{name.replace('-', '_')}:{name.replace('-', '_')}"
    for group in GROUPS.values()
    for name in group
}
"""Where each command is found, in the order of the help."""

EXAMPLES = """
    percepnet noisy.wav clean.wav
    percepnet denoise recordings/ clean/
    percepnet info clean.wav

  Completion of commands and options by the Tab key, once and for all:
    echo 'eval "$(_PERCEPNET_COMPLETE=bash_source percepnet)"' >> ~/.bashrc
    echo 'eval "$(_PERCEPNET_COMPLETE=zsh_source percepnet)"' >> ~/.zshrc
    echo '_PERCEPNET_COMPLETE=fish_source percepnet | source' > ~/.config/fish/completions/percepnet.fish
"""


class LazyGroup(CommandWithSections, click.Group):
    """A group that imports a command's file when it is needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command; None if there is none of this name."""
        if cmd_name not in COMMANDS:
            return None
        module_name, function_name = COMMANDS[cmd_name].split(":")
        command = getattr(importlib.import_module(module_name), function_name)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands group by group, whole sentences."""
        widest = max(map(len, COMMANDS))
        for title, summaries in GROUPS.items():
            with formatter.section(title):
                formatter.write_dl([(name.ljust(widest), summary) for name, summary in summaries.items()])

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Read the command line, which may print the help or the version."""
        try:
            return super().make_context(info_name, args, parent, **extra)
        except OSError as error:
            raise _as_sentence(error) from None

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put ``denoise`` before what begins with a file, or with an option that is not the group's."""
        own = {name for parameter in self.get_params(ctx) for name in parameter.opts}
        if args and not ctx.resilient_parsing and args[0] not in own and _means_denoise(args[0]):
            args = ["denoise", *args]
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; name the one that was meant if there is none of this name."""
        if args and args[0] not in COMMANDS and not ctx.resilient_parsing:
            from difflib import get_close_matches

            close = get_close_matches(args[0], COMMANDS, 1)
            hint = f" Did you mean '{close[0]}'?" if close else ""
            ctx.fail(f"'{args[0]}' is neither a command nor a file.{hint}")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; turn what can go wrong without a bug into a sentence or an exit code."""
        try:
            restore()
            if is_program():
                warnings.formatwarning = _warning
            with _exit_on_termination():
                result = super().invoke(ctx)
                sys.stdout.flush()  # here it can still be said that a disk is full
                return result

        except KeyboardInterrupt as interrupt:
            if pool := sys.modules.get("percepnet_cli.parallel.pool"):
                pool.abandon()
            said = str(interrupt)
            click.echo(f"\n{printable(said)}" if said else "", err=True)
            raise click.exceptions.Exit(EXIT_INTERRUPTED) from None
        except PercepnetError as error:
            raise click.ClickException(printable(as_options(str(error)))) from error
        except OSError as error:
            raise _as_sentence(error) from None
        except MemoryError:
            raise click.ClickException(OUT_OF_MEMORY) from None
        except ImportError as error:
            if (error.name or "").startswith("percepnet_cli"):  # a bug of our own
                raise
            raise click.ClickException(printable(load_sentence(error))) from None
        except click.ClickException as error:
            error.message = printable(error.message, lines=True)  # type: ignore[misc]
            raise


def _warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    """Return a warning as a sentence: where in the code it came up is nothing to a user."""
    return f"Warning: {printable(str(message))}\n"


def _as_sentence(error: OSError) -> Exception:
    """Return what to raise for what the system refused."""
    standard_streams.give_up_output()
    if error.errno == errno.EPIPE:  # nobody reads any more: click leaves in silence
        return error
    return click.ClickException(printable(os_sentence(error)))


def _means_denoise(argument: str) -> bool:
    """Return whether a command line that begins so is one of ``denoise``: with a file, a glob, a URL, an option."""
    if argument in COMMANDS:
        return False
    return argument.startswith("-") or bool(set("./\\*?[:") & set(argument)) or os.path.exists(argument)


@contextmanager
def _exit_on_termination() -> Iterator[None]:
    """Let SIGTERM and SIGHUP unwind the program, so that temporary files are removed."""

    def leave(number: int, frame: FrameType | None) -> None:
        sys.exit(128 + number)

    changed = []
    if threading.current_thread() is threading.main_thread():
        for name in ("SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)  # Windows has no SIGHUP
            if number is not None and signal.getsignal(number) is signal.SIG_DFL:  # nohup ignores it
                signal.signal(number, leave)
                changed.append(number)
    try:
        yield
    finally:
        for number in changed:
            signal.signal(number, signal.SIG_DFL)


def _version(ctx: click.Context, parameter: click.Parameter, wanted: bool) -> None:
    """Print the versions of program and models: what a result depends on."""
    if not wanted or ctx.resilient_parsing:
        return
    from percepnet_cli.storage.packaged import packaged

    click.echo(f"percepnet, version {__version__}")
    for name in dict.fromkeys((DEFAULT_FILE_MODEL, DEFAULT_MODEL)):
        content = packaged("models").joinpath(f"{name}.safetensors").read_bytes()
        click.echo(f"model {name}, sha256 {hashlib.sha256(content).hexdigest()}")
    ctx.exit()


@click.group(
    name="percepnet",
    cls=LazyGroup,
    examples=EXAMPLES,
    sections={"Exit codes": EXIT_CODES, "Environment": ENVIRONMENT},
)
@click.option(
    "-V",
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_version,
    help="Show the version and the SHA-256 of the default model, and exit.",
)
def main() -> None:
    """Remove noise from speech with PercepNet, and train it.

    A command line that begins with a file is one of denoise. Every command explains itself: percepnet denoise --help.
    """
