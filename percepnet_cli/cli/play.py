"""``percepnet play``: a recording through the denoiser to the speaker."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from percepnet_cli.cli.options import CommandWithSections, denoiser_options, start_option

if TYPE_CHECKING:
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
  w           write the file with what you hear, under the name that denoise would give it
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
@denoiser_options
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
    from percepnet_cli.network.modelfile import load_model
    from percepnet_cli.storage import remote

    source = Path(remote.local(path))
    network = load_model(model)
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

    def write() -> str:
        _, target = sources_and_target((str(source),), None, None)
        limit_db = denoiser.attenuation_limit_db
        denoise_file(source, target, model=network, attenuation_limit_db=limit_db, force=force, **settings)
        return f"{target} is written, {amount(limit_db)}"

    with (
        portaudio.Output(choose_output(portaudio.list_devices(), device), channels, rate) as speaker,
        Player(source, denoiser, speaker, start_seconds) as player,
    ):
        player.before = before
        _watch(player, write)
        speaker.drain()


def _watch(player: Player, write: Callable[[], str]) -> None:
    """Play to the end, and obey keys. write: writes the file; returns a sentence."""
    from percepnet_cli.cli.keys import key_reader, named
    from percepnet_cli.cli.live import stop_signals
    from percepnet_cli.cli.meters import Display

    display = Display() if sys.stderr.isatty() else None
    with stop_signals() as stopped, key_reader() as keys:
        while not stopped.is_set() and player.step():
            for key in named(keys()):
                if key == "q":
                    return
                if message := obey(key, player, write):
                    click.echo(display.message(message) if display else message, err=True, nl=not display)
            if display:
                click.echo(display.frame([line(player)]), err=True, nl=False)


def obey(key: str, player: Player, write: Callable[[], str]) -> str:
    """Do what a key asks for; return a sentence if there is something to say."""
    from percepnet_cli.cli.live import next_limit
    from percepnet_cli.cli.options import as_options
    from percepnet_cli.errors import PercepnetError

    if key == " ":
        player.before = not player.before
    elif key in ("+", "=", "-"):
        player.denoiser.attenuation_limit_db = next_limit(player.denoiser.attenuation_limit_db, key != "-")
    elif key in ("left", "right"):
        player.seek(player.position_seconds + (SEEK_SECONDS if key == "right" else -SEEK_SECONDS))
    elif key == "w":
        if player.before:
            return "this is the recording as it is; press space to hear what would be written"
        try:
            return write()
        except PercepnetError as error:
            return as_options(str(error))
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
