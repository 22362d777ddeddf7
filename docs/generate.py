"""Renew what the documentation takes from the program: option tables, measurements, pictures.

python docs/generate.py options            # README.md, docs/{commands,paper,architecture,training}.md
python docs/generate.py --check options    # fail if they are out of date
python docs/generate.py benchmarks         # docs/benchmarks.md, measured now
python docs/generate.py pictures           # docs/images/, from the example recording
"""

from __future__ import annotations

import argparse
import ast
import tempfile
from pathlib import Path

import click

from percepnet_cli.cli import COMMANDS, main

ROOT = Path(__file__).resolve().parent.parent
BEGIN, END = "<!-- options of {} -->", "<!-- end -->"
CLAIMS = "<!-- claims -->"
UPPER_BOUND = "<!-- upper bound -->"
MODULES = "<!-- modules -->"


def option_table(command: click.Command) -> str:
    """Return a Markdown table of a command's options."""
    context = click.Context(command, info_name=command.name, help_option_names=["-h", "--help"])
    rows = []
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if isinstance(parameter, click.Option) and record and "--help" not in parameter.opts:
            names, text = (part.replace("|", "\\|") for part in record)
            rows.append(f"| `{names}` | {text} |")
    return "\n".join(["| option | meaning |", "| :-- | :-- |", *rows])


def command(name: str) -> click.Command:
    """Return a command of the program by its name."""
    found = main.get_command(click.Context(main), name)
    if found is None:
        raise SystemExit(f"no command {name}")
    return found


def with_tables(text: str) -> str:
    """Replace what stands between the marks of every command by its option table."""
    for name in COMMANDS:
        begin = BEGIN.format(name)
        if begin in text:
            before, _, rest = text.partition(begin)
            _, _, after = rest.partition(END)
            text = f"{before}{begin}\n{option_table(command(name))}\n{END}{after}"
    return text


def commands_page() -> str:
    """Return docs/commands.md: every command with its help."""
    parts = ["# Commands", "", "Made by `python docs/generate.py options` from the program's own help."]
    for name in COMMANDS:
        made = command(name)
        names = made.context_settings["help_option_names"]
        context = click.Context(
            made,
            info_name=f"percepnet {name}",
            max_content_width=100,
            terminal_width=100,
            help_option_names=names,
        )
        parts += ["", f"## percepnet {name}", "", "```text", command(name).get_help(context), "```"]
    return "\n".join(parts) + "\n"


def with_claims(text: str) -> str:
    """Renew the tables of docs/paper.md."""
    from claims import table, upper_bound_table

    for mark, made in ((CLAIMS, table()), (UPPER_BOUND, upper_bound_table())):
        before, _, rest = text.partition(mark)
        _, _, after = rest.partition(END)
        text = f"{before}{mark}\n{made}\n{END}{after}"
    return text


def with_modules(text: str) -> str:
    """Renew the list of modules in docs/architecture.md: room by room, a module a line, in its own words."""
    package = ROOT / "percepnet_cli"
    rows: list[str] = []
    for room in sorted({path.parent for path in package.rglob("*.py")}):
        name = "percepnet_cli" if room == package else f"{room.relative_to(package).as_posix()}/"
        rows += ["", f"### {name}", ""]
        for path in sorted(room.glob("*.py"), key=lambda path: (path.stem != "__init__", path.name)):
            sentence = (ast.get_docstring(ast.parse(path.read_text("utf-8"))) or "").partition("\n")[0]
            if path.stem == "__init__":
                rows += [sentence, "", "| module | what it is |", "| :-- | :-- |"]
            else:
                rows.append(f"| [{path.stem}](../{path.relative_to(ROOT).as_posix()}) | {sentence} |")
    before, _, rest = text.partition(MODULES)
    _, _, after = rest.partition(END)
    return "\n".join([f"{before}{MODULES}", *rows, "", f"{END}{after}"])


def options(check: bool) -> None:
    """Write, or check, everything that comes from the options and from what is recorded of models and speed."""
    readme, docs = ROOT / "README.md", ROOT / "docs"
    names = ("commands", "paper", "architecture", "training")
    page, paper, architecture, training = (docs / f"{name}.md" for name in names)
    stale = []
    for path, wanted in (
        (readme, with_tables(readme.read_text("utf-8"))),
        (page, commands_page()),
        (paper, with_claims(paper.read_text("utf-8"))),
        (architecture, with_modules(architecture.read_text("utf-8"))),
        (training, with_tables(training.read_text("utf-8"))),
    ):
        if not path.exists() or path.read_text("utf-8") != wanted:
            stale.append(str(path.relative_to(ROOT)))
            if not check:
                path.write_text(wanted, "utf-8")
    if check and stale:
        raise SystemExit(f"out of date: {', '.join(stale)}; run python docs/generate.py options")


def pictures() -> None:
    """Draw spectrograms of the example before and after."""
    from percepnet_cli.audio.whole import read_mono
    from percepnet_cli.file_denoiser import denoise_file
    from percepnet_cli.plotting import figure as plots
    from percepnet_cli.plotting import views

    source = ROOT / "examples" / "street.flac"
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "clean.wav"
        denoise_file(source, target)
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
            from benchmarks import benchmarks

            benchmarks(ROOT, arguments.peers)
        else:
            pictures()


if __name__ == "__main__":
    run()
