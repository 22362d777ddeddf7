"""MP3 and Ogg files that libsndfile reads short or wrong: what tells them, and that all of them is read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from signals import tone

from percepnet_cli.audio import ffmpeg, ogg_pages
from percepnet_cli.audio.files import open_reader
from percepnet_cli.audio.framing import measure
from percepnet_cli.audio.sndfile import Reader
from percepnet_cli.errors import AudioError

ROOT = Path(__file__).resolve().parents[1]
RATE = 44100


def make(path: Path, samples: np.ndarray, rate: int = RATE, **kind: object) -> Path:
    with soundfile.SoundFile(path, "w", rate, 1, **kind) as file:
        file.write(samples)
    return path


def append(path: Path, *parts: Path) -> Path:
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


def read(source) -> np.ndarray:
    with source as reader:
        return np.concatenate(list(reader.blocks(5000)))[:, 0]


def pages(content: bytes):
    """Yield the place of every page of an Ogg file and its bytes."""
    at = 0
    while at < len(content):
        count = content[at + 26]
        size = 27 + count + sum(content[at + 27 : at + 27 + count])
        yield at, content[at : at + size]
        at += size


def checksum(page: bytes) -> int:
    """CRC-32 of RFC 3533: polynomial 0x04c11db7, no reflection, start and final value 0."""
    value = 0
    for byte in page:
        value ^= byte << 24
        for _ in range(8):
            value = (value << 1 ^ (0x04C11DB7 if value >> 31 else 0)) & 0xFFFFFFFF
    return value


def with_moved_position(content: bytes, number: int, by: int) -> bytes:
    """Return an Ogg file in which one page counts wrong."""
    changed = bytearray()
    for index, (_, page) in enumerate(pages(content)):
        new = bytearray(page)
        if index == number:
            new[6:14] = (int.from_bytes(page[6:14], "little") + by).to_bytes(8, "little")
            new[22:26] = bytes(4)
            new[22:26] = checksum(bytes(new)).to_bytes(4, "little")
        changed += new
    return bytes(changed)


def vbr(path: Path, seconds: float) -> Path:
    """An MP3 of variable bitrate: a tone that becomes noise."""
    rng = np.random.default_rng(1)
    samples = tone(440, round(RATE * seconds)) * 0.5
    samples[len(samples) // 2 :] += 0.3 * rng.standard_normal(len(samples) - len(samples) // 2)
    return make(path, samples, format="MP3", bitrate_mode="VARIABLE", compression_level=0.5)


def without_description(path: Path) -> Path:
    """Take the first frame away, which tells the length."""
    content = path.read_bytes()
    at = content.find(b"Xing")
    assert at > 0
    start = content.rfind(b"\xff\xfb", 0, at)
    following = content.find(b"\xff\xfb", start + 4)
    path.write_bytes(content[following:])
    return path


def test_a_whole_mp3_is_no_trouble(tmp_path):
    path = vbr(tmp_path / "a.mp3", 3)
    extent = measure(path)
    assert extent.trouble is None
    assert extent.frames == Reader(path, extent).frames == 3 * RATE


@pytest.mark.ffmpeg
def test_mp3_of_variable_bitrate_without_its_header(tmp_path):
    path = without_description(vbr(tmp_path / "a.mp3", 6))
    with open_reader(path) as reader:
        assert abs(reader.seconds - 6) < 0.1
        assert (reader.format, reader.subtype, reader.sample_rate) == ("MP3", "MPEG_LAYER_III", RATE)
    assert abs(len(read(open_reader(path))) - 6 * RATE) <= 3 * 1152


@pytest.mark.ffmpeg
@pytest.mark.parametrize("mode", ["VARIABLE", "CONSTANT"])
def test_appended_mp3s(tmp_path, mode):
    first = make(tmp_path / "1.mp3", tone(440, 2 * RATE) * 0.5, format="MP3", bitrate_mode=mode)
    second = make(tmp_path / "2.mp3", tone(880, 3 * RATE) * 0.5, format="MP3", bitrate_mode=mode)
    path = append(tmp_path / "both.mp3", first, second)
    assert "goes on after the 2." in measure(path).trouble
    samples = read(open_reader(path))
    assert abs(len(samples) - 5 * RATE) <= 3 * 1152
    with open_reader(path) as reader:
        assert abs(reader.frames - len(samples)) <= 1152
    for start, frequency in ((RATE, 440), (4 * RATE, 880)):
        spectrum = np.abs(np.fft.rfft(samples[start : start + RATE // 2]))
        assert abs(2 * np.argmax(spectrum) - frequency * RATE / 48000) < 4  # the tones are made for 48 kHz


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_chained_ogg(tmp_path, subtype, monkeypatch):
    """Each part has its length and its samples, and nobody asks ffmpeg, which has more where parts meet."""
    monkeypatch.setattr(ffmpeg, "installed", lambda: False)
    parts = [
        make(tmp_path / f"{number}.ogg", tone(frequency, 48000 * number) * 0.5, 48000, format="OGG", subtype=subtype)
        for number, frequency in ((2, 440), (3, 880))
    ]
    path = append(tmp_path / "both.ogg", *parts)
    extent = measure(path)
    assert (extent.frames, extent.trouble) == (5 * 48000, "goes on after the 2.0 s of its first part")
    with open_reader(path) as reader:
        assert (reader.frames, reader.format, reader.subtype) == (5 * 48000, "OGG", subtype)
    expected = np.concatenate([read(Reader(part)) for part in parts])
    with open_reader(path) as reader:
        assert len(next(reader.blocks(100))) == 100 and reader.seek(99) == 0
        np.testing.assert_array_equal(read(reader), expected)
    assert len(expected) == 5 * 48000


@pytest.mark.parametrize("number", [0, 1])
def test_damage_in_a_part_is_said(tmp_path, number):
    """Damage that no checksum tells of."""
    part = make(tmp_path / "1.ogg", tone(440, 96000) * 0.5, 48000, format="OGG", subtype="VORBIS")
    path = append(tmp_path / "both.ogg", part, part)
    content = bytearray(path.read_bytes())
    setup = content.index(b"\x05vorbis", number * part.stat().st_size)
    content[setup + 7 : setup + 200] = bytes(193)
    for page in list(ogg_pages.pages(content)):
        head, rest = content[page.start : page.start + 27], content[page.start + 27 : page.end]
        content[page.start + 22 : page.start + 26] = ogg_pages.checksum(bytes(head), bytes(rest))
    path.write_bytes(content)
    with pytest.raises(AudioError, match=f"both.ogg is damaged in part {number + 1} of 2"):
        read(open_reader(path))


@pytest.mark.ffmpeg
def test_a_chain_with_a_broken_page_is_read_on_and_told(tmp_path):
    hiss = 0.1 * np.random.default_rng(1).standard_normal(96000)
    part = make(tmp_path / "1.ogg", hiss, 48000, format="OGG", subtype="VORBIS")
    path = append(tmp_path / "both.ogg", part, part)
    content = bytearray(path.read_bytes())
    content[len(content) * 3 // 4] ^= 255
    path.write_bytes(content)
    with open_reader(path) as reader:
        assert len(read(reader)) > 3 * 48000
        assert reader.damage and "damaged" in reader.damage


@pytest.mark.ffmpeg
def test_parts_of_other_rates_and_channels_sound_as_the_first(tmp_path):
    first = make(tmp_path / "1.ogg", tone(440, 96000) * 0.5, 48000, format="OGG", subtype="VORBIS")
    soundfile.write(tmp_path / "2.ogg", np.tile(tone(440, 48000)[:, None] * 0.5, 2), 24000)
    path = append(tmp_path / "both.ogg", first, tmp_path / "2.ogg")
    samples = read(open_reader(path))
    assert abs(len(samples) - 4 * 48000) <= 2048
    spectrum = np.abs(np.fft.rfft(samples[-48000:]))
    assert abs(np.argmax(spectrum) - 220) <= 1


def test_regular_opus_is_no_trouble(tmp_path):
    for rate, seconds in ((8000, 1.0), (16000, 2.7), (48000, 0.01)):
        path = make(tmp_path / "a.opus", tone(440, round(rate * seconds)), rate, format="OGG", subtype="OPUS")
        extent = measure(path)
        assert extent.trouble is None
        assert (extent.frames, extent.sample_rate) == (round(rate * seconds), rate)


@pytest.mark.ffmpeg
@pytest.mark.parametrize("by", [488, -312, 8])
def test_opus_whose_pages_count_wrong(tmp_path, by):
    """libsndfile calls it damaged, or hands out other samples without a word."""
    path = make(tmp_path / "a.opus", 0.5 * tone(440, 5 * 48000), 48000, format="OGG", subtype="OPUS")
    expected = read(Reader(path))
    path.write_bytes(with_moved_position(path.read_bytes(), 3, by))
    assert measure(path).trouble == "does not count its samples exactly"
    samples = read(open_reader(path))
    assert abs(len(samples) - len(expected)) <= 960
    least = min(len(samples), len(expected))
    np.testing.assert_allclose(samples[:least], expected[:least], atol=1e-3)


def test_without_ffmpeg_nothing_is_cut_in_silence(tmp_path, monkeypatch):
    monkeypatch.setattr(ffmpeg, "installed", lambda: False)
    first = make(tmp_path / "1.mp3", tone(440, 2 * RATE), format="MP3")
    both = append(tmp_path / "both.mp3", first, first)
    with pytest.raises(AudioError, match=r"both.mp3 goes on after the 2.0 s .*; install ffmpeg"):
        open_reader(both)
    bare = without_description(vbr(tmp_path / "bare.mp3", 3))
    with pytest.raises(AudioError, match=r"bare.mp3 has a variable bitrate.*; install ffmpeg"):
        open_reader(bare)
    ogg = make(tmp_path / "1.ogg", tone(440, RATE), format="OGG")
    other = make(tmp_path / "2.ogg", tone(440, RATE), 8000, format="OGG")
    with pytest.raises(AudioError, match=r"3.ogg goes on after the 1.0 s of its first part; install ffmpeg"):
        open_reader(append(tmp_path / "3.ogg", ogg, other))


@pytest.mark.ffmpeg
def test_tags_between_mp3s_are_stepped_over(tmp_path):
    part = make(tmp_path / "1.mp3", tone(440, RATE), format="MP3")
    content = part.read_bytes()
    id3 = b"ID3\x04\x00\x00\x00\x00\x02\x00" + bytes(256)
    (tmp_path / "2.mp3").write_bytes(id3 + content + b"TAG" + bytes(125) + id3 + content + b"TAG" + bytes(125))
    assert abs(measure(tmp_path / "2.mp3").frames - 2 * RATE) < 4000


def test_cover_and_padding_do_not_count(tmp_path):
    """A cover may hold what looks like frames."""
    part = make(tmp_path / "1.mp3", tone(440, RATE), format="MP3")
    content = part.read_bytes()
    cover = content[: 0x80 * 50]
    size = bytes((0, 0, len(cover) >> 7, len(cover) & 0x7F))
    (tmp_path / "2.mp3").write_bytes(b"ID3\x04\x00\x00" + size + cover + content)
    assert measure(tmp_path / "2.mp3").frames == RATE
    assert measure(tmp_path / "2.mp3").trouble is None


def test_what_is_neither_mp3_nor_ogg_is_not_measured(tmp_path):
    for name, content in (("a.wav", b"RIFF"), ("a.mp3", b"ID3"), ("b.mp3", bytes(100_000)), ("a.ogg", b"OggS")):
        (tmp_path / name).write_bytes(content)
        assert measure(tmp_path / name) is None


@pytest.mark.ffmpeg
def test_opus_sounds_the_same_whoever_decodes_it(tmp_path):
    if not ffmpeg._decoder("opus"):
        pytest.skip("this ffmpeg has no libopus")
    samples, rate = soundfile.read(ROOT / "examples" / "street.flac")
    path = make(tmp_path / "a.opus", samples, rate, format="OGG", subtype="OPUS")
    ours, theirs = read(Reader(path)), read(ffmpeg.MediaReader(path, measure(path)))
    assert len(ours) == len(theirs)
    np.testing.assert_allclose(ours, theirs, atol=1e-3)


@pytest.mark.ffmpeg
def test_what_libsndfile_gives_up_goes_on_with_ffmpeg(tmp_path):
    path = make(tmp_path / "a.caf", 0.5 * tone(440, 48000), 48000)
    expected = read(Reader(path))
    reader = Reader(path)
    fine, calls = reader._file.read, []

    def failing(*arguments, **options):
        calls.append(1)
        if len(calls) > 3:
            raise soundfile.LibsndfileError(0, "no")
        return fine(*arguments, **options)

    reader._file.read = failing
    np.testing.assert_array_equal(read(reader), expected)
