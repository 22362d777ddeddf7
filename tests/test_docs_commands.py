"""Every command in the documentation does something: run on small files, or at least parsed by the program."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import click
import documented
import pulse
import pytest
import soundfile
from documented import ROOT, calls, commands, small

from percepnet_cli.cli import main

COMMANDS = commands()

PARSED_ONLY = {
    r"percepnet live": "a microphone; tests/test_live_pulse.py has one",
    r"percepnet (play|demo)": "a sound device; tests/test_play_pulse.py has one",
    r"arecord": "a microphone",
    r"percepnet export": "a minute each; tests/test_export*.py do it",
    r"--scheduler": "a cluster; tests/test_cluster.py starts one",
    r"s3://": "a store in a cloud; tests/test_cluster.py has fsspec's memory://",
    r"parallel ": "several machines",
    r"^make (check|test|bench|docs|pictures|quality|model|lint)": "CI runs it, or it takes long; its lines are read",
    r"^python (?!-c)": "developers' scripts; that they and their options exist is checked",
}
"""What cannot run here (pattern: reason); the options must exist none the less."""


def reason(text):
    """Why a command is not run, or None."""
    found = [why for pattern, why in PARSED_ONLY.items() if re.search(pattern, text)]
    if re.search(r"ffmpeg|\.mp4|\.mkv", text) and not shutil.which("ffmpeg"):
        found.append("no ffmpeg")
    if re.search(r"percepnet (evaluate|oracle)", text) and find_spec("pesq") is None:
        found.append("the extra 'metrics' is not installed")
    return found[0] if found else None


def check_call(arguments, quoted):
    """Let the real command parse a call: every option, its type, every argument."""
    if arguments[0].startswith("-"):
        assert arguments in (["--help"], ["--version"])
        return
    if "." in arguments[0]:  # a file: the default command
        arguments = ["denoise", *arguments]
    command = main.get_command(click.Context(main), arguments[0])
    assert command is not None, f"no command {arguments[0]}"
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    used = {word.partition("=")[0] for word in arguments if re.match(r"--?[a-z]", word)}
    assert used <= known | {"--help"}, used - known
    try:
        command.make_context(
            arguments[0], [word for word in arguments[1:] if word != "..."], parent=click.Context(main)
        )
    except (click.MissingParameter, click.BadOptionUsage) as error:
        assert quoted, error.message
    except click.BadParameter as error:
        assert quoted and re.search(r"'[A-Z|]+'", error.message), error.message


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """A folder with the recordings, films and tables that the commands name."""
    folder = tmp_path_factory.mktemp("documented")
    documented.write_files(folder)
    documented.write_corpus(folder)
    return folder


@pytest.fixture(scope="module")
def trained(template, programs):
    """The same folder when the training of the guide has been done in it, and measurements to compare."""
    assert [calls(step)[0][0] for step in STEPS] == ["train-targets", "train-targets", "train", "quantize"]
    (template / "mine.safetensors").unlink()
    for step in STEPS:
        run(small(step), template, programs)
    shutil.copytree(template / "runs", template / "shards")
    shutil.copytree(template / "runs" / "mine", template / "runs" / "lite")
    run(small("percepnet bench --json > before.json"), template, programs)
    shutil.copy(template / "before.json", template / "after.json")
    return template


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    """An environment whose shells find percepnet, python and make's virtual environment."""
    folder = tmp_path_factory.mktemp("programs")
    (folder / "percepnet").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m percepnet_cli "$@"\n')
    (folder / "python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    for program in folder.iterdir():
        program.chmod(0o755)
    home = {"HOME": str(tmp_path_factory.mktemp("home"))}
    others = {name: value for name, value in os.environ.items() if name != "VENV"}  # make has its own here
    return others | home | {"PATH": f"{folder}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}


def run(text, folder, environment):
    """Run a command line in a folder; it must end well."""
    result = subprocess.run(
        ["bash", "-o", "pipefail", "-c", text], cwd=folder, env=environment, capture_output=True, timeout=300
    )
    assert result.returncode == 0, f"{text}\n{result.stderr.decode()}{result.stdout[-2000:].decode(errors='replace')}"
    return result.stdout


def test_there_are_commands():
    pages = {command.page for command in COMMANDS}
    assert {"README.md", "docs/commands.md", "docs/training.md", "docs/live.md", "docs/troubleshooting.md"} <= pages
    assert len(COMMANDS) > 60
    assert all(any(re.search(pattern, c.text) for c in COMMANDS) for pattern in PARSED_ONLY)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: f"{c.page}: {c.text[:60]}")
def test_is_parsed(command, template, tmp_path, monkeypatch):
    if "--scheduler" in command.text:
        pytest.importorskip("distributed")
    shutil.copytree(template, tmp_path / "work", symlinks=True)
    monkeypatch.chdir(tmp_path / "work")

    if command.text.startswith("make "):
        words = [word for word in shlex.split(command.text)[1:] if not word.startswith("[")]
        result = subprocess.run(["make", "-n", "-C", ROOT, *words], capture_output=True, text=True)
        assert result.returncode == 0, result.stderr
        for line in documented.shell_lines("    " + result.stdout.replace("\n", "\n    ").replace(".venv/bin/", "")):
            for arguments in calls(line.replace("...", "voices")):
                check_call(arguments, quoted=False)
        return

    script = re.match(r"python (?:-m pytest )?([\w/]+\.py)", command.text)

    if script:
        source = (ROOT / script[1]).read_text("utf-8")
        assert all(option in source for option in re.findall(r"--[a-z][\w-]+", command.text))
        return

    documented.provide(command.text, Path.cwd())
    for arguments in calls(command.text):
        check_call(arguments, command.quoted)


def is_whole(command):
    """Return whether nothing is left for the reader to fill in."""
    if command.quoted and re.search(r"(?<![\w-])[A-Z]{3,}(?![\w=])|\.\.\.", command.text):
        return False
    for name, *arguments in calls(command.text):
        found = main.get_command(click.Context(main), name)
        if found is not None:
            try:
                found.make_context(name, arguments, parent=click.Context(main))
            except (click.MissingParameter, click.BadOptionUsage):
                return False
            except click.UsageError:  # files that are not there yet
                pass
    return True


STEPS = re.findall(
    r"^ {4}(percepnet (?:train|quantize).*)$", documented.section("docs/training.md", "The five steps"), re.M
)
"""The way from recordings to a model."""

WHOLE = [c for c in COMMANDS if reason(c.text) is None and not c.text.startswith("make ") and is_whole(c)]
RUNNABLE = list({small(c.text): c for c in reversed(WHOLE) if small(c.text) not in map(small, STEPS)}.values())
"""Of commands that differ in length only, one."""


@pytest.mark.slow
def test_training_leads_from_folders_to_a_model_that_denoises(trained, programs, tmp_path):
    run(f"percepnet denoise --model mine.safetensors noisy.wav {tmp_path}/clean.wav", trained, programs)
    before, after = soundfile.info(trained / "noisy.wav"), soundfile.info(tmp_path / "clean.wav")
    assert (after.frames, after.samplerate) == (before.frames, before.samplerate)
    assert (trained / "runs" / "mine" / "curves.png").stat().st_size > 1000


@pytest.mark.slow
def test_make_demo_denoises_the_example(programs, tmp_path):
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    venv = tmp_path / ".venv" / "bin"
    venv.mkdir(parents=True)
    for name in ("percepnet", "python"):
        shutil.copy(shutil.which(name, path=programs["PATH"]), venv)
    (venv.parent / ".runtime").touch()  # make then finds installed what is
    run("make demo", tmp_path, programs)
    assert soundfile.info(tmp_path / "demo" / "street-denoised.flac").duration == 8


def clear(text, folder):
    """Take away what a step of training would find done already, and would go on with."""
    for name, *arguments in calls(text):
        command = main.get_command(click.Context(main), name)
        if name in ("train-targets", "train", "quantize"):
            values = command.make_context(name, arguments, parent=click.Context(main)).params
            out = folder / values[[p.name for p in command.params if isinstance(p, click.Argument)][-1]]
            shutil.rmtree(out, ignore_errors=True)
            out.unlink(missing_ok=True)


@pytest.mark.slow
@pytest.mark.parametrize("command", RUNNABLE, ids=lambda c: f"{c.page}: {c.text[:60]}")
def test_runs(command, trained, programs, tmp_path, monkeypatch):
    folder = tmp_path / "work"
    shutil.copytree(trained, folder, symlinks=True)
    monkeypatch.chdir(folder)
    clear(command.text, folder)
    documented.provide(command.text, folder)
    run(small(command.text), folder, programs)


@pytest.mark.slow
def test_the_live_page_makes_a_virtual_microphone(programs, tmp_path):
    why = pulse.missing()
    if why:
        pytest.skip(why)
    section = documented.section("docs/live.md", "A cable by hand").replace("\\\n", " ").partition("At every login")[0]
    lines = re.findall(r"^ {4}((?:pactl|percepnet live) .*)$", section, re.MULTILINE)
    assert [line.split()[0] for line in lines] == ["pactl", "pactl", "percepnet", "pactl", "pactl"]
    with pulse.Server() as server:
        server.pactl("set-default-source", "mic")
        sound = server.env | {"PATH": programs["PATH"], "PYTHONPATH": programs["PYTHONPATH"]}
        for line in lines[:2]:
            run(line, tmp_path, sound)
        assert "percepnet_mic" in server.pactl("list", "short", "sources")
        run(f"{lines[2]} --seconds 8 --record noisy.wav clean.wav", tmp_path, sound)
        assert soundfile.info(tmp_path / "clean.wav").duration > 1
        for line in lines[3:]:
            run(line, tmp_path, sound)
        assert "percepnet" not in server.pactl("list", "short", "sources")
