"""Renew what the documentation takes from the program and from the records of measurements.

python docs/generate.py options            # every block between <!-- NAME --> and <!-- end -->, and docs/commands.md
python docs/generate.py --check options    # fail if they are out of date
python docs/generate.py benchmarks         # docs/benchmarks.json, measured now, and its tables
python docs/generate.py pictures           # docs/images/ and examples/street-denoised.opus, from the example recording

Numbers come from the program, models/scores.json, and docs/*.json. No page is read to make another.
"""

from __future__ import annotations

import argparse
import ast
import re
import tempfile
import textwrap
from collections.abc import Callable
from functools import partial
from pathlib import Path

import benchmarks
import claims
import commands
import costs
import quality
import training_run

from percepnet_cli.cli import COMMANDS

ROOT = Path(__file__).resolve().parent.parent
BLOCK = re.compile(r"^<!-- (?!end -->)([^\n]+?) -->\n(?:(?!<!-- ).)*?^<!-- end -->$", re.MULTILINE | re.DOTALL)
"""What is made by this script: a comment with its name, the content, and the comment "end"."""


def module_list() -> str:
    """Return the list of modules: room by room, a module a line, in its own words."""
    package = ROOT / "percepnet_cli"
    rows: list[str] = []
    for room in sorted({path.parent for path in package.rglob("*.py")}):
        name = "percepnet_cli" if room == package else f"{room.relative_to(package).as_posix()}/"
        rows += ["", f"### {name}", ""]
        for path in sorted(room.glob("*.py"), key=lambda path: (path.stem != "__init__", path.name)):
            sentence = (ast.get_docstring(ast.parse(path.read_text("utf-8"))) or "").partition("\n")[0]
            if path.stem == "__init__":
                rows += [
                    *textwrap.wrap(sentence, 100, break_on_hyphens=False),
                    "",
                    "| module | what it is |",
                    "| :-- | :-- |",
                ]
            else:
                rows.append(f"| [{path.stem}](../{path.relative_to(ROOT).as_posix()}) | {sentence} |")
    return "\n".join([*rows, ""])


def layers() -> str:
    """Return the layers and what they mean, as the contract in pyproject.toml has them."""
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    (contract,) = re.findall(r'^name = "Data flows one way"$.*?^layers = \[\n(.*?)^\]$', project, re.M | re.S)
    rows = re.findall(r'^ *"([^"]+)",(?: *# (.*))?$', contract, re.M)

    width = max(len(modules) for modules, _ in rows) + 4
    return "\n".join(["```text", *(f"{modules:{width}}{meaning}".rstrip() for modules, meaning in rows), "```"])


def makers() -> dict[str, Callable[[], str]]:
    """Return what makes each block, by its name."""
    made: dict[str, Callable[[], str]] = {
        f"options of {name}": partial(commands.option_table, commands.command(name)) for name in COMMANDS
    }
    made |= {"claims": claims.table, "upper bound": claims.upper_bound_table}
    made |= {"layers": layers, "modules": module_list}
    made |= benchmarks.BLOCKS
    return made | costs.BLOCKS | quality.BLOCKS | training_run.BLOCKS


def renewed(text: str) -> str:
    """Return a page with all its blocks made anew. Raises KeyError for a block that nobody makes."""
    made = makers()

    def replace(match: re.Match[str]) -> str:
        return f"<!-- {match[1]} -->\n{made[match[1]]()}\n<!-- end -->"

    return BLOCK.sub(replace, text)


def pages() -> list[Path]:
    """Return the pages that may hold blocks."""
    return [ROOT / "README.md", ROOT / "models" / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def options(check: bool) -> None:
    """Write, or check, everything that comes from the options and from what is recorded of models and speed."""
    wanted = {path: renewed(path.read_text("utf-8")) for path in pages()}
    wanted[ROOT / "docs" / "commands.md"] = commands.page()
    stale = []
    for path, text in wanted.items():
        if path.read_text("utf-8") != text:
            stale.append(str(path.relative_to(ROOT)))
            if not check:
                path.write_text(text, "utf-8")
    if check and stale:
        raise SystemExit(f"out of date: {', '.join(stale)}; run python docs/generate.py options")


def pictures() -> None:
    """Draw spectrograms of the example before and after; write what is heard after, for the README."""
    from percepnet_cli.audio.whole import read_mono
    from percepnet_cli.file_denoiser import denoise_file
    from percepnet_cli.plotting import figure as plots
    from percepnet_cli.plotting import views

    source = ROOT / "examples" / "street.flac"
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "clean.wav"
        denoise_file(source, target)
        denoise_file(source, source.with_name("street-denoised.opus"), force=True)
        signals = {"before": read_mono(source), "after": read_mono(target)}
    figure = plots.new_figure(11, 4, dpi=90)
    axes = figure.subplots(1, 2, sharey=True)
    for ax, (title, samples) in zip(axes, signals.items(), strict=True):
        image = views.draw_spectrogram(ax, samples)
        ax.set(title=title, xlabel="time, s")
    axes[0].set_ylabel("frequency, kHz")
    figure.colorbar(image, ax=axes, label="dB of full scale")
    path = ROOT / "docs" / "images" / "before-after.png"
    path.parent.mkdir(exist_ok=True)
    plots.save(figure, path)


def run() -> None:
    """Run the parts that are named."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("parts", nargs="+", choices=["options", "benchmarks", "pictures"])
    parser.add_argument("--peers", type=Path, help="script that runs other denoisers, for benchmarks")
    parser.add_argument("--check", action="store_true", help="change nothing, fail if out of date (options only)")
    arguments = parser.parse_args()
    for part in arguments.parts:
        if part == "options":
            options(arguments.check)
        elif part == "benchmarks":
            benchmarks.measure(arguments.peers)
            options(check=False)
        else:
            pictures()


if __name__ == "__main__":
    run()
