"""``percepnet export``: the denoiser as a library or plug-in for programs that know nothing of Python."""

from __future__ import annotations

from pathlib import Path

import click

from percepnet_cli.cli.options import CommandWithSections
from percepnet_cli.cli.printed import echo
from percepnet_cli.constants import DEFAULT_MODEL
from percepnet_cli.export.targets import TARGETS

DEFAULT_TARGET = "x86_64-linux"

EXAMPLES = """
    percepnet export ladspa ~/.ladspa
    percepnet export c percepnet-c/
    percepnet export c --model lite --target aarch64-linux percepnet-c/
    percepnet export wasm --model lite percepnet-web/

  Then, with the program of examples/c:
    cc -I percepnet-c denoise.c percepnet-c/libpercepnet.a -lm -o denoise
"""


@click.command(cls=CommandWithSections, examples=EXAMPLES)
@click.argument("kind", type=click.Choice(["c", "ladspa", "wasm"]))
@click.argument("folder", metavar="OUT", type=click.Path(file_okay=False, path_type=Path))
@click.option("-m", "--model", metavar="NAME|FILE", default=DEFAULT_MODEL, show_default=True, help="Its weights.")
@click.option(
    "--target",
    type=click.Choice(list(TARGETS)),
    show_default=DEFAULT_TARGET,
    help="Machine to compile for.",
)
@click.option("-f", "--force", is_flag=True, help="Replace results that exist.")
def export(kind: str, folder: Path, model: str, target: str | None, force: bool) -> None:
    """Make a library, a plug-in or a web module that needs no Python.

    c: OUT gets percepnet.h, which explains itself, a shared and a static library. One hop of 10 ms is one call; streams
    share nothing, and nothing is allocated while they run.

    ladspa: OUT gets percepnet_ladspa.so, a plug-in for PipeWire, Audacity, ffmpeg, sox and other hosts of LADSPA, mono
    and stereo, at 48 kHz.

    wasm: OUT gets percepnet.wasm and a JavaScript module, ready for npm: its README.md explains recordings, streams and
    the node for the audio thread.

    The weights are inside. Needs the extra export (ziglang, whose compiler links for all targets from any machine);
    takes a minute.
    """
    from percepnet_cli.export import library, web
    from percepnet_cli.export.workshop import exportable
    from percepnet_cli.storage.target import check_file, check_folder, make_folder

    if kind == "wasm" and target is not None:
        raise click.UsageError("wasm runs on any machine: it takes no --target")
    target = target or DEFAULT_TARGET
    names = web.results() if kind == "wasm" else library.results(kind, target)
    check_folder(folder)
    for name in names if folder.exists() else []:
        check_file(folder / name, force)
    exportable(model)  # before a folder is made
    make_folder(folder)
    if kind == "wasm":
        web.build(folder, model, force)
    else:
        library.build(kind, folder, model, target, force)
    for name in names:
        echo(str(folder / name))
