"""``percepnet play``: a recording through the denoiser to the speaker."""

from __future__ import annotations

import sys
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from percepnet_cli.cli.options import CommandWithSections, as_options, denoiser_options, start_option
from percepnet_cli.cli.printed import warn
from percepnet_cli.errors import PercepnetError

if TYPE_CHECKING:
    import threading

    from percepnet_cli.live.player import Player

SEEK_SECONDS = 5.0
"""How far the arrows lead."""

EXAMPLES = """
    percepnet play noisy.wav
    percepnet play --attenuation-limit 12 --start 1:02:30 interview.mp3
    percepnet play --output headset noisy.wav
"""

SECTIONS = {
    "Keys": """
  space       before and after, at the same position
  + and -     more and less of the noise goes, in steps of 3 dB
  left, right 5 s back and forth
  w           write the file with what you hear, under the name that denoise would give it,
              while playing goes on
  q           quit
"""
}


OPTION_GROUPS = {
    "Playing": ["--output", "--start", "--before", "--force"],
    "Sound": ["--model", "--attenuation-limit", "--post-filter", "--independent-channels"],
}


@click.command(cls=CommandWithSections, examples=EXAMPLES, sections=SECTIONS, option_groups=OPTION_GROUPS)
@click.argument("path", metavar="FILE")
@click.option("--output", "device", metavar="DEVICE", help="Index or part of the name.  [default: the system's]")
@start_option("Begin here")
@click.option("--before", is_flag=True, help="Begin with the recording as it is.")
@denoiser_options()
@click.option("-f", "--force", is_flag=True, help="Let w replace a file that exists.")
def play(
    path: str,
    device: str | None,
    start_seconds: float,
    before: bool,
    model: str | None,
    attenuation_limit_db: float | None,
    post_filter: bool | None,
    independent_channels: bool,
    force: bool,
) -> None:
    """Play a recording through the denoiser.

    FILE may be of any kind that denoise takes. Keys change what you hear, on a terminal.
    """
    from percepnet_cli.audio.files import open_reader
    from percepnet_cli.cli.arguments import sources_and_target
    from percepnet_cli.cli.progress import prepare
    from percepnet_cli.network.modelfile import load_file_model
    from percepnet_cli.storage import remote

    source = Path(remote.local(path))
    network = load_file_model(model)
    with open_reader(source) as reader:
        channels, rate = reader.channels, reader.sample_rate

    prepare()
    from percepnet_cli.denoiser import Denoiser
    from percepnet_cli.file_denoiser import denoise_file
    from percepnet_cli.live import portaudio
    from percepnet_cli.live.devices import choose_output
    from percepnet_cli.live.player import Player

    settings: dict[str, Any] = {"post_filter": post_filter, "linked": not independent_channels}
    denoiser = Denoiser(network, channels=channels, attenuation_limit_db=attenuation_limit_db, **settings)

    def write(limit_db: float | None, progress: Callable[..., object]) -> str:
        _, target = sources_and_target((str(source),), None, None)
        chosen = {"attenuation_limit_db": limit_db, **settings}
        done = denoise_file(source, target, model=network, force=force, progress=progress, **chosen)
        return f"{target} is written, {amount(limit_db)}" + (f"; {source} {done.warning}" if done.warning else "")

    with (
        portaudio.Output(choose_output(portaudio.list_devices(), device), channels, rate) as speaker,
        Player(source, denoiser, speaker, start_seconds) as player,
    ):
        player.before = before
        _watch(player, write)
        speaker.drain()
        if player.warning:
            warn(f"{source} {player.warning}")


Write = Callable[[float | None, Callable[..., object]], str]
"""Writes the file with a limit in dB; calls the progress, which may end it by raising; returns a sentence."""


class BackgroundWriter:
    """Writes what is heard while playing goes on: one file at a time, in a thread.

    Parameters
    ----------
    write : callable
        See ``Write``.
    """

    def __init__(self, write: Write) -> None:
        from percepnet_cli.live.priority import give_way

        self._write = write
        self._threads = ThreadPoolExecutor(1, "percepnet write", give_way)
        self._task: Future[str] | None = None
        self._given_up = False

    def begin(self, limit_db: float | None) -> str:
        """Begin to write with a limit in dB, unless it is under way; return a sentence."""
        if self._task is not None:
            return "the file is still being written"
        self._task = self._threads.submit(self._write, limit_db, self._go_on)
        return "the file is being written"

    def result(self) -> str:
        """Return a sentence once, when the file is written or cannot be; else ""."""
        if self._task is None or not self._task.done():
            return ""
        task, self._task = self._task, None
        try:
            return task.result()
        except PercepnetError as error:
            return as_options(str(error))

    def finish(self, stopped: threading.Event, say: Callable[[str], object]) -> None:
        """Wait for a file that is being written, and say so; the event gives it up."""
        if self._task is not None and not self._task.done():
            say("waiting for the file that is being written; Ctrl-C gives it up")
            while not self._task.done():
                self._given_up = stopped.wait(0.05) or self._given_up
        say(self.result())
        self._threads.shutdown()

    def _go_on(self, *seconds: float | None) -> None:
        if self._given_up:
            raise PercepnetError("the file is not written")


def _watch(player: Player, write: Write) -> None:
    """Play to the end, and obey keys; a file that is being written then is waited for."""
    from percepnet_cli.cli.keys import key_reader
    from percepnet_cli.cli.live import stop_signals
    from percepnet_cli.cli.meters import Display

    display = Display() if sys.stderr.isatty() else None
    writer = BackgroundWriter(write)

    def say(message: str) -> None:
        if message:
            click.echo(display.message(message) if display else message, err=True, nl=not display)

    with stop_signals() as stopped, key_reader() as keys:
        try:
            while not stopped.is_set() and player.step() and _obey_all(keys(), player, writer, say):
                say(writer.result())
                if display:
                    click.echo(display.frame([line(player)]), err=True, nl=False)
        finally:
            stopped.clear()  # the next one gives the file up
            writer.finish(stopped, say)


def _obey_all(keys: str, player: Player, writer: BackgroundWriter, say: Callable[[str], object]) -> bool:
    """Do what keys ask for; return whether playing goes on."""
    from percepnet_cli.cli.keys import named

    for key in named(keys):
        if key == "q":
            return False
        say(obey(key, player, writer))
    return True


def obey(key: str, player: Player, writer: BackgroundWriter) -> str:
    """Do what a key asks for; return a sentence if there is something to say."""
    from percepnet_cli.cli.live import next_limit

    if key == " ":
        player.before = not player.before
    elif key in ("+", "=", "-"):
        player.denoiser.attenuation_limit_db = next_limit(player.denoiser.attenuation_limit_db, key != "-")
    elif key in ("left", "right"):
        player.seek(player.position_seconds + (SEEK_SECONDS if key == "right" else -SEEK_SECONDS))
    elif key == "w":
        if player.before:
            return "this is the recording as it is; press space to hear what would be written"
        return writer.begin(player.denoiser.attenuation_limit_db)
    return ""


def amount(limit_db: float | None) -> str:
    """Return how much of the noise goes, in words."""
    if limit_db is None:
        return "all of the noise lowered"
    return f"{100 * (1 - 10 ** (-limit_db / 20)):.0f} % of the noise lowered (limit {limit_db:.0f} dB)"


def line(player: Player) -> str:
    """Return what is shown: the position, what is heard, the keys."""
    import shutil

    total = "" if player.seconds is None else f" of {clock(player.seconds)}"
    heard = "before" if player.before else f"after, {amount(player.denoiser.attenuation_limit_db)}"
    keys = "[space] before/after  [+/-] amount  [arrows] seek  [w] write  [q] quit"
    return f"{clock(player.position_seconds)}{total}  {heard}   {keys}"[: shutil.get_terminal_size().columns - 1]


def clock(seconds: float) -> str:
    """Return a position as 1:02:03.4, or 2:03.4."""
    minutes, rest = divmod(round(seconds, 1), 60)
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours}:{minutes:02}:{rest:04.1f}" if hours else f"{minutes}:{rest:04.1f}"
