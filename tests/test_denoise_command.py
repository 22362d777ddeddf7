"""``percepnet denoise`` around a denoiser that changes nothing but has the delay of the real one."""

from __future__ import annotations

import inspect
import os
import re
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import ClassVar

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner, Result
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from percepnet_cli import cli
from percepnet_cli.cli.arguments import sources_and_target
from percepnet_cli.errors import ModelError
from percepnet_cli.file_denoiser import BLOCK_HOPS, denoise_blocks, denoise_file

RATES = (8000, 11025, 16000, 22050, 32000, 44100, 48000, 88200, 96000, 192000)


class FakeDenoiser:
    """Returns its input 1440 samples later, in whole hops, in a buffer that the next call overwrites."""

    latency = 1440
    made: ClassVar[list[dict]] = []
    wait = 0.0

    def __init__(
        self,
        model,
        *,
        channels=1,
        post_filter=None,
        attenuation_limit_db=None,
        linked=True,
        threads=None,
        observer=None,
    ):
        if model == "broken":
            raise ModelError("broken: not a model")
        self.made.append(
            {
                "model": model,
                "post_filter": post_filter,
                "attenuation_limit_db": attenuation_limit_db,
                "linked": linked,
            }
        )
        self.sizes = []
        self._held = np.zeros((self.latency, channels), np.float32)
        self._out = np.zeros((0, channels), np.float32)

    def process(self, samples):
        assert samples.dtype == np.float32 and samples.flags.c_contiguous
        assert samples.shape[1] == self._held.shape[1]
        time.sleep(self.wait)
        self.sizes.append(len(samples))
        held = np.concatenate([self._held, samples])
        ready = (len(held) - self.latency) // 480 * 480
        return self._release(held, ready)

    def flush(self):
        return self._release(self._held, len(self._held))

    def _release(self, held, count):
        self._out[:] = np.nan
        self._out, self._held = held[:count].copy(), held[count:]
        return self._out


def fake_modules() -> dict[str, ModuleType]:
    denoiser = ModuleType("percepnet_cli.denoiser")
    denoiser.Denoiser = FakeDenoiser
    modelfile = ModuleType("percepnet_cli.network.modelfile")
    modelfile.load_file_model = lambda name: name
    jit = ModuleType("percepnet_cli.compute.jit")
    jit.is_cold = lambda: False
    return {module.__name__: module for module in (denoiser, modelfile, jit)}


@pytest.fixture(autouse=True)
def fake_denoiser(monkeypatch):
    for name, module in fake_modules().items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(FakeDenoiser, "made", [])


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli.main, ["denoise", *map(str, arguments)])


def make(path: Path, samples: np.ndarray, rate: int = 48000, **kind: str) -> Path:
    soundfile.write(path, samples, rate, **kind)
    return path


def tones(frames: int, channels: int, rate: int) -> np.ndarray:
    """Another slow sweep on each channel, fading in and out, float32 [frames, channels]."""
    t = np.arange(frames)[:, None] / rate
    top = 0.3 * min(rate, 48000) / max(frames / rate, 1e-3)
    phase = 2 * np.pi * (100 * t + top / 2 * t**2) + np.arange(channels)
    return (0.5 * np.sin(phase) * np.sin(np.pi * np.arange(frames) / max(frames, 1))[:, None]).astype(np.float32)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_length_rate_channels_and_alignment_stay(tmp_path, rate, channels):
    samples = tones(int(1.7 * rate) + 123, channels, rate)
    source = make(tmp_path / "in.wav", samples, rate, subtype="FLOAT")
    result = run(source, tmp_path / "out.wav")
    assert (result.exit_code, result.output) == (0, "")
    cleaned, new_rate = soundfile.read(tmp_path / "out.wav", dtype="float32", always_2d=True)
    assert (cleaned.shape, new_rate) == (samples.shape, rate)
    error = np.mean((cleaned - samples) ** 2) / np.mean(samples**2)
    assert 10 * np.log10(error + 1e-20) < -90
    assert soundfile.info(tmp_path / "out.wav").subtype == "FLOAT"


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rate=st.sampled_from([*RATES, 8001, 47999]),
    frames=st.integers(0, 5000),
    channels=st.integers(1, 3),
    cuts=st.lists(st.integers(0, 5000), max_size=4),
)
@example(rate=192000, frames=1, channels=1, cuts=[])
@example(rate=8000, frames=1, channels=1, cuts=[])
@example(rate=48000, frames=0, channels=1, cuts=[])
def test_any_length_comes_back(rate, frames, channels, cuts):
    samples = tones(frames, channels, rate)
    denoiser = FakeDenoiser(None, channels=channels)
    parts = np.split(samples, sorted(cuts))
    out = [part.copy() for part in denoise_blocks(parts, rate, channels, denoiser)]
    assert all(len(part) for part in out)
    result = np.concatenate([np.zeros((0, channels), np.float32), *out])
    assert result.shape == samples.shape
    assert np.isfinite(result).all()
    if rate == 48000:
        np.testing.assert_array_equal(result, samples)


@pytest.mark.parametrize("extension", [".flac", ".ogg", ".mp3", ".aiff", ".caf", ".w64", ".rf64", ".au", ".wav"])
def test_formats(tmp_path, extension):
    samples = tones(60_000, 2, 48000)
    source = make(tmp_path / f"in{extension}", samples)
    assert run(source, tmp_path / f"out{extension}").exit_code == 0
    before, after = soundfile.info(source), soundfile.info(tmp_path / f"out{extension}")
    assert (before.format, before.subtype, before.frames) == (after.format, after.subtype, after.frames)


def test_files_without_and_with_one_frame(tmp_path):
    for frames in (0, 1):
        source = make(tmp_path / "in.wav", np.full((frames, 2), 0.25, np.float32), 44100)
        assert run(source, tmp_path / f"{frames}.wav").exit_code == 0
        cleaned, rate = soundfile.read(tmp_path / f"{frames}.wav", always_2d=True)
        assert (cleaned.shape, rate) == ((frames, 2), 44100)


def test_nan_does_not_get_through(tmp_path):
    samples = tones(10_000, 1, 44100)
    samples[5000] = np.nan
    assert run(make(tmp_path / "in.wav", samples, 44100, subtype="FLOAT"), tmp_path / "out.wav").exit_code == 0
    assert np.isfinite(soundfile.read(tmp_path / "out.wav")[0]).all()


def test_file_is_taken_in_large_blocks_not_at_once(tmp_path, monkeypatch):
    made = []
    original = FakeDenoiser.__init__
    monkeypatch.setattr(FakeDenoiser, "__init__", lambda self, *a, **k: (original(self, *a, **k), made.append(self))[0])
    assert run(make(tmp_path / "in.wav", tones(48000 * 4, 1, 48000)), tmp_path / "out.wav").exit_code == 0
    assert made[0].sizes == [BLOCK_HOPS * 480] * 3 + [48000 * 4 - BLOCK_HOPS * 480 * 3, 0]


def test_options_reach_the_denoiser(tmp_path):
    source = make(tmp_path / "in.wav", tones(480, 1, 48000))
    plain = {"model": None, "post_filter": None, "attenuation_limit_db": None, "linked": True}
    assert run(source, tmp_path / "1.wav").exit_code == 0
    assert FakeDenoiser.made == [plain]
    options = ["--model", "mine", "--no-post-filter", "--attenuation-limit", "12.5", "--independent-channels"]
    assert run(*options, source, tmp_path / "2.wav").exit_code == 0
    changed = {"model": "mine", "post_filter": False, "attenuation_limit_db": 12.5, "linked": False}
    assert FakeDenoiser.made[1] == changed


def test_defaults_are_those_of_the_denoiser(monkeypatch):
    for name in fake_modules():
        monkeypatch.delitem(sys.modules, name)
    denoiser = pytest.importorskip("percepnet_cli.denoiser")
    if not hasattr(denoiser, "Denoiser"):
        pytest.skip("not there yet")
    theirs = inspect.signature(denoiser.Denoiser).parameters
    ours = inspect.signature(denoise_file).parameters
    for name in ("post_filter", "attenuation_limit_db", "linked"):
        assert theirs[name].default == ours[name].default
        assert theirs[name].kind is inspect.Parameter.KEYWORD_ONLY


def test_progress_is_told_in_seconds(tmp_path):
    source = make(tmp_path / "in.wav", tones(44100 * 3, 1, 44100), 44100)
    steps = []
    denoise_file(source, tmp_path / "out.wav", progress=lambda done, total: steps.append((done, total)))
    assert steps[0] == (0.0, 3.0)
    assert steps[-1] == (3.0, 3.0)
    assert len(steps) >= 3
    assert steps == sorted(steps)


def test_compiling_is_announced_once_unless_quiet(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules["percepnet_cli.compute.jit"], "is_cold", lambda: True)
    source = make(tmp_path / "in.wav", tones(48000, 1, 48000))
    result = run(source, tmp_path / "1.wav")
    assert result.stderr == "compiling the kernels (first run only, half a minute) ...\n"
    assert result.stdout == ""
    assert run("--quiet", source, tmp_path / "2.wav").output == ""


@pytest.mark.parametrize(
    ("source", "target", "sentence"),
    [
        ("none.wav", "out.wav", "none.wav does not exist"),
        ("folder", "out.wav", "folder is a folder, not a sound file"),
        ("text.wav", "out.wav", "text.wav is not a sound file that can be read"),
        ("empty.wav", "out.wav", "empty.wav is empty"),
        ("in.wav", "old.wav", "old.wav already exists; use --force to replace it"),
        ("in.wav", "in.wav", "in.wav already exists; use --force to replace it"),
        ("in.wav", "text.wav/out.wav", "out.wav cannot be written: Not a directory"),
        ("in.wav", "nowhere/out.wav", "out.wav cannot be written: there is no such folder"),
        ("in.wav", "out.xyz", "out.xyz needs an extension that tells its format: .wav .wave .flac"),
        ("in.wav", "out.opus", "out.opus cannot be written: Opus takes 8000, 12000"),
    ],
)
def test_mistakes_are_named_before_anything_is_loaded(tmp_path, monkeypatch, source, target, sentence):
    def load(self, model, **settings):
        raise AssertionError("too early")

    monkeypatch.setattr(FakeDenoiser, "__init__", load)
    make(tmp_path / "in.wav", tones(480, 1, 44100), 44100)
    (tmp_path / "folder").mkdir()
    (tmp_path / "text.wav").write_text("only words\n" * 500)
    (tmp_path / "empty.wav").touch()
    (tmp_path / "old.wav").write_text("precious")
    before = sorted(os.listdir(tmp_path))
    result = run(tmp_path / source, tmp_path / target)
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: ") and result.stderr.count("\n") == 1
    assert sentence in result.stderr
    assert sorted(os.listdir(tmp_path)) == before
    assert (tmp_path / "old.wav").read_text() == "precious"


def test_force_replaces_even_the_input(tmp_path):
    samples = tones(70_000, 2, 44100)
    source = make(tmp_path / "in.wav", samples, 44100, subtype="PCM_24")
    assert run("--force", source, source).exit_code == 0
    np.testing.assert_allclose(soundfile.read(source)[0], samples, atol=1e-4)
    assert os.listdir(tmp_path) == ["in.wav"]


def test_broken_model_is_one_sentence(tmp_path):
    source = make(tmp_path / "in.wav", tones(480, 1, 48000))
    result = run("--model", "broken", source, tmp_path / "out.wav")
    assert (result.exit_code, result.stderr) == (1, "Error: broken: not a model\n")
    assert os.listdir(tmp_path) == ["in.wav"]


def test_refused_setting_is_one_sentence(tmp_path, monkeypatch):
    def refuse(self, *arguments, **settings):
        raise ValueError("too many channels")

    monkeypatch.setattr(FakeDenoiser, "__init__", refuse)
    source = make(tmp_path / "in.wav", tones(480, 1, 48000))
    result = run(source, tmp_path / "out.wav")
    assert (result.exit_code, result.stderr) == (1, "Error: too many channels\n")
    assert os.listdir(tmp_path) == ["in.wav"]


@pytest.mark.parametrize("limit", ["--1", "nan", "loud"])
def test_wrong_limit_is_a_usage_error(limit):
    assert run("--attenuation-limit", limit, "a.wav", "b.wav").exit_code == 2


def test_damage_leaves_nothing(tmp_path):
    rng = np.random.default_rng(1)
    source = make(tmp_path / "in.flac", 0.1 * rng.standard_normal(48000 * 4), subtype="PCM_16")
    content = bytearray(source.read_bytes())
    content[len(content) // 2 :] = bytes(len(content) // 2)
    source.write_bytes(content)
    result = run(source, tmp_path / "out.flac")
    assert result.exit_code == 1
    assert "damaged somewhere after 1.3 s" in result.stderr
    assert os.listdir(tmp_path) == ["in.flac"]


def test_interruption_leaves_nothing(tmp_path, monkeypatch):
    def interrupt(self, samples):
        raise KeyboardInterrupt

    monkeypatch.setattr(FakeDenoiser, "process", interrupt)
    source = make(tmp_path / "in.wav", tones(48000, 1, 48000))
    result = run(source, tmp_path / "out.wav")
    assert (result.exit_code, result.output) == (130, f"\n{tmp_path / 'out.wav'} was not written\n")
    assert os.listdir(tmp_path) == ["in.wav"]


@pytest.mark.parametrize("first", [(), ("-f", "-q")])
def test_the_default_command_is_denoise(tmp_path, first):
    source = make(tmp_path / "in.wav", tones(4800, 1, 48000))
    result = CliRunner().invoke(cli.main, [*first, str(source), str(tmp_path / "out.wav")])
    assert result.exit_code == 0 and soundfile.info(tmp_path / "out.wav").frames == 4800


@pytest.mark.parametrize(
    ("name", "options", "written"),
    [
        ("in.wav", (), "in-denoised.wav"),
        ("in.FLAC", (), "in-denoised.FLAC"),
        ("in.sph", (), "in-denoised.wav"),
        ("in.wav", ("--format", "flac"), "in-denoised.flac"),
        ("in.wav", ("-o", "{folder}/other.flac"), "other.flac"),
    ],
)
def test_a_file_alone_gets_a_result_beside_it(tmp_path, name, options, written):
    kind = {"format": "NIST"} if name.endswith(".sph") else {}
    source = make(tmp_path / name, tones(4800, 1, 48000), **kind)
    result = run(source, *(option.format(folder=tmp_path) for option in options))
    assert result.exit_code == 0, result.output
    assert soundfile.info(tmp_path / written).frames == 4800
    again = run(source, *(option.format(folder=tmp_path) for option in options))
    assert again.exit_code == 1 and "already exists; use --force to replace it" in again.stderr


@pytest.mark.parametrize("ending", ["", "/"])
def test_a_folder_alone_gets_a_folder_beside_it(tmp_path, ending):
    folder = f"{tmp_path}/talks"
    os.mkdir(folder)
    sources, target = sources_and_target((folder + ending,), None, None)
    assert sources == [folder + ending] and target == f"{folder}-denoised/"


def test_with_output_all_names_are_inputs():
    assert sources_and_target(("a.wav", "b.wav"), "clean", None) == (["a.wav", "b.wav"], "clean")
    assert sources_and_target(("a.wav", "b.wav"), None, None) == (["a.wav"], "b.wav")
    assert sources_and_target(("-",), None, None) == (["-"], "-")
    assert sources_and_target(("talk.mp4",), None, None)[1] == "talk-denoised.mp4"
    assert sources_and_target(("talk.mp4",), None, ".flac")[1] == "talk-denoised.flac"


@pytest.mark.parametrize("given", ["*.wav", "s3://talks/in.wav"])
def test_a_glob_alone_asks_for_its_target(given):
    result = run(given)
    assert result.exit_code == 2 and "OUT is needed" in result.stderr


SLOW_RUN = """
import sys

sys.path.insert(0, {tests!r})
import test_denoise_command as this
sys.modules.update(this.fake_modules())
this.FakeDenoiser.wait = {wait}
process = this.FakeDenoiser.process
def announce(self, samples):
    if len(self.sizes) == 1:
        print("working", flush=True)
    return process(self, samples)
this.FakeDenoiser.process = announce
from percepnet_cli.cli import main
main(["denoise", {source!r}, {target!r}])
"""


def start(tmp_path: Path, wait: float, **streams: object) -> subprocess.Popen:
    source = make(tmp_path / "in.wav", tones(48000 * 8, 1, 48000))
    code = SLOW_RUN.format(
        tests=str(Path(__file__).parent), wait=wait, source=str(source), target=str(tmp_path / "out.wav")
    )
    return subprocess.Popen([sys.executable, "-c", code], text=True, **streams)


@pytest.mark.service
@pytest.mark.skipif(os.name == "nt", reason="Windows ends a process without telling it")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_signals_leave_nothing(tmp_path, name):
    number = getattr(signal, name)
    with start(tmp_path, 0.2, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout.readline() == "working\n"
        process.send_signal(number)
        _, messages = process.communicate(timeout=20)
    assert process.returncode == 128 + number
    assert "Traceback" not in messages
    assert os.listdir(tmp_path) == ["in.wav"]


@pytest.mark.service
def test_bar_is_shown_on_a_terminal(tmp_path):
    pty, fcntl, termios = (pytest.importorskip(name) for name in ("pty", "fcntl", "termios"))
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 25, 80, 0, 0))
    with start(tmp_path, 0.3, stderr=theirs) as process:
        os.close(theirs)
        shown = b""
        while True:
            try:
                read = os.read(ours, 65536)
            except OSError:  # how Linux says that the other end is closed
                break
            if not read:
                break
            shown += read
    os.close(ours)
    assert process.returncode == 0
    assert re.search(rb"[1-8]/8 s", shown)
    assert b"8.0 s, noise lowered by" in shown.splitlines()[-1]


def test_times_are_kept_if_wanted(tmp_path):
    source = make(tmp_path / "in.wav", tones(4800, 1, 48000))
    os.utime(source, ns=(10**18, 1_234_567_890_123_456_789))
    assert run(source, tmp_path / "a.wav", "--keep-times").exit_code == 0
    assert run(source, tmp_path / "b.wav").exit_code == 0
    assert (tmp_path / "a.wav").stat().st_mtime_ns == source.stat().st_mtime_ns
    assert (tmp_path / "b.wav").stat().st_mtime_ns > source.stat().st_mtime_ns
    result = run(source, "-", "--keep-times")
    assert result.exit_code == 1 and "only files have times that could be kept" in result.stderr
