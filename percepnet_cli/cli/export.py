"""``percepnet export``: the denoiser as a library for programs that know nothing of Python."""

from __future__ import annotations

from pathlib import Path

import click

from percepnet_cli.cli.options import CommandWithSections
from percepnet_cli.cli.printed import echo
from percepnet_cli.constants import DEFAULT_MODEL
from percepnet_cli.export.targets import TARGETS

EXAMPLES = """
    percepnet export c percepnet-c/
    percepnet export c --model lite --target aarch64-linux percepnet-c/

  Then, with the program of examples/c:
    cc -I percepnet-c denoise.c percepnet-c/libpercepnet.a -lm -o denoise
"""


@click.command(cls=CommandWithSections, examples=EXAMPLES)
@click.argument("kind", type=click.Choice(["c"]))
@click.argument("folder", metavar="OUT", type=click.Path(file_okay=False, path_type=Path))
@click.option("-m", "--model", metavar="NAME|FILE", default=DEFAULT_MODEL, show_default=True, help="Its weights.")
@click.option(
    "--target",
    type=click.Choice(list(TARGETS)),
    default="x86_64-linux",
    show_default=True,
    help="Machine to compile for.",
)
@click.option("-f", "--force", is_flag=True, help="Replace results that exist.")
def export(kind: str, folder: Path, model: str, target: str, force: bool) -> None:
    """Make a C library that denoises without Python.

    OUT gets percepnet.h, which explains itself, a shared and a static library with the weights inside. One hop of 10 ms
    is one call; streams share nothing, and nothing is allocated while they run. Needs the extra export (ziglang, whose
    compiler links for all targets from any machine); takes half a minute.
    """
    from percepnet_cli.export.library import build, results
    from percepnet_cli.storage.target import check_file, check_folder, make_folder

    check_folder(folder)
    for name in results(target) if folder.exists() else []:
        check_file(folder / name, force)
    make_folder(folder)
    build(folder, model, target)
    for name in results(target):
        echo(str(folder / name))
