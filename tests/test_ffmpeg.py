"""What only ffmpeg reads."""

from __future__ import annotations

import subprocess

import numpy as np
import pytest
import soundfile
from signals import tone

from percepnet_cli.audio.files import ffmpeg, open_reader
from percepnet_cli.errors import AudioError


def run_ffmpeg(*arguments):
    subprocess.run(["ffmpeg", "-v", "error", *arguments], check=True)


@pytest.fixture
def film(tmp_path):
    """A film with a sound track of 2 s, 44.1 kHz, two channels."""
    samples = np.stack([tone(440, 96000), tone(660, 96000)], axis=1)
    soundfile.write(tmp_path / "sound.wav", samples, 44100)
    path = tmp_path / "a: film.mkv"
    inputs = ["-f", "lavfi", "-i", "color=size=32x32:duration=2", "-i", tmp_path / "sound.wav"]
    run_ffmpeg(*inputs, "-c:a", "aac", "-b:a", "256k", f"file:{path}")
    return path


@pytest.mark.ffmpeg
def test_the_sound_of_a_film(film):
    with open_reader(film) as reader:
        samples = np.concatenate(list(reader.blocks(5000)))
        assert (reader.sample_rate, reader.channels, reader.frames, reader.tags) == (44100, 2, None, {})
    assert abs(len(samples) - 96000) < 3000  # AAC fills up its last packet
    spectrum = np.abs(np.fft.rfft(samples[20000:64100, 0]))
    assert abs(np.argmax(spectrum) - 440 * 44100 / 48000) < 2  # the tone was made for 48 kHz


@pytest.mark.ffmpeg
def test_leaving_early_ends_ffmpeg(film):
    reader = open_reader(film)
    next(reader.blocks(100))
    reader.close()
    reader.close()
    assert reader._process.returncode is not None


@pytest.mark.ffmpeg
def test_words_are_no_sound_for_ffmpeg_either(tmp_path):
    (tmp_path / "text.mp4").write_text("only words\n" * 100)
    with pytest.raises(AudioError, match=r"text.mp4 is not a sound file that can be read$"):
        open_reader(tmp_path / "text.mp4")


LISTS = {
    "address": "#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n",
    "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{secret}.ts\n#EXT-X-ENDLIST\n",
    "hls by its URL": "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile://{secret}.ts\n#EXT-X-ENDLIST\n",
    "hls of parts": '#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXT-X-MAP:URI="{secret}.mp4"\n#EXTINF:9,\n{secret}.mp4\n',
    "hls of lists": "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=9\n{folder}/inner.m3u8\n",
    "concat": "ffconcat version 1.0\nfile {secret}.wav\n",
    "concat beside": "ffconcat version 1.0\nfile secret.wav\n",
    "dash": '<?xml version="1.0"?><MPD type="static" mediaPresentationDuration="PT1S"><Period><AdaptationSet '
    'mimeType="audio/mp4"><Representation id="1" bandwidth="1"><BaseURL>{secret}.mp4</BaseURL></Representation>'
    "</AdaptationSet></Period></MPD>",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 9999 RTP/AVP 0\n",
}
"""Texts that make ffmpeg open other files, or addresses."""


@pytest.fixture(scope="module")
def secrets(tmp_path_factory):
    """A folder with sounds that lists could lead to."""
    folder = tmp_path_factory.mktemp("secrets")
    run_ffmpeg(
        "-f", "lavfi", "-i", "sine=duration=1", *(folder / f"secret.{suffix}" for suffix in ("ts", "wav", "mp4"))
    )
    (folder / "inner.m3u8").write_text(LISTS["hls"].format(secret=folder / "secret"))
    return folder


@pytest.mark.ffmpeg
@pytest.mark.parametrize("kind", LISTS)
def test_lists_are_not_followed(secrets, kind):
    own = {"concat": "ffconcat", "dash": "mpd", "sdp": "sdp"}.get(kind.split()[0], "m3u8")
    for suffix in ("mp4", own):
        path = secrets / f"list.{suffix}"
        path.write_text(LISTS[kind].format(secret=secrets / "secret", folder=secrets))
        with pytest.raises(AudioError, match=r"is not a sound file that can be read$"):
            open_reader(path)
        assert ffmpeg.probe(path) is None  # nor for its pictures, when a film is written


@pytest.mark.ffmpeg
def test_a_name_is_no_pattern(tmp_path):
    """ffmpeg takes names like these for numbered pictures."""
    for name in ("a%03d.mp4", "a*.mp4", "a:b.mp4", "-i.mp4"):
        run_ffmpeg("-f", "lavfi", "-i", "sine=duration=1", f"file:{tmp_path}/{name}")
        with open_reader(tmp_path / name) as reader:
            assert reader.seconds == pytest.approx(1, abs=0.1)


@pytest.mark.ffmpeg
def test_what_may_be_read_is_known_to_ffmpeg():
    """A misspelled name would shut out a container that was read before."""
    shown = subprocess.run(["ffmpeg", "-v", "error", "-demuxers"], capture_output=True, text=True, check=True).stdout
    known = {name for line in shown.splitlines() if len(line.split()) > 1 for name in line.split()[1].split(",")}
    if "imf" not in known:
        pytest.skip("an ffmpeg of another age")
    assert set(ffmpeg.READ.split(",")) - known == set()
    lists = {"concat", "concatf", "dash", "hls", "imf", "image2", "lavfi", "mlv", "rtsp", "sap", "sdp", "vobsub"}
    assert not lists & set(ffmpeg.READ.split(","))


@pytest.mark.parametrize("name", ["a.mp4", "a.wav"])
def test_without_ffmpeg_there_is_a_hint(tmp_path, monkeypatch, name):
    monkeypatch.setattr(ffmpeg, "installed", lambda: False)
    (tmp_path / name).write_bytes(bytes(1000))
    hint = " without ffmpeg; install that, or convert the file" if name == "a.mp4" else ""
    with pytest.raises(AudioError, match=f"{name} is not a sound file that can be read{hint}$"):
        open_reader(tmp_path / name)


@pytest.mark.ffmpeg
@pytest.mark.parametrize("suffix", ["mkv", "mp4", "mov", "ts"])
def test_sound_that_begins_late_is_in_time_with_the_picture(tmp_path, suffix):
    soundfile.write(tmp_path / "sound.wav", tone(440, 48000), 48000)
    path = tmp_path / f"film.{suffix}"
    codec = "mpeg2video" if suffix == "ts" else "mpeg4"
    picture = ["-f", "lavfi", "-i", "color=size=64x64:rate=25:duration=2"]
    sound = ["-itsoffset", "0.679", "-i", tmp_path / "sound.wav"]
    run_ffmpeg(*picture, *sound, "-c:v", codec, "-c:a", "aac", path)
    with open_reader(path) as reader:
        samples = np.concatenate(list(reader.blocks(5000)))[:, 0]
        assert abs(reader.seconds - 2) < 0.1
    begins = np.flatnonzero(np.abs(samples) > 0.1)[0] / 48000
    assert abs(begins - 0.679) < 0.025  # ffmpeg's encoder smears the beginning over one packet
    assert abs(len(samples) / 48000 - 1.679) < 0.05


@pytest.mark.ffmpeg
def test_a_gap_in_the_sound_of_a_film_is_silence(tmp_path):
    soundfile.write(tmp_path / "sound.wav", tone(440, 96000), 48000)
    gap = "aselect='not(between(t,0.5,1.2))'"  # times stay
    picture = ["-f", "lavfi", "-i", "color=size=64x64:rate=25:duration=2", "-i", tmp_path / "sound.wav"]
    path = tmp_path / "film.mkv"
    run_ffmpeg(*picture, "-af", gap, "-c:v", "mpeg4", "-c:a", "pcm_s16le", path)
    with open_reader(path) as reader:
        assert reader.subtype == "PCM_16"
        samples = np.concatenate(list(reader.blocks(5000)))[:, 0]
    assert abs(len(samples) - 96000) < 50
    assert not samples[30000:55000].any() and samples[60000:].any()


@pytest.mark.ffmpeg
def test_a_film_without_sound_says_so(tmp_path):
    path = tmp_path / "film.mp4"
    run_ffmpeg("-f", "lavfi", "-i", "color=size=64x64:rate=25:duration=1", "-c:v", "mpeg4", path)
    with pytest.raises(AudioError, match=r"film.mp4 holds no track of sound"):
        open_reader(path)
