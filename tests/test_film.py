"""Films and other files that ffmpeg writes: the sound is replaced, all else stays."""

from __future__ import annotations

import csv
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile
from batch_files import EXAMPLE
from click.testing import CliRunner
from rewritten import rewrite
from signals import tone

from percepnet_cli import denoise_file
from percepnet_cli.audio import ffmpeg
from percepnet_cli.audio.files import open_reader
from percepnet_cli.cli import main
from percepnet_cli.errors import AudioError

pytestmark = pytest.mark.ffmpeg

CODECS = {
    "mp4": ("mpeg4", "aac"),
    "mov": ("mpeg4", "aac"),
    "mkv": ("mpeg4", "libvorbis"),
    "webm": ("libvpx", "libopus"),
}


def film(folder: Path, suffix: str) -> Path:
    """A film of 2 s with subtitles, chapters, a title and two tracks of sound."""
    soundfile.write(folder / "sound.wav", tone(440, 96000), 48000)
    (folder / "text.srt").write_text("1\n00:00:00,500 --> 00:00:01,500\nHello\n")
    chapters = "".join(f"[CHAPTER]\nTIMEBASE=1/1\nSTART={n}\nEND={n + 1}\ntitle=Part {n}\n" for n in (0, 1))
    (folder / "meta.txt").write_text(f";FFMETADATA1\ntitle=A talk\n{chapters}")
    video, audio = CODECS[suffix]
    subtitles = {"mp4": "mov_text", "mov": "mov_text", "mkv": "srt", "webm": "webvtt"}[suffix]
    path = folder / f"film.{suffix}"
    inputs = ["-f", "lavfi", "-i", "testsrc=size=64x64:rate=25:duration=2", "-i", folder / "sound.wav"]
    inputs += ["-i", folder / "text.srt", "-i", folder / "meta.txt"]
    maps = ["-map", "0:v", "-map", "1:a", "-map", "1:a", "-map", "2:s", "-map_metadata", "3", "-map_chapters", "3"]
    codecs = ["-c:v", video, "-c:a", audio, "-c:s", subtitles, "-metadata:s:a:0", "language=deu"]
    subprocess.run(["ffmpeg", "-v", "error", *inputs, *maps, *codecs, "-b:a", "64k", path], check=True)
    return path


def stream(path: Path, kind: str) -> bytes:
    """Packets of one kind, as they are stored."""
    command = ["ffmpeg", "-v", "error", "-i", path, "-map", f"0:{kind}", "-c", "copy", "-f", "framehash", "-"]
    lines = subprocess.run(command, check=True, capture_output=True).stdout.splitlines()
    return b"\n".join(line.split(b",")[-1] for line in lines if not line.startswith(b"#"))


@pytest.mark.parametrize("suffix", CODECS)
def test_a_film_keeps_all_but_its_sound(tmp_path, suffix):
    source = film(tmp_path, suffix)
    before, path = ffmpeg.probe(source), rewrite(source, tmp_path / f"out.{suffix}", 0.5)
    after = ffmpeg.probe(path)
    assert [track.kind for track in after.tracks if track.kind != "data"] == ["video", "audio", "audio", "subtitle"]
    assert [track.codec for track in after.audio] == [track.codec for track in before.audio]
    assert after.audio[0].language == before.audio[0].language  # QuickTime has other names for them
    assert [name for _, _, name in after.chapters] == ["Part 0", "Part 1"]
    assert after.tags["title"] == "A talk"
    for kind in ("v", "a:1", "s"):
        assert stream(path, kind) == stream(source, kind)
    with open_reader(source) as reader:
        expected = np.concatenate(list(reader.blocks(5000)))[:, 0] / 2
    with open_reader(path) as reader:
        samples = np.concatenate(list(reader.blocks(5000)))[:, 0]
    assert abs(len(samples) - len(expected)) <= 2048
    # in time within 1.2 ms (Matroska counts in whole ones), and half as loud
    middle = expected[20000:60000]
    errors = [np.mean((samples[20000 + lag : 60000 + lag] - middle) ** 2) for lag in range(-54, 55)]
    assert min(errors) < 0.01 * np.mean(middle**2)


def test_from_one_container_into_another(tmp_path):
    path = rewrite(film(tmp_path, "mkv"), tmp_path / "out.mp4", 0.5)
    after = ffmpeg.probe(path)
    assert [(track.kind, track.codec) for track in after.tracks if track.kind in ("video", "audio")][:2] == [
        ("video", "mpeg4"),
        ("audio", "aac"),
    ]


@pytest.mark.parametrize(
    ("suffix", "codec"), [("m4a", "aac"), ("m4b", "aac"), ("mka", "aac"), ("aac", "aac"), ("wma", "wmav2")]
)
def test_sound_that_ffmpeg_writes(tmp_path, suffix, codec):
    soundfile.write(tmp_path / "a.wav", tone(440, 96000), 48000)
    path = rewrite(tmp_path / "a.wav", tmp_path / f"a.{suffix}", 0.5)
    (track,) = ffmpeg.probe(path).tracks
    assert track.codec == codec
    with open_reader(path) as reader:
        samples = np.concatenate(list(reader.blocks(5000)))[:, 0]
    assert abs(len(samples) - 96000) <= 4096
    again = rewrite(path, tmp_path / f"b.{suffix}", 0.5)
    assert ffmpeg.probe(again).tracks[0].codec == codec


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize(("rate", "packet"), [(8000, 512), (16000, 512), (22050, 1024), (44100, 2048), (48000, 2048)])
def test_wma_has_all_of_the_sound_in_time(tmp_path, rate, packet, channels):
    """From the first sample to the last; only silence is added, behind it."""
    frames = 2 * rate + 777
    samples = np.outer(tone(440 * 48000 / rate, frames), np.ones(channels)) * np.linspace(0.5, 1, frames)[:, None]
    soundfile.write(tmp_path / "a.wav", samples, rate, subtype="FLOAT")
    with open_reader(rewrite(tmp_path / "a.wav", tmp_path / "a.wma")) as reader:
        found = np.concatenate(list(reader.blocks(5000)))
    assert frames <= len(found) <= frames + 2 * packet
    for part in (slice(0, packet), slice(rate, 2 * rate), slice(frames - packet, frames)):
        assert np.mean((found[part] - samples[part]) ** 2) < 0.03 * np.mean(samples[part] ** 2)
    assert np.abs(found[frames + packet // 2 :]).max(initial=0) < 0.02


@pytest.mark.parametrize("bits", [16, 24])
@pytest.mark.parametrize(("suffix", "codec"), [("oga", "flac"), ("ogg", "flac"), ("mka", "flac"), ("m4a", "alac")])
def test_what_is_lossless_stays_so_with_as_many_bits(tmp_path, suffix, codec, bits):
    kind = {16: "s16", 24: "s32"}[bits] + ("p" if codec == "alac" else "")
    source = tmp_path / f"sound.{suffix}"
    options = ["-c:a", codec, "-sample_fmt", kind, "-metadata", "title=A talk"]
    soundfile.write(tmp_path / "sound.wav", tone(440, 48000), 48000, subtype="PCM_24")
    subprocess.run(["ffmpeg", "-v", "error", "-i", tmp_path / "sound.wav", *options, source], check=True)
    path = rewrite(source, tmp_path / f"out.{suffix}", 0.5)
    (before,), (after,) = ffmpeg.probe(source).audio, ffmpeg.probe(path).audio
    assert (before.codec, before.bits) == (codec, bits) == (after.codec, after.bits)
    assert ffmpeg.probe(path).tags["title"] == "A talk"
    with open_reader(source) as reader, open_reader(path) as written:
        expected, samples = (np.concatenate(list(one.blocks(5000))) for one in (reader, written))
    np.testing.assert_allclose(samples, expected / 2, rtol=0, atol=2.0**-bits * 2)


def test_nothing_is_left_of_what_ffmpeg_refuses(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros((48000, 30)), 48000)
    with pytest.raises(AudioError, match=r"a.m4a cannot be written: ffmpeg says"):
        rewrite(tmp_path / "a.wav", tmp_path / "a.m4a", 0.5)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["a.wav"]


def test_without_ffmpeg_it_says_so(tmp_path, monkeypatch):
    soundfile.write(tmp_path / "a.wav", np.zeros(480), 48000)
    monkeypatch.setattr(ffmpeg, "installed", lambda: False)
    with pytest.raises(AudioError, match=r"a.m4a cannot be written: .m4a needs ffmpeg, which is not installed"):
        rewrite(tmp_path / "a.wav", tmp_path / "a.m4a", 0.5)


def film_of_two(folder: Path, suffix: str, video: bool = True) -> Path:
    """A film whose second track has another rate, more channels, another language and more speech."""
    street = soundfile.read(EXAMPLE, dtype="float32", frames=96000)[0]
    soundfile.write(folder / "one.wav", street, 48000)
    soundfile.write(folder / "two.wav", np.stack([street[::-2], 0.5 * street[::-2]], axis=1), 24000)
    path = folder / f"two.{suffix}"
    picture = ["-f", "lavfi", "-i", "testsrc=size=64x64:rate=25:duration=2"] if video else []
    maps = ["-map", "0:v", "-map", "1:a", "-map", "2:a"] if video else ["-map", "0:a", "-map", "1:a"]
    inputs = [*picture, "-i", folder / "one.wav", "-i", folder / "two.wav", *maps]
    names = ["-metadata:s:a:0", "language=deu", "-metadata:s:a:1", "language=fra"]
    audio = "flac" if suffix != "mp4" else "alac"
    subprocess.run(["ffmpeg", "-v", "error", *inputs, *names, "-c:a", audio, path], check=True)
    return path


def tracks_of(path: Path) -> list[np.ndarray]:
    media = ffmpeg.probe(path)
    found = []
    for number in range(len(media.audio)):
        with ffmpeg.MediaReader(path, number=number) as reader:
            found.append(np.concatenate(list(reader.blocks(5000))))
    return found


@pytest.mark.parametrize(("suffix", "video"), [("mkv", True), ("mp4", True), ("mka", False)])
def test_all_tracks_are_denoised_if_wanted(tmp_path, suffix, video):
    source = film_of_two(tmp_path, suffix, video)
    steps = []
    report = denoise_file(
        source, tmp_path / f"out.{suffix}", all_tracks=True, model="lite", progress=lambda *step: steps.append(step)
    )
    before, after = ffmpeg.probe(source), ffmpeg.probe(tmp_path / f"out.{suffix}")
    described = [(track.kind, track.codec, track.language, track.channels) for track in before.tracks]
    assert [(track.kind, track.codec, track.language, track.channels) for track in after.tracks] == described
    for number, (was, found) in enumerate(zip(tracks_of(source), tracks_of(tmp_path / f"out.{suffix}"), strict=True)):
        soundfile.write(tmp_path / f"{number}.wav", was, (48000, 24000)[number], subtype="FLOAT")
        denoise_file(tmp_path / f"{number}.wav", tmp_path / f"{number}-out.wav", model="lite")
        expected = soundfile.read(tmp_path / f"{number}-out.wav", always_2d=True)[0]
        assert found.shape == expected.shape
        assert np.abs(found - expected).max() < 2e-3  # the tracks have 16 bits
    assert report.seconds == 2 and steps[0][0] == 0 and steps[-1] == pytest.approx((4, 4), abs=0.1)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_each_track_that_is_not_whole_is_told(tmp_path):
    """A second track that ends a second early, a third that is damaged; a warning, the report, and with --strict."""
    source = film_of_two(tmp_path, "mkv")
    soundfile.write(tmp_path / "nan.wav", np.full(96000, np.nan, np.float32), 48000, subtype="FLOAT")
    path, report = tmp_path / "three.mkv", tmp_path / "report.csv"
    inputs = ["-i", source, "-i", tmp_path / "nan.wav", "-map", "0:v", "-map", "0:a", "-map", "1:a"]
    subprocess.run(["ffmpeg", "-v", "error", *inputs, "-c", "copy", path], check=True)
    content = path.read_bytes()
    at = content.rindex(b"00:00:02.000")  # what is promised: of the third track, before it of the second
    at = content.rindex(b"00:00:02.000", 0, at)
    path.write_bytes(content[:at] + b"00:00:03.000" + content[at + 12 :])

    def run(*arguments):
        done = CliRunner().invoke(main, ["denoise", "--quiet", "--model", "lite", *map(str, arguments)])
        return done.exit_code, done.stderr

    early = "ends early, after 2.0 s of 3.0 s (audio track 2)"
    both = f"{early} and holds NaN or infinity, taken as 0, the first after 0.0 s (audio track 3)"
    assert run(path, tmp_path / "one.mkv") == (0, "")
    wanted = (0, f"Warning: {path} {both}\n")
    assert run("--all-tracks", path, tmp_path / "all.mkv", "--report", report) == wanted
    with report.open(newline="") as file:
        assert [row["warning"] for row in csv.DictReader(file)] == [both]
    assert run("--all-tracks", "--strict", path, tmp_path / "no.mkv") == (1, f"Error: {path} {early}\n")
    assert not (tmp_path / "no.mkv").exists()


def test_damage_of_the_second_track_is_told(tmp_path):
    """Once, though ffmpeg reads the file for each track."""
    source = film_of_two(tmp_path, "mkv")
    command = ["ffprobe", "-v", "error", "-select_streams", "a:1", "-show_entries", "packet=pos", "-of", "csv=p=0"]
    places = subprocess.run([*command, source], check=True, capture_output=True, text=True).stdout.split()
    content = bytearray(source.read_bytes())
    at = int(places[len(places) // 2].strip(",")) + 200
    content[at : at + 100] = bytes(100)
    source.write_bytes(content)
    assert denoise_file(source, tmp_path / "one.mkv", model="lite").warning is None
    warning = denoise_file(source, tmp_path / "all.mkv", model="lite", all_tracks=True).warning
    assert warning.startswith("is damaged: ffmpeg says '") and warning.endswith("' (audio track 2)")
    assert warning.count("damaged") == 1


def test_all_tracks_need_a_place(tmp_path):
    source = film_of_two(tmp_path, "mkv")
    with pytest.raises(AudioError, match=r"out.wav holds one track; all go into .mp4 "):
        denoise_file(source, tmp_path / "out.wav", all_tracks=True)
    with pytest.raises(AudioError, match="an excerpt has one track"):
        denoise_file(source, tmp_path / "out.mkv", all_tracks=True, duration_seconds=1)
    (tmp_path / "out.mkv").touch()
    with pytest.raises(AudioError, match=r"out.mkv already exists"):
        denoise_file(source, tmp_path / "out.mkv", all_tracks=True)
    assert (tmp_path / "out.mkv").stat().st_size == 0


@pytest.mark.parametrize("rate", [11025, 22050, 32000, 44100])
def test_opus_gets_a_rate_that_holds_all_of_the_sound(tmp_path, rate):
    """Of the rates that Opus takes, the nearest may be below: 24 kHz for 32."""
    high, low = (0.2 * np.sin(2 * np.pi * share * np.arange(2 * rate)) for share in (0.44, 0.02))
    soundfile.write(tmp_path / "a.wav", high + low, rate)
    path = rewrite(tmp_path / "a.wav", tmp_path / "a.webm", 0.5)
    assert ffmpeg.probe(path).tracks[0].codec == "opus"
    with open_reader(path) as reader:
        spectrum = np.abs(np.fft.rfft(np.concatenate(list(reader.blocks(5000)))[10000:58000, 0]))
        assert reader.sample_rate == 48000
    loud = sorted(np.argsort(spectrum)[-2:])
    np.testing.assert_allclose(loud, [0.02 * rate, 0.44 * rate], atol=2)
