"""The command group: help without weight, exit codes, errors at one border."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import click
import pytest
from click.testing import CliRunner

from percepnet_cli import __version__, cli, load_model
from percepnet_cli.cli.options import Decibels, Reduction
from percepnet_cli.constants import DEFAULT_FILE_MODEL, DEFAULT_MODEL


def python(*arguments: str, **options: object) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=60, **options)


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["denoise", "--help"], ["train", "--help"]])
def test_help_imports_nothing_heavy(arguments):
    code = (
        "import sys\n"
        "from percepnet_cli.cli import main\n"
        f"main({arguments}, standalone_mode=False)\n"
        "heavy = {'numpy', 'numba', 'soundfile', 'soxr', 'tqdm', 'torch', 'sounddevice'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    result = python("-c", code)
    assert result.returncode == 0, result.stderr


def test_group_help_lists_the_commands():
    result = CliRunner().invoke(cli.main, ["--help"])
    assert result.exit_code == 0
    assert "denoise" in result.output


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_explains_itself(name):
    with click.Context(cli.main) as ctx:
        command = cli.main.get_command(ctx, name)
    assert command.name == name
    assert command.help.partition("\n")[0] == next(group[name] for group in cli.GROUPS.values() if name in group)


def test_the_groups_help_has_whole_sentences():
    result = CliRunner().invoke(cli.main, ["--help"])
    for title, summaries in cli.GROUPS.items():
        assert f"\n{title}:\n" in result.output
        for name, summary in summaries.items():
            assert re.search(rf"^  {name} +{re.escape(summary)}$", result.output, re.MULTILINE)


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_long_lists_of_options_are_in_groups(name):
    with click.Context(cli.main) as ctx:
        command = cli.main.get_command(ctx, name)
    own = [option.opts[-1] for option in command.params if isinstance(option, click.Option)]
    grouped = [option for group in command.option_groups.values() for option in group]
    assert sorted(grouped) == sorted(own) or (not grouped and len(own) < 8)


def test_version():
    result = CliRunner().invoke(cli.main, ["--version"])
    names = dict.fromkeys((DEFAULT_FILE_MODEL, DEFAULT_MODEL))
    defaults = (f"model {name}, sha256 {load_model(name).digest}" for name in names)
    assert (result.exit_code, result.output.splitlines()) == (0, [f"percepnet, version {__version__}", *defaults])


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_help_ends_as_a_manual_page_does(name):
    text = CliRunner().invoke(cli.main, [name, "--help"]).output
    assert "xample" in text and f"percepnet {name}" in text
    assert text.index("--help") < text.index("Examples:") and "Exit codes:" not in text


def test_exit_codes_and_environment_are_told_once():
    text = CliRunner().invoke(cli.main, ["--help"]).output
    assert text.index("Options:") < text.index("Exit codes:") < text.index("Environment:")
    assert all(f"\n  {code} " in text for code in (0, 1, 2, 130))


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_can_complete(shell):
    if shell == "bash" and shutil.which("bash") is None:
        pytest.skip("no bash")
    program = Path(sys.executable).parent / "percepnet"

    def percepnet(**variables):
        return subprocess.run([program], env={**os.environ, **variables}, capture_output=True, text=True, timeout=60)

    script = percepnet(_PERCEPNET_COMPLETE=f"{shell}_source")
    assert script.returncode == 0 and "_PERCEPNET_COMPLETE" in script.stdout
    asked = {"_PERCEPNET_COMPLETE": f"{shell}_complete", "COMP_WORDS": "percepnet den", "COMP_CWORD": "1"}
    if shell == "fish":
        asked["COMP_CWORD"] = "den"
    assert "denoise" in percepnet(**asked).stdout


def test_module_is_the_command():
    assert "denoise" in python("-m", "percepnet_cli", "--help").stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["frobnicate"],
        ["denoise"],
        ["denoise", "--what"],
        ["denoise", "--force", "--skip-existing", "a", "b"],
        ["denoise", "--raw", "48000:1", "-", "-"],
        ["denoise", "--raw", "48000:1:s17", "-", "-"],
        ["denoise", "--format", "xyz", "a", "b/"],
        ["denoise", "-", "-", "b/"],
    ],
)
def test_usage_errors_exit_with_2(arguments):
    result = CliRunner().invoke(cli.main, arguments)
    assert result.exit_code == 2
    assert "Usage: " in result.stderr


@pytest.mark.parametrize(
    ("word", "hint"), [("denose", " Did you mean 'denoise'?"), ("trian", " Did you mean 'train'?"), ("xyz", "")]
)
def test_a_misspelled_command_is_answered_with_the_right_one(word, hint):
    result = CliRunner().invoke(cli.main, [word, "a.wav"])
    assert result.exit_code == 2 and result.stderr.endswith(f"Error: '{word}' is neither a command nor a file.{hint}\n")


@pytest.mark.parametrize("option", ["-h", "-V"])
def test_short_options_of_the_group(option):
    long = {"-h": "--help", "-V": "--version"}[option]
    assert CliRunner().invoke(cli.main, [option]).output == CliRunner().invoke(cli.main, [long]).output != ""


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_takes_h(name):
    result = CliRunner().invoke(cli.main, [name, "-h"])
    assert result.exit_code == 0 and "-h, --help" in result.output


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("12", 12),
        ("-12", 12),
        ("12dB", 12),
        ("-12 dB", 12),
        ("\N{MINUS SIGN}6db", 6),
        (" 1.5 DB ", 1.5),
        ("0", 0),
        ("inf", float("inf")),
    ],
)
def test_decibels_are_understood_as_people_write_them(text, expected):
    assert Reduction().convert(text, None, None) == expected


@pytest.mark.parametrize("text", ["nan", "--12", "12 Hz", "dB", ""])
def test_other_words_are_no_decibels(text):
    with pytest.raises(click.BadParameter):
        Reduction().convert(text, None, None)


def test_a_range_of_decibels_keeps_the_sign():
    assert Decibels(-40, 60).convert("-5dB", None, None) == -5
    with pytest.raises(click.BadParameter):
        Decibels(-40, 60).convert("61 dB", None, None)


@pytest.fixture
def failing(monkeypatch):
    """Put a command into the group that raises what it is told to."""
    module = ModuleType("failing_command")

    def set_error(error: BaseException) -> None:
        @click.command()
        def fail() -> None:
            raise error

        module.fail = fail

    monkeypatch.setitem(sys.modules, "failing_command", module)
    monkeypatch.setitem(cli.COMMANDS, "fail", "failing_command:fail")
    return set_error


def test_known_errors_are_sentences(failing):
    from percepnet_cli.errors import AudioError

    failing(AudioError("a.wav is sour"))
    result = CliRunner().invoke(cli.main, ["fail"])
    assert (result.exit_code, result.stderr) == (1, "Error: a.wav is sour\n")


def test_bugs_are_not_hidden(failing):
    failing(ZeroDivisionError("a bug"))
    assert isinstance(CliRunner().invoke(cli.main, ["fail"]).exception, ZeroDivisionError)


def test_interruption_exits_with_130(failing):
    failing(KeyboardInterrupt())
    result = CliRunner().invoke(cli.main, ["fail"])
    assert (result.exit_code, result.output) == (130, "\n")


def test_missing_dependency_of_a_command_is_not_taken_for_a_missing_command(monkeypatch):
    def load(name):
        raise ModuleNotFoundError("No module named 'click_extra'", name="click_extra")

    monkeypatch.setattr(cli.importlib, "import_module", load)
    result = CliRunner().invoke(cli.main, ["denoise", "a", "b"])
    assert result.exit_code == 1
    assert result.stderr == "Error: a package cannot be loaded: No module named 'click_extra'\n"


def test_signal_handlers_are_given_back():
    before = signal.getsignal(signal.SIGTERM)
    CliRunner().invoke(cli.main, ["denoise", "none.wav", "out.wav"])
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.skipif(sys.platform == "win32", reason="needs a shell")
def test_closed_pipe_is_no_news():
    script = f"'{sys.executable}' -m percepnet_cli denoise --help | true; exit ${{PIPESTATUS[0]}}"
    result = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=60)
    assert result.stderr == ""
