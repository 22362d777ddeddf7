"""``percepnet live``: microphone to speaker."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from percepnet_cli.cli.keys import key_reader
from percepnet_cli.cli.options import CommandWithSections, denoiser_options
from percepnet_cli.cli.printed import echo
from percepnet_cli.cli.progress import prepare
from percepnet_cli.constants import DEFAULT_MODEL
from percepnet_cli.errors import DeviceError, PercepnetError

if TYPE_CHECKING:
    from percepnet_cli.live.native_errors import NativeErrors
    from percepnet_cli.live.recorder import Recordings
    from percepnet_cli.live.session import Session
    from percepnet_cli.live.status import Status

TICK_SECONDS = 0.1
"""How often keys are read, the device is watched and meters are drawn."""

STEP_DB = 3.0
HIGHEST_LIMIT_DB = 24.0
"""The keys + and - move the limit by STEP_DB; above the highest there is none."""


def _hop(ctx: click.Context, parameter: click.Parameter, value: int) -> int:
    if value % 10:
        raise click.BadParameter(f"{value} is not a multiple of 10")
    return value


EXAMPLES = """
    percepnet live --virtual-mic
    percepnet live --input headset --output cable
    percepnet live --json --seconds 60 --record noisy.wav clean.wav
"""

OPTION_GROUPS = {
    "Devices": ["--virtual-mic", "--input", "--output", "--no-output", "--channels", "--sample-rate"],
    "Sound": ["--model", "--attenuation-limit", "--post-filter", "--independent-channels", "--bypass"],
    "Delay and cost": ["--hop", "--block", "--device-latency"],
    "Record and stop": ["--record", "--force", "--seconds", "--json"],
}


@click.command(cls=CommandWithSections, examples=EXAMPLES, option_groups=OPTION_GROUPS)
@click.option("--input", "source", metavar="DEVICE", help="Index or part of the name.  [default: the system's]")
@click.option("--output", "target", metavar="DEVICE", help="Index or part of the name.  [default: the system's]")
@click.option(
    "--virtual-mic",
    "virtual_mic",
    is_flag=False,
    flag_value="PercepNet",
    metavar="[NAME]",
    help="On Linux: make a microphone that call programs can choose, called PercepNet if no name is given, and play "
    "into it. It is gone when the program ends.",
)
@click.option("--no-output", is_flag=True, help="Play nothing: only meters and recordings.")
@click.option("--channels", type=click.IntRange(1, 2), default=1, show_default=True, help="1 mono, 2 stereo.")
@click.option(
    "--sample-rate",
    "rate",
    type=click.IntRange(8000, 192000),
    metavar="HZ",
    help="Of both devices.  [default: 48000, else theirs]",
)
@click.option(
    "--hop",
    "hop_ms",
    type=click.IntRange(10, 100),
    default=10,
    show_default=True,
    callback=_hop,
    metavar="MS",
    help="Audio per piece of work, a multiple of 10; more costs less and adds delay.",
)
@click.option(
    "--block",
    "block_frames",
    type=click.IntRange(16, 16384),
    metavar="FRAMES",
    help="Frames per block of the device, any number.  [default: as much as a hop]",
)
@click.option(
    "--device-latency",
    "device_latency_ms",
    type=click.FloatRange(1, 1000),
    metavar="MS",
    help="Buffer to ask of the devices.  [default: 6 blocks]",
)
@denoiser_options(DEFAULT_MODEL)
@click.option("--bypass", is_flag=True, help="Begin with the input passing.")
@click.option(
    "--record",
    nargs=2,
    metavar="NOISY CLEAN",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write what comes in and what goes out to two files.",
)
@click.option("-f", "--force", is_flag=True, help="Replace the files of --record if they exist.")
@click.option("--seconds", type=click.FloatRange(min=0.1), help="Stop by itself.  [default: at Ctrl-C or q]")
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON per second instead of meters.")
def live(
    source: str | None,
    target: str | None,
    virtual_mic: str | None,
    no_output: bool,
    channels: int,
    rate: int | None,
    hop_ms: int,
    block_frames: int | None,
    device_latency_ms: float | None,
    model: str | None,
    attenuation_limit_db: float | None,
    post_filter: bool | None,
    independent_channels: bool,
    bypass: bool,
    record: tuple[Path, Path] | None,
    force: bool,
    seconds: float | None,
    as_json: bool,
) -> None:
    """Denoise a microphone and play the result.

    With --virtual-mic, choose that microphone in the call program. Else choose as --output the virtual cable whose
    other end the call program uses as its microphone (see docs/live.md). On a terminal, the key ? tells of the others.
    """
    if virtual_mic is not None and (target is not None or no_output):
        raise click.UsageError("--virtual-mic is an output: leave out --output and --no-output")

    from percepnet_cli.live.models import require_realtime
    from percepnet_cli.live.native_errors import caught
    from percepnet_cli.network.modelfile import load_model

    network = load_model(model)
    require_realtime(network)  # before anything is compiled or opened

    with stop_signals() as stopped, ExitStack() as stack:
        stopped.at_once = True  # compiling takes its time, and nothing plays yet
        native = stack.enter_context(caught())
        keys = stack.enter_context(key_reader())  # what is typed from now on is not shown, but obeyed

        # The virtual microphone, and names of devices: before anything is compiled
        with _shown("looking for devices"):
            from percepnet_cli.live.settings import Settings, devices_of
            from percepnet_cli.live.virtual_mic import VirtualMicrophone

            microphone = None
            if virtual_mic is not None:
                microphone = stack.enter_context(VirtualMicrophone(virtual_mic))
            settings = Settings(
                source=source,
                target=target if microphone is None else microphone.sink_name,
                monitor=not no_output,
                sample_rate=rate,
                hop_ms=hop_ms,
                block_frames=block_frames,
                device_latency_ms=device_latency_ms,
                bypass=bypass,
                cable_source="" if microphone is None else microphone.source_name,
            )
            devices = devices_of(settings, channels)

        prepare()
        with _shown("preparing the denoiser"):
            from percepnet_cli.denoiser import Denoiser
            from percepnet_cli.live.priority import frozen_garbage
            from percepnet_cli.live.recorder import Recordings
            from percepnet_cli.live.session import Session
            from percepnet_cli.live.status import summary

            denoiser = Denoiser(
                network,
                channels=channels,
                post_filter=post_filter,
                attenuation_limit_db=attenuation_limit_db,
                linked=not independent_channels,
            )
            restore = None if microphone is None else microphone.ensure
            with _explained(native):
                session = Session(denoiser, settings, record is not None, devices, restore)
            recordings = stack.enter_context(Recordings(session.sample_rate, channels))
            if record is not None:
                recordings.begin(*record, force)
            stack.enter_context(frozen_garbage())

        stopped.at_once = False
        with ExitStack() as running:
            with _shown("opening the devices"), _explained(native):
                running.enter_context(session)
            names = [_opening(session)]
            if microphone is not None:
                names.append(f"choose '{microphone.name}' as the microphone in the call program")
            echo("\n".join(names), err=True)
            last = _watch(session, recordings, names, keys, stopped, seconds, as_json)
        recordings.write(session.recorded)
    echo(summary(last), err=True)
    if record is not None and recordings.failure is not None:
        raise recordings.failure


@contextmanager
def _shown(what: str) -> Iterator[None]:
    """Show on a terminal what is being done, while it is."""
    shown = sys.stderr.isatty()
    if shown:
        echo(f"{what} ...", err=True, nl=False)
    try:
        yield
    finally:
        if shown:
            click.echo("\r\x1b[2K", err=True, nl=False)


@contextmanager
def _explained(native: NativeErrors) -> Iterator[None]:
    """Add to an error of a device what the libraries below wrote about it."""
    try:
        yield
    except DeviceError as error:
        said = native.sentence()
        if said and said not in str(error):
            raise DeviceError(f"{error} ({said})") from None
        raise


def _opening(session: Session) -> str:
    """Return the line that says what runs."""
    target = f" -> {session.target}" if session.target is not None else ", nothing is played"
    return f"{session.source}{target}; {session.sample_rate} Hz, blocks of {session.block_frames} frames"


def _watch(
    session: Session,
    recordings: Recordings,
    names: list[str],
    keys: Callable[[], str],
    stopped: threading.Event,
    seconds: float | None,
    as_json: bool,
) -> Status:
    """Run until the end; return the last status. names: what the session joins, for the terminal."""
    import json

    from percepnet_cli.cli.panel import Panel

    panel = None
    if sys.stderr.isatty() and not as_json:
        panel = Panel(names, ascii_only="utf" not in (sys.stderr.encoding or "").lower())
    begin = reported = time.monotonic()
    said: list[str] = []

    def say(message: str) -> None:
        said.append(message)
        if panel is not None:
            panel.say(message)
        else:
            echo(message, err=True)

    with ExitStack() as stack:
        if panel is not None:
            click.echo(panel.begin(), err=True, nl=False)
            stack.callback(click.echo, panel.end(), err=True, nl=False)
        while not stopped.wait(TICK_SECONDS):
            if message := session.tick():
                say(message)
            if trouble := recordings.write(session.recorded):
                say(f"{trouble}; the session goes on without")

            now = time.monotonic()
            if panel is not None:
                status = replace(session.status(), recording=recordings.names)
                click.echo(panel.frame(status, now), err=True, nl=False)
            elif as_json and now - reported >= 1.0:
                reported += 1.0
                echo(json.dumps(replace(session.status(), recording=recordings.names).json()))

            pressed = keys()
            for message in _obey(pressed, session, recordings):
                say(message)
            if panel is not None and pressed.count("?") % 2:
                panel.help = not panel.help
            if "q" in pressed or (seconds is not None and now - begin >= seconds):
                break
    if panel is not None:
        for message in said:  # what happened is still to be read when the panel has gone
            echo(message, err=True)
    return session.status()


def _obey(keys: str, session: Session, recordings: Recordings) -> Iterator[str]:
    """Do what keys ask for; yield what there is to say of it."""
    for key in keys:
        if key == " ":
            session.bypass = not session.bypass
        elif key in "+=-":
            session.denoiser.attenuation_limit_db = next_limit(session.denoiser.attenuation_limit_db, key != "-")
        elif key == "p":
            denoiser = session.denoiser
            denoiser.post_filter = 0 if denoiser.post_filter else denoiser.model.post_filter or 1
        elif key == "m":
            session.muted = not session.muted
        elif key == "r":
            yield from _record(session, recordings)


def _record(session: Session, recordings: Recordings) -> Iterator[str]:
    """Begin a recording, or end the one that is being made; yield what there is to say of it."""
    if names := recordings.names:
        session.record(False)
        recordings.write(session.recorded)
        recordings.end()
        yield f"recorded: {names}"
        return

    try:
        recordings.begin_here()
        session.record(True)
    except PercepnetError as error:
        yield str(error)


def next_limit(limit_db: float | None, more: bool) -> float | None:
    """Return the attenuation limit one step up or down; None is without limit."""
    if limit_db is None:
        return None if more else HIGHEST_LIMIT_DB
    limit_db = limit_db + STEP_DB if more else max(0.0, limit_db - STEP_DB)
    return None if limit_db > HIGHEST_LIMIT_DB else limit_db


class Stop(threading.Event):
    """Set by a signal; the first one that comes while ``at_once`` is true also ends the program, as elsewhere."""

    at_once = False


@contextmanager
def stop_signals() -> Iterator[Stop]:
    """Yield an event that Ctrl-C, SIGTERM and SIGHUP set: all of them are a good end where sound plays."""
    stopped = Stop()

    def stop(number: int, frame: FrameType | None) -> None:
        first = not stopped.is_set()
        stopped.set()
        if first and stopped.at_once:
            raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number)

    before: dict[int, Callable[..., Any] | int | None] = {}
    if threading.current_thread() is threading.main_thread():
        for name in ("SIGINT", "SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)
            if number is not None:
                before[number] = signal.signal(number, stop)
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
