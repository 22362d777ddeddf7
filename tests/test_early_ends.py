"""Inputs that end early or are damaged: what is there is read, it is said, and ``--strict`` refuses it."""

from __future__ import annotations

import csv
import io
import os
import shutil
import subprocess

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner

from percepnet_cli.audio import ffmpeg, flac, formats, framing
from percepnet_cli.audio.files import open_reader
from percepnet_cli.audio.pipes import PipeReader, RawFormat, wav_header
from percepnet_cli.cli import main
from percepnet_cli.errors import AudioError
from percepnet_cli.file_denoiser import denoise_file

SECONDS = 4
RATE = 16000
SAMPLES = (0.1 * np.random.default_rng(8).standard_normal(SECONDS * RATE)).astype(np.float32)

KINDS = [
    ("WAV", "PCM_16"), ("WAV", "FLOAT"), ("WAV", "ULAW"), ("WAV", "IMA_ADPCM"), ("WAVEX", "PCM_24"), ("RF64", "PCM_16"),
    ("W64", "PCM_16"), ("AIFF", "PCM_16"), ("AIFF", "FLOAT"), ("AU", "PCM_16"), ("VOC", "PCM_16"), ("OGG", "VORBIS"),
    ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III"), ("CAF", "PCM_16"), ("CAF", "FLOAT"), ("FLAC", "PCM_16"),
    ("FLAC", "PCM_24"),
]  # fmt: skip
"""Containers that tell where they end."""

MORE = [
    ("CAF", "ULAW"), ("FLAC", "PCM_S8"), ("NIST", "PCM_16"), ("AVR", "PCM_16"), ("PAF", "PCM_16"),
    ("IRCAM", "PCM_16"), ("HTK", "PCM_16"), ("MAT5", "PCM_16"), ("WAV", "GSM610"),
]  # fmt: skip


def made(path, container, subtype, samples=SAMPLES):
    """Write a sound file."""
    soundfile.write(path, samples, RATE, format=container, subtype=subtype)
    return path


def cut(path, share=0.5):
    """Cut a file in place."""
    os.truncate(path, int(share * path.stat().st_size))
    return path


def read(path):
    """Read a file to its end; return its seconds and how it ends early."""
    with open_reader(path) as reader:
        frames = sum(len(block) for block in reader.blocks(5000))
        return frames / reader.sample_rate, reader.ends_early


@pytest.mark.parametrize(("container", "subtype"), KINDS + MORE)
def test_whole_files_end_where_they_should(tmp_path, container, subtype):
    for frames in (1, 1000, len(SAMPLES) - 1, len(SAMPLES)):
        _, ends_early = read(made(tmp_path / "a", container, subtype, SAMPLES[:frames]))
        assert ends_early is None, frames


@pytest.mark.parametrize("share", [0.3, 0.5, 0.97])
@pytest.mark.parametrize(("container", "subtype"), KINDS)
def test_half_a_file_is_read_and_told(tmp_path, container, subtype, share):
    if container == "OGG" and share < 0.5:
        return  # less than its first page of sound
    if subtype == "OPUS" and not ffmpeg.installed():
        pytest.skip("libsndfile opens no half of an Opus file")
    seconds, ends_early = read(cut(made(tmp_path / "a", container, subtype), share))
    assert 0.1 * SECONDS < seconds <= SECONDS
    if container == "OGG":
        assert ends_early == "ends early, without its last page"
        return
    assert ends_early is not None and ends_early.startswith("ends early, after ")
    assert float(ends_early.split()[3]) == pytest.approx(seconds, abs=0.3)
    if container != "VOC" and subtype != "IMA_ADPCM":
        assert float(ends_early.split()[6]) == pytest.approx(SECONDS, abs=0.1)


@pytest.mark.parametrize("block", [4000, 12345, 4096, 10**6])
def test_of_a_cut_flac_all_but_the_last_frame_is_read(tmp_path, block):
    """Wherever it is cut, and however long the blocks are in which it is read."""
    path = made(tmp_path / "a", "FLAC", "PCM_16")
    whole, content = soundfile.read(path, dtype="float32")[0], path.read_bytes()
    for share in np.random.default_rng(5).uniform(0.25, 0.99, 8):
        path.write_bytes(content[: int(share * len(content))])
        with open_reader(path) as reader:
            found = np.concatenate([part[:, 0] for part in reader.blocks(block)])
            assert reader.ends_early == f"ends early, after {len(found) / RATE:.1f} s of {SECONDS}.0 s"
        assert np.array_equal(found, whole[: len(found)])
        assert len(found) > share * len(whole) - 3 * 4096  # its frames are 4096 long


@pytest.mark.parametrize("cut_too", [False, True])
def test_a_flac_that_is_damaged_within_is_no_shorter_one(tmp_path, cut_too):
    path = made(tmp_path / "a", "FLAC", "PCM_16")
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 20] = bytes(20)
    path.write_bytes(content[: int(0.9 * len(content))] if cut_too else content)
    with pytest.raises(AudioError, match=r"damaged somewhere after|cannot be read after"):
        read(path)


def test_headers_of_flac_frames():
    """By RFC 9639: a number of one to seven bytes, sizes and rates that have no code, and a checksum."""
    plain = bytes([0xFF, 0xF8, 0xC9, 0x18, 0x05])
    assert flac._first_sample(plain + bytes([flac._checksum(plain)]), 4096) == 5 * 4096
    for number, code in ((0x7F, b"\x7f"), (0x80, b"\xc2\x80"), (0x7FF, b"\xdf\xbf"), (0xFFFF, b"\xef\xbf\xbf")):
        for size, extra in ((12, b""), (6, b"\x07"), (7, b"\x0f\xff")):
            head = bytes([0xFF, 0xF9, size << 4 | 13, 0x18]) + code + extra + b"\xac\x44"
            whole = head + bytes([flac._checksum(head)])
            assert flac._first_sample(whole + b"more", 4096) == number
            assert flac._first_sample(head + bytes([flac._checksum(head) ^ 1]), 4096) is None
            assert flac._first_sample(head, 4096) is None
    largest = bytes([0xFF, 0xF9, 0xC9, 0x18, 0xFE]) + 6 * b"\xbf"
    assert flac._first_sample(largest + bytes([flac._checksum(largest)]), 0) == 2**36 - 1
    for at, value in ((1, 0xFA), (2, 0x09), (2, 0xCF), (3, 0xB8), (3, 0x16), (3, 0x19), (4, 0x80), (4, 0xFF)):
        odd = bytearray(plain)
        odd[at] = value
        assert flac._first_sample(bytes(odd) + bytes([flac._checksum(bytes(odd))]) + bytes(9), 4096) is None


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("order", ["FILE", "LITTLE"])
@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT", "ULAW", "PCM_S8"])
@pytest.mark.parametrize("container", ["AU", "AIFF", "CAF"])
def test_what_goes_on_after_its_header_says_is_read_whole(tmp_path, container, subtype, order, channels):
    """The header is that of a recorder that died: 0, not known, or half; and so is one that says just a little less."""
    path, samples = tmp_path / "a", SAMPLES[: len(SAMPLES) // channels * channels].reshape(-1, channels)
    try:
        soundfile.write(path, samples, RATE, format=container, subtype=subtype, endian=order)
    except (soundfile.LibsndfileError, ValueError):
        return
    whole, content = soundfile.read(path, dtype="float32", always_2d=True)[0], path.read_bytes()
    at, width = {"AU": (8, 4), "AIFF": (content.find(b"SSND") + 4, 4), "CAF": (content.find(b"data") + 4, 8)}[container]
    byte_order = "little" if content[:4] == b"dns." else "big"
    size = int.from_bytes(content[at : at + width], byte_order)
    for stale in (0, size // 2, size - 12 * channels):
        written = bytearray(content)
        written[at : at + width] = stale.to_bytes(width, byte_order)
        path.write_bytes(written)
        with open_reader(path) as reader:
            found = np.concatenate(list(reader.blocks(5000)))
            assert reader.ends_early is None
        missing = 0 if stale < size - 1000 else 12
        assert len(whole) - missing <= len(found) <= len(whole) and np.array_equal(found, whole[: len(found)])


@pytest.mark.parametrize("container", ["AU", "AIFF", "CAF"])
def test_two_files_in_one_are_refused(tmp_path, container):
    path = made(tmp_path / "a", container, "PCM_16")
    path.write_bytes(2 * path.read_bytes())
    with pytest.raises(AudioError, match="more than one file, one after the other"):
        read(path)


@pytest.mark.parametrize("container", ["AIFF", "CAF"])
def test_chunks_behind_the_samples_are_no_sound(tmp_path, container):
    path = made(tmp_path / "a", container, "PCM_16")
    length = (50_000).to_bytes(4 if container == "AIFF" else 8, "big")
    path.write_bytes(path.read_bytes() + b"wxyz" + length + bytes(range(250)) * 200)
    assert read(path) == (SECONDS, None)


@pytest.mark.parametrize("container", ["AU", "AIFF", "CAF"])
def test_room_that_was_kept_is_no_sound(tmp_path, container):
    path = made(tmp_path / "a", container, "PCM_16")
    path.write_bytes(path.read_bytes() + bytes(100_000))
    assert read(path) == (SECONDS, None)


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "mka", "webm", "m4a", "flv", "tta"])
@pytest.mark.ffmpeg
def test_half_of_what_ffmpeg_reads(tmp_path, suffix):
    made(tmp_path / "in.wav", "WAV", "PCM_16")
    path = tmp_path / f"a.{suffix}"
    options = ["-movflags", "+faststart"] if suffix in ("mp4", "m4a") else []
    options += ["-ar", "44100"] if suffix == "flv" else ["-ar", "48000"]
    subprocess.run(["ffmpeg", "-v", "error", "-i", tmp_path / "in.wav", *options, path], check=True)
    seconds, ends_early = read(path)
    assert abs(seconds - SECONDS) < 0.2 and ends_early is None
    seconds, ends_early = read(cut(path, 0.6))
    assert 0.3 * SECONDS < seconds < 0.8 * SECONDS and ends_early is not None


@pytest.mark.ffmpeg
def test_sound_that_is_shorter_than_its_film_is_whole(tmp_path):
    made(tmp_path / "in.wav", "WAV", "PCM_16")
    for suffix in ("mp4", "mkv", "mov"):
        path = tmp_path / f"film.{suffix}"
        command = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "color=size=16x16:rate=5:duration=9"]
        subprocess.run([*command, "-i", tmp_path / "in.wav", "-c:v", "mpeg4", path], check=True)
        assert read(path)[1] is None


@pytest.mark.parametrize(("container", "subtype"), [("WAV", "PCM_16"), ("AIFF", "PCM_16"), ("FLAC", "PCM_16")])
def test_a_file_that_shrinks_while_it_is_read(tmp_path, container, subtype):
    path = made(tmp_path / "a", container, subtype, np.tile(SAMPLES, 10))
    with open_reader(path) as reader:
        blocks = reader.blocks(5000)
        next(blocks)
        cut(path)
        try:
            frames = 5000 + sum(len(block) for block in blocks)
        except AudioError:  # what was read before was of another length
            assert container == "FLAC"
            return
        assert 5000 <= frames < 10 * len(SAMPLES) and reader.ends_early is not None


def test_a_wav_of_a_recorder_that_died_may_shrink_too(tmp_path):
    """It is read as bare samples."""
    path = made(tmp_path / "a", "WAV", "PCM_16", np.tile(SAMPLES, 10))
    content = bytearray(path.read_bytes())
    content[40:44] = bytes(4)
    path.write_bytes(content)
    assert read(path) == (10 * SECONDS, None)
    with open_reader(path) as reader:
        blocks = reader.blocks(5000)
        next(blocks)
        cut(path)
        assert 5000 + sum(len(block) for block in blocks) < 10 * len(SAMPLES)
        assert reader.ends_early is not None


@pytest.mark.parametrize("missing", [1, 2, 3, 1000])
def test_pipes(missing):
    raw = RawFormat(RATE, 1, "s16le")
    sound = bytes(2 * RATE)
    whole = wav_header(raw, len(sound)) + sound
    for content, form in ((whole, None), (sound, raw)):
        reader = PipeReader(io.BufferedReader(io.BytesIO(content)), "pipe", form)
        assert sum(len(block) for block in reader.blocks(999)) == RATE and reader.ends_early is None

    reader = PipeReader(io.BufferedReader(io.BytesIO(whole[:-missing])), "pipe")
    assert sum(len(block) for block in reader.blocks(999)) == RATE - (missing + 1) // 2
    assert reader.ends_early == f"ends early, after {(RATE - (missing + 1) // 2) / RATE:.1f} s of 1.0 s"

    reader = PipeReader(io.BufferedReader(io.BytesIO(sound[:-missing])), "pipe", raw)
    list(reader.blocks(999))
    assert (reader.ends_early is not None) == bool(missing % 2)


def test_headers_that_promise_nothing_are_believed(tmp_path):
    """Sizes of 0 and of all ones mean that the writer could not come back."""
    for size in (0, 0xFFFFFFFF):
        content = bytearray(made(tmp_path / "a", "WAV", "PCM_16").read_bytes())
        content[40:44] = size.to_bytes(4, "little")
        (tmp_path / "a").write_bytes(content)
        assert read(tmp_path / "a") == (SECONDS, None)


def test_the_command_warns_reports_and_refuses(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    cut(made(folder / "half.wav", "WAV", "PCM_16"))
    made(folder / "whole.wav", "WAV", "PCM_16")
    sentence = "ends early, after 2.0 s of 4.0 s"

    def run(*arguments):
        done = CliRunner().invoke(main, ["denoise", "--quiet", "--model", "lite", *map(str, arguments)])
        return done.exit_code, done.stderr

    # One file, by itself and strictly
    out, report = tmp_path / "out.wav", tmp_path / "report.csv"
    assert run(folder / "half.wav", out, "--report", report) == (0, f"Warning: {folder / 'half.wav'} {sentence}\n")
    assert soundfile.info(out).duration == pytest.approx(2, abs=0.01)
    with report.open(newline="") as file:
        assert [row["warning"] for row in csv.DictReader(file)] == [sentence]
    code, said = run("--strict", folder / "half.wav", tmp_path / "no.wav")
    assert (code, said) == (1, f"Error: {folder / 'half.wav'} {sentence}\n") and not (tmp_path / "no.wav").exists()
    assert run("--strict", folder / "whole.wav", tmp_path / "yes.wav") == (0, "")

    # A folder
    code, said = run("--jobs", 1, "--report", tmp_path / "all.csv", folder, tmp_path / "all")
    assert (code, said) == (0, f"Warning: {folder / 'half.wav'} {sentence}\n")
    with (tmp_path / "all.csv").open(newline="") as file:
        assert [row["warning"] for row in csv.DictReader(file)] == [sentence, ""]
    code, said = run("--jobs", 1, "--strict", folder, tmp_path / "strict")
    assert code == 1 and os.listdir(tmp_path / "strict") == ["whole.wav"]
    assert sentence in said


# --- Damage within -----------------------------------------------------------------------------


def damage(path, count=1):
    """Overwrite bytes at some places within a file, the first after a third of it."""
    content, rng = bytearray(path.read_bytes()), np.random.default_rng(4)
    for place in np.linspace(0.35, 0.75, count):
        at = int(place * len(content))
        content[at : at + 150] = rng.bytes(150)  # more than a frame of an MP3
    path.write_bytes(content)
    return path


def read_warning(path):
    """Read a file to its end; return what is wrong with it."""
    with open_reader(path) as reader:
        for _ in reader.blocks(5000):
            pass
        return reader.warning


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize(
    ("container", "subtype"),
    [
        pytest.param("OGG", "VORBIS", marks=pytest.mark.ffmpeg),  # libsndfile stops where it is damaged
        pytest.param("OGG", "OPUS", marks=pytest.mark.ffmpeg),
        ("MP3", "MPEG_LAYER_III"),
    ],
)
def test_damage_within_is_read_over_and_told(tmp_path, container, subtype, count):
    path = made(tmp_path / "a", container, subtype, np.tile(SAMPLES, 4))
    assert read_warning(path) is None
    words = (read_warning(damage(path, count)) or "").split()
    assert words[:2] == ["is", "damaged"]
    assert words[2:4] == (["in", "2"] if count == 2 else ["after", words[3]])
    assert 0.2 * 16 < float(words[words.index("after") + 1]) < 0.45 * 16


@pytest.mark.ffmpeg
def test_a_wrong_bit_of_a_flac_is_told(tmp_path):
    """ffmpeg reads it without a word, and gives other samples."""
    path = made(tmp_path / "a", "FLAC", "PCM_16")
    content = path.read_bytes()
    for place in (0.3, 0.5, 0.7):
        wrong = bytearray(content)
        wrong[int(place * len(content))] ^= 4
        path.write_bytes(wrong)
        words = (read_warning(path) or "").split()
        assert words[:3] == ["is", "damaged", "after"] and float(words[3]) == pytest.approx(SECONDS * place, abs=0.5)


def test_any_wrong_bit_of_a_page_of_an_ogg_is_told(tmp_path):
    path = made(tmp_path / "a", "OGG", "VORBIS")
    content = path.read_bytes()
    begin = content.index(b"OggS", len(content) // 2)
    for at in (begin, begin + 5, begin + 8, begin + 19, begin + 23, begin + 26, begin + 30, begin + 900):
        wrong = bytearray(content)
        wrong[at] ^= 0x10
        path.write_bytes(wrong)
        assert framing.measure(path).damage is not None, at - begin


def test_a_page_that_is_lost_is_told_unless_a_broadcast_begins_with_it(tmp_path):
    """A recording of a broadcast has the head of its stream, then pages of any later moment."""
    path = made(tmp_path / "a", "OGG", "VORBIS", np.tile(SAMPLES, 4))
    content = path.read_bytes()
    pages = [b"OggS" + rest for rest in content.split(b"OggS")[1:]]
    sound = next(i for i, page in enumerate(pages) if int.from_bytes(page[6:14], "little", signed=True) > 0)
    path.write_bytes(b"".join(pages[: sound + 2] + pages[sound + 3 :]))
    assert framing.measure(path).damage.startswith("is damaged after ")
    path.write_bytes(b"".join(pages[:sound] + pages[sound + 2 :]))
    assert framing.measure(path).damage is None


def test_what_is_beside_the_frames_of_an_mp3_is_no_damage(tmp_path):
    """Tags before, between and after two recordings, the room that they keep, and what follows the last frame."""
    content = made(tmp_path / "a.mp3", "MP3", "MPEG_LAYER_III").read_bytes()
    tag = b"ID3\x04\0\0" + bytes([0, 0, 0, 20]) + bytes(20) + bytes(300)
    ends = (b"TAG" + bytes(125), b"APETAGEX" + bytes(24), b"LYRICSBEGIN" + bytes(90), bytes(500))
    for end in ends:
        (tmp_path / "a.mp3").write_bytes(tag + content + tag + content + end)
        assert framing.measure(tmp_path / "a.mp3").damage is None, end[:8]
    (tmp_path / "a.mp3").write_bytes(content + b"odd" * 30 + content)
    assert framing.measure(tmp_path / "a.mp3").damage == "is damaged after 4.1 s"


@pytest.mark.ffmpeg
def test_damage_in_what_ffmpeg_reads(tmp_path):
    made(tmp_path / "in.wav", "WAV", "PCM_16")
    for suffix, options in (("m4a", ["-movflags", "+faststart"]), ("aac", []), ("oga", ["-c:a", "flac"])):
        path = tmp_path / f"a.{suffix}"
        subprocess.run(["ffmpeg", "-v", "error", "-i", tmp_path / "in.wav", *options, path], check=True)
        assert read_warning(path) is None
        assert (read_warning(damage(path, 3)) or "").startswith("is damaged: ffmpeg says '")


def test_the_command_tells_of_damage(tmp_path):
    """A warning, a column of the report, and an error with ``--strict``."""
    source, report = damage(made(tmp_path / "a.mp3", "MP3", "MPEG_LAYER_III")), tmp_path / "report.csv"

    def run(*arguments):
        done = CliRunner().invoke(main, ["denoise", "--quiet", "--model", "lite", *map(str, arguments)])
        return done.exit_code, done.stderr

    code, said = run(source, tmp_path / "out.wav", "--report", report)
    assert (code, said) == (0, f"Warning: {source} is damaged after 1.4 s\n")
    with report.open(newline="") as file:
        assert [row["warning"] for row in csv.DictReader(file)] == ["is damaged after 1.4 s"]
    assert run("--strict", source, tmp_path / "no.wav") == (1, f"Error: {source} is damaged after 1.4 s\n")
    assert not (tmp_path / "no.wav").exists()


# --- Samples that are no numbers ----------------------------------------------------------------


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("way", ["file", "pipe", pytest.param("film", marks=pytest.mark.ffmpeg)])
def test_samples_that_are_no_numbers_are_told(tmp_path, way, value):
    """Whatever reads them; of several the first."""
    samples = np.stack((SAMPLES, SAMPLES), axis=1).astype(np.float32)
    samples[round(2.5 * RATE), 1] = samples[3 * RATE, 0] = value
    path = tmp_path / "a.wav"
    soundfile.write(path, samples, RATE, subtype="FLOAT")
    if way == "film":
        path = tmp_path / "a.mkv"
        subprocess.run(["ffmpeg", "-v", "error", "-i", tmp_path / "a.wav", "-c:a", "copy", path], check=True)

    with PipeReader(path.open("rb"), "pipe") if way == "pipe" else open_reader(path) as reader:
        found = np.concatenate([block.copy() for block in reader.blocks(777)])
        sentence = "holds NaN or infinity, taken as 0, the first after 2.5 s"
        assert np.isfinite(found).all() and reader.warning == sentence
        if way != "pipe":  # a part of it that begins later
            reader.first_not_finite = None
            reader.seek(round(2.8 * RATE))
            list(reader.blocks(777))
            assert reader.warning in (sentence, sentence.replace("2.5", "3.0"))


def test_the_command_tells_of_samples_that_are_no_numbers(tmp_path):
    """A warning, a column of the report, and an error with ``--strict``."""
    samples = SAMPLES.astype(np.float32)
    samples[RATE : RATE + 9] = np.nan
    source, report = tmp_path / "a.wav", tmp_path / "report.csv"
    soundfile.write(source, samples, RATE, subtype="FLOAT")
    sentence = "holds NaN or infinity, taken as 0, the first after 1.0 s"

    def run(*arguments):
        done = CliRunner().invoke(main, ["denoise", "--quiet", "--model", "lite", *map(str, arguments)])
        return done.exit_code, done.stderr

    assert run(source, tmp_path / "out.wav", "--report", report) == (0, f"Warning: {source} {sentence}\n")
    assert np.isfinite(soundfile.read(tmp_path / "out.wav")[0]).all()
    with report.open(newline="") as file:
        assert [row["warning"] for row in csv.DictReader(file)] == [sentence]
    assert run("--strict", source, tmp_path / "no.wav") == (1, f"Error: {source} {sentence}\n")
    assert not (tmp_path / "no.wav").exists()


# --- The sentences ------------------------------------------------------------------------------


def test_from_python(tmp_path):
    made(tmp_path / "a.mp3", "MP3", "MPEG_LAYER_III")
    assert denoise_file(tmp_path / "a.mp3", tmp_path / "b.wav", model="lite", strict=True).warning is None
    cut(tmp_path / "a.mp3")
    assert denoise_file(tmp_path / "a.mp3", tmp_path / "c.wav", model="lite").warning is not None
    with pytest.raises(AudioError, match=r"a\.mp3 ends early, after"):
        denoise_file(tmp_path / "a.mp3", tmp_path / "d.wav", model="lite", strict=True)
    assert not (tmp_path / "d.wav").exists()


def test_the_sentence():
    assert formats.early(4) == "ends early, after 4.0 s"
    assert shutil.which("ffmpeg") is None or ffmpeg._clock("01:02:03.5") == 3723.5
    assert ffmpeg._clock(None) is None and ffmpeg._clock("8.0") is None and ffmpeg._clock("a:b:c") is None
