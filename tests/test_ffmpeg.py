"""What only ffmpeg reads."""

from __future__ import annotations

import shutil
import subprocess

import numpy as np
import pytest
import soundfile
from signals import tone

from percepnet_cli.audio.files import ffmpeg, open_reader
from percepnet_cli.errors import AudioError

needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg")


@pytest.fixture
def film(tmp_path):
    """A film with a sound track of 2 s, 44.1 kHz, two channels."""
    samples = np.stack([tone(440, 96000), tone(660, 96000)], axis=1)
    soundfile.write(tmp_path / "sound.wav", samples, 44100)
    path = tmp_path / "a: film.mkv"
    command = [
        "ffmpeg",
        "-v",
        "error",
        "-f",
        "lavfi",
        "-i",
        "color=size=32x32:duration=2",
        "-i",
        tmp_path / "sound.wav",
    ]
    subprocess.run([*command, "-c:a", "aac", "-b:a", "256k", f"file:{path}"], check=True)
    return path


@needs_ffmpeg
def test_the_sound_of_a_film(film):
    with open_reader(film) as reader:
        samples = np.concatenate(list(reader.blocks(5000)))
        assert (reader.sample_rate, reader.channels, reader.frames, reader.tags) == (44100, 2, None, {})
    assert abs(len(samples) - 96000) < 3000  # AAC fills up its last packet
    spectrum = np.abs(np.fft.rfft(samples[20000:64100, 0]))
    assert abs(np.argmax(spectrum) - 440 * 44100 / 48000) < 2  # the tone was made for 48 kHz


@needs_ffmpeg
def test_leaving_early_ends_ffmpeg(film):
    reader = open_reader(film)
    next(reader.blocks(100))
    reader.close()
    reader.close()
    assert reader._process.returncode is not None


@needs_ffmpeg
def test_words_are_no_sound_for_ffmpeg_either(tmp_path):
    (tmp_path / "text.mp4").write_text("only words\n" * 100)
    with pytest.raises(AudioError, match=r"text.mp4 is not a sound file that can be read$"):
        open_reader(tmp_path / "text.mp4")


@needs_ffmpeg
def test_a_list_of_addresses_is_not_followed(tmp_path):
    (tmp_path / "list.m4a").write_text("#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n")
    with pytest.raises(AudioError, match="is not a sound file"):
        open_reader(tmp_path / "list.m4a")


@pytest.mark.parametrize("name", ["a.mp4", "a.wav"])
def test_without_ffmpeg_there_is_a_hint(tmp_path, monkeypatch, name):
    monkeypatch.setattr(ffmpeg, "installed", lambda: False)
    (tmp_path / name).write_bytes(bytes(1000))
    hint = " without ffmpeg; install that, or convert the file" if name == "a.mp4" else ""
    with pytest.raises(AudioError, match=f"{name} is not a sound file that can be read{hint}$"):
        open_reader(tmp_path / name)
