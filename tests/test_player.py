"""A recording played through the denoiser: what is heard at which position, and what keys do."""

from __future__ import annotations

import os
import sys
import threading

import numpy as np
import pytest
import soundfile
from batch_files import EXAMPLE
from click.testing import CliRunner

from percepnet_cli import AudioError, Denoiser, DeviceError
from percepnet_cli.cli import demo, main
from percepnet_cli.cli.keys import named
from percepnet_cli.cli.play import BackgroundWriter, clock, line, obey
from percepnet_cli.file_denoiser import denoise_file
from percepnet_cli.live import devices
from percepnet_cli.live.player import Player


class Memory:
    """A speaker that keeps what it plays."""

    def __init__(self, sample_rate=48000, channels=1):
        self.sample_rate, self.channels, self.blocks = sample_rate, channels, []

    def write(self, block):
        assert block.dtype == np.float32 and block.shape[1] == self.channels
        self.blocks.append(block.copy())

    @property
    def played(self):
        return np.concatenate([np.zeros((0, self.channels), np.float32), *self.blocks])


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    path = tmp_path_factory.mktemp("play") / "noisy.wav"
    samples = soundfile.read(EXAMPLE, dtype="float32")[0]
    soundfile.write(path, samples[:240000], 48000, subtype="FLOAT")
    denoise_file(path, path.with_name("clean.wav"), model="lite")
    return path


@pytest.fixture
def player(recording):
    return Player(recording, Denoiser("lite"), Memory())


def clean_of(recording):
    return soundfile.read(recording.with_name("clean.wav"), dtype="float32", always_2d=True)[0]


def play(player, blocks=None):
    count = 0
    while count != blocks and player.step():
        count += 1
    return player._speaker.played


def test_what_is_played_is_what_denoise_writes(player, recording):
    assert player.seconds == 5
    np.testing.assert_allclose(play(player), clean_of(recording), atol=1e-6)
    assert player.position_seconds == 5


def test_before_and_after_are_at_the_same_position(player, recording):
    noisy, clean = soundfile.read(recording, dtype="float32", always_2d=True)[0], clean_of(recording)
    play(player, 30)
    first = round(player.position_seconds * 48000)
    player.before = True
    play(player, 20)
    second = round(player.position_seconds * 48000)
    player.before = False
    found = play(player)
    fade = 960
    np.testing.assert_allclose(found[:first], clean[:first], atol=1e-6)
    np.testing.assert_allclose(found[first + fade : second], noisy[first + fade : second], atol=1e-6)
    np.testing.assert_allclose(found[second + fade :], clean[second + fade :], atol=1e-6)
    share, during = np.linspace(0, 1, fade)[:, None], slice(first, first + fade)
    np.testing.assert_allclose(found[during], (1 - share) * clean[during] + share * noisy[during], atol=2e-3)


@pytest.mark.parametrize("seconds", [1.25, 4.0])
def test_seeking_leads_to_the_sound_of_that_position(player, recording, seconds):
    play(player, 3)
    player.seek(seconds)
    del player._speaker.blocks[:]
    found, expected = play(player), clean_of(recording)[round(48000 * seconds) :]
    assert found.shape == expected.shape
    assert 10 * np.log10(np.sum((found - expected) ** 2) / np.sum(expected**2) + 1e-20) < -15
    player.seek(-3)
    assert player.position_seconds == 0
    player.seek(99)
    assert player.position_seconds == 5 and not player.step()


def test_seeking_skips_what_comes_before(recording, tmp_path):
    samples = soundfile.read(recording, dtype="float32")[0]
    soundfile.write(tmp_path / "long.mp3", np.tile(samples, 12), 48000)
    with Player(tmp_path / "long.mp3", Denoiser("lite"), Memory()) as player:
        read, blocks = [], player._reader.blocks

        def counted(frames):
            for block in blocks(frames):
                read.append(len(block))
                yield block

        player._reader.blocks = counted
        player.seek(50)
        assert player.step() and player.position_seconds > 50
        assert sum(read) < 6 * 48000


def test_a_speaker_of_another_kind(recording, tmp_path):
    samples = soundfile.read(recording, dtype="float32", frames=96000)[0]
    soundfile.write(tmp_path / "three.wav", np.stack([samples, 0 * samples, samples], axis=1), 44100, subtype="FLOAT")
    speaker = Memory(48000, 2)
    played = play(Player(tmp_path / "three.wav", Denoiser("lite", channels=3), speaker))
    assert abs(len(played) - 96000 * 48000 / 44100) < 4800
    np.testing.assert_array_equal(played[:, 0], played[:, 1])
    with pytest.raises(AudioError, match="only files have positions"):
        Player(tmp_path, Denoiser("lite"), speaker)


def test_keys(player, recording):
    assert named(" \x1b[C\x1b[D+q\x1bOC") == [" ", "right", "left", "+", "q", "right"]
    writer = BackgroundWriter(lambda limit_db, progress: "written")
    said = [obey(key, player, writer) for key in (" ", "w", " ", "w", "-", "-", "+", "x", "right", "left")]
    assert said[:2] == ["", "this is the recording as it is; press space to hear what would be written"]
    assert said[3] == "the file is being written" and set(said[4:]) == {""}
    last = []
    writer.finish(threading.Event(), last.append)
    assert last[-1] == "written"
    assert (player.before, player.denoiser.attenuation_limit_db, player.position_seconds) == (False, 24.0, 0.0)
    assert line(player).startswith("0:00.0 of 0:05.0  after, 94 % of the noise lowered (limit 24 dB)")
    assert clock(3723.46) == "1:02:03.5"


def test_playing_goes_on_while_a_file_is_written(player, recording):
    """One at a time, with the limit of when it was asked for."""
    go, limits = threading.Event(), []

    def write(limit_db, progress):
        if sys.platform == "linux":  # it leaves the processor to what is heard
            assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == 19
        assert go.wait(60)
        limits.append(limit_db)
        return "written"

    writer, said = BackgroundWriter(write), []
    player.denoiser.attenuation_limit_db = 24.0
    assert obey("w", player, writer) == "the file is being written"
    player.denoiser.attenuation_limit_db = None
    assert len(play(player)) == 240000
    assert obey("w", player, writer) == "the file is still being written" and writer.result() == ""

    # The end waits for it, and says so
    finishing = threading.Thread(target=writer.finish, args=(threading.Event(), said.append))
    finishing.start()
    finishing.join(0.2)
    assert finishing.is_alive() and said == ["waiting for the file that is being written; Ctrl-C gives it up"]
    go.set()
    finishing.join(60)
    assert said[1:] == ["written"] and limits == [24.0]


def test_a_file_that_is_not_written(player, recording, tmp_path):
    """It exists already, which is said once; or it is given up, and nothing remains of it."""
    said, stopped, begun = [], threading.Event(), threading.Event()

    def write(limit_db, progress):
        def slow(*seconds):
            begun.set()
            assert stopped.wait(60)
            while True:
                progress(*seconds)

        denoise_file(recording, tmp_path / "out.wav", model="lite", progress=slow)

    (tmp_path / "out.wav").touch()
    writer = BackgroundWriter(write)
    obey("w", player, writer)
    writer.finish(stopped, said.append)
    assert said[-1] == f"{tmp_path / 'out.wav'} already exists; use --force to replace it" and writer.result() == ""

    (tmp_path / "out.wav").unlink()
    writer = BackgroundWriter(write)
    obey("w", player, writer)
    assert begun.wait(60)
    stopped.set()
    writer.finish(stopped, said.append)
    assert said[-1] == "the file is not written" and not list(tmp_path.iterdir())


def test_the_demo_without_a_device(tmp_path, monkeypatch):
    def none(*arguments):
        raise DeviceError("there is no default output device")

    monkeypatch.setattr(devices, "choose_output", none)
    result = CliRunner().invoke(main, ["demo", str(tmp_path / "new")])
    assert result.exit_code == 0, result.output
    before, after = (soundfile.read(tmp_path / "new" / name)[0] for name in demo.NAMES)
    assert len(before) == len(after) == 6 * 48000
    assert "Nothing is played" in result.stderr and "noise lowered by" in result.stdout
    assert np.mean(after**2) < 0.9 * np.mean(before**2)
    result = CliRunner().invoke(main, ["demo", "--no-output", str(tmp_path / "new")])
    assert result.exit_code == 1 and "percepnet-before.wav already exists; use --force" in result.stderr
