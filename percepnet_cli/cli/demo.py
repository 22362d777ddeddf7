"""``percepnet demo``: a recording that comes with the program, before and after."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import click

from percepnet_cli.cli.options import CommandWithSections
from percepnet_cli.cli.printed import echo

CLIP = "waves.opus"
"""Six seconds of the examples; who spoke, and under which license, is said in examples/README.md."""

NAMES = ("percepnet-before.wav", "percepnet-after.wav")

EXAMPLES = """
    percepnet demo
    percepnet demo --no-output /tmp
"""


@click.command(cls=CommandWithSections, examples=EXAMPLES)
@click.argument("folder", required=False, default=".", type=click.Path(path_type=Path))
@click.option("--output", "device", metavar="DEVICE", help="Index or part of the name.  [default: the system's]")
@click.option("--no-output", is_flag=True, help="Play nothing, only write.")
@click.option("-f", "--force", is_flag=True, help="Replace the two files if they exist.")
def demo(folder: Path, device: str | None, no_output: bool, force: bool) -> None:
    """Let you hear what the program does.

    Denoises six seconds of speech beside the sea, writes percepnet-before.wav and percepnet-after.wav
    into FOLDER (by default the one you are in), and plays both where there is a sound device.
    """
    from percepnet_cli.audio.files import open_reader, open_writer
    from percepnet_cli.cli.progress import prepare, summary
    from percepnet_cli.file_denoiser import denoise_file
    from percepnet_cli.storage.packaged import packaged
    from percepnet_cli.storage.target import make_folder

    make_folder(folder)
    before, after = (folder / name for name in NAMES)
    with (
        resources.as_file(packaged("examples") / CLIP) as clip,
        open_reader(clip) as reader,
        open_writer(before, reader, force) as writer,
    ):
        for block in reader.blocks(reader.sample_rate):
            writer.write(block)
    prepare()
    report = denoise_file(before, after, force=force)
    echo(f"{before}\n{summary(str(after), report)}")
    if not no_output:
        _play((before, after), device)


def _play(paths: tuple[Path, ...], device: str | None) -> None:
    """Play files one after the other; say so if there is nothing to play them with."""
    from percepnet_cli.audio.files import open_reader
    from percepnet_cli.errors import DeviceError

    try:
        from percepnet_cli.live import portaudio
        from percepnet_cli.live.devices import choose_output

        target = choose_output(portaudio.list_devices(), device)
        for path in paths:
            with open_reader(path) as reader, portaudio.Output(target, reader.channels, reader.sample_rate) as speaker:
                echo(f"playing {path}", err=True)
                for block in reader.blocks(reader.sample_rate // 10):
                    speaker.write(block)
                speaker.drain()
    except DeviceError as error:
        if device is not None:
            raise
        echo(f"Nothing is played ({error}); open the two files in a player.", err=True)
