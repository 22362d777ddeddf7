"""Make docs/commands.md and the tables of options from the commands themselves."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Sequence

import click

from percepnet_cli.cli import COMMANDS, GROUPS, main

HELP_NAMES = ["-h", "--help"]
WIDTH = 100
INTRODUCTION = """\
# Commands

```text
Usage: percepnet COMMAND [OPTIONS] ARGUMENTS...
```

A command line that begins with a file is one of [denoise](#percepnet-denoise). Every command has
`--help`, which says the same as this page. [Exit codes](#exit-codes) and [environment
variables](#environment) are the same for all. The page is made from the commands by
`python docs/generate.py options`.
"""


def command(name: str) -> click.Command:
    """Return a command of the program by its name."""
    found = main.get_command(click.Context(main), name)
    if found is None:
        raise SystemExit(f"no command {name}")
    return found


def context_of(made: click.Command) -> click.Context:
    """Return the context in which a command tells of itself."""
    return click.Context(made, info_name=f"percepnet {made.name}", help_option_names=HELP_NAMES)


def option_table(made: click.Command) -> str:
    """Return Markdown tables of a command's options: one, or one for each of its groups."""
    context = context_of(made)
    groups: dict[str, Sequence[str]] = getattr(made, "option_groups", {})
    group_of = {name: title for title, names in groups.items() for name in names}
    rows: dict[str, list[str]] = {title: [] for title in (*groups, "Other")}
    for parameter in made.get_params(context):
        record = parameter.get_help_record(context)
        if isinstance(parameter, click.Option) and record and "--help" not in parameter.opts:
            names, text = (part.replace("|", "\\|") for part in record)
            rows[group_of.get(parameter.opts[-1], "Other")].append(f"| `{names}` | {text} |")

    head = ["| option | meaning |", "| :-- | :-- |"]
    tables = [
        "\n".join([*([f"*{title}*", ""] if groups else []), *head, *lines]) for title, lines in rows.items() if lines
    ]
    return "\n\n".join(tables) or "No options but `--help`."


def sections(made: click.Command) -> dict[str, str]:
    """Return what the help has after the options, by title: examples, exit codes, environment."""
    formatter = click.HelpFormatter(width=WIDTH)
    made.format_epilog(context_of(made), formatter)
    parts = re.split(r"^(\w[\w ]*):$", formatter.getvalue(), flags=re.MULTILINE)[1:]
    return {title: textwrap.dedent(text).strip("\n") for title, text in zip(parts[::2], parts[1::2], strict=True)}


def description(made: click.Command) -> tuple[list[str], str]:
    """Return a command's help: its paragraphs, wrapped, and its example, which may be empty."""
    paragraphs, example = [], ""
    for paragraph in inspect.cleandoc(made.help or "").replace("\b\n", "").split("\n\n"):
        first, _, rest = paragraph.partition("\n")
        if re.match(r"Examples?:$", first):
            example = textwrap.dedent(rest)
        else:
            paragraphs.append(textwrap.fill(" ".join(paragraph.split()), WIDTH, break_on_hyphens=False))
    return paragraphs, example


def usage(made: click.Command) -> str:
    """Return the line that shows how a command is called."""
    return f"percepnet {made.name} {' '.join(made.collect_usage_pieces(context_of(made)))}"


def one_command(name: str) -> list[str]:
    """Return the section of a command, in lines."""
    made = command(name)
    paragraphs, example = description(made)
    example = sections(made).get("Examples", "") or example
    lines = ["", f"## percepnet {name}", "", "```text", f"Usage: {usage(made)}", "```"]
    for paragraph in paragraphs:
        lines += ["", paragraph]
    lines += ["", option_table(made)]
    if example:
        # What stands between the commands says what they do.
        shown = [line.strip() for line in example.splitlines()]
        shown = [f"# {line[0].lower()}{line[1:].rstrip(':')}" if line.endswith(":") else line for line in shown]
        lines += ["", "```sh", *shown, "```"]
    return lines


def ending() -> list[str]:
    """Return what all commands share, in lines."""
    shared = sections(main)
    lines: list[str] = []
    for title, first, second in (("Exit codes", "code", "meaning"), ("Environment", "variable", "what it sets")):
        lines += ["", f"## {title}", "", f"| {first} | {second} |", "| :-- | :-- |"]
        for row in shared[title].splitlines():
            name, _, meaning = row.strip().partition(" ")
            lines.append(f"| `{name}` | {meaning.strip()} |")
    return lines


def page() -> str:
    """Return docs/commands.md."""
    lines = INTRODUCTION.rstrip("\n").split("\n")
    for title, summaries in GROUPS.items():
        lines += ["", f"| {title.lower()} | |", "| :-- | :-- |"]
        lines += [f"| [{name}](#percepnet-{name}) | {summary} |" for name, summary in summaries.items()]
    for name in COMMANDS:
        lines += one_command(name)
    return "\n".join([*lines, *ending()]) + "\n"
