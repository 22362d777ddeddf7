"""Titles, covers and chapters: from every format that has them into every other."""

from __future__ import annotations

import base64
from pathlib import Path

import mutagen
import numpy as np
import pytest
import soundfile
from mutagen.apev2 import APEv2
from mutagen.flac import FLAC, Picture
from mutagen.id3 import APIC, CHAP, COMM, CTOC, ID3, TCON, TIT2, TRCK, TXXX, CTOCFlags
from mutagen.mp4 import MP4, MP4FreeForm
from mutagen.oggopus import OggOpus
from mutagen.oggvorbis import OggVorbis
from rewritten import rewrite
from signals import tone

from percepnet_cli.audio import ffmpeg, tags
from percepnet_cli.audio.files import open_reader, open_writer

COVER = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAIAAAACCAIAAAD91JpzAAAAC0lEQVR4nGNgQAYAAA4AAamRc7EAAAAASUVORK5CYII=")
"""Black, 2 by 2."""
TITLE = "Épisode 5: Übung, 日本"
NAMES = ["a.mp3", "a.flac", "a.ogg", "a.opus"]


def picture() -> Picture:
    made = Picture()
    made.type, made.mime, made.desc, made.data = 3, "image/png", "Größe", COVER
    return made


def make(folder: Path, name: str) -> Path:
    """A file with title, number, ReplayGain, cover and two chapters."""
    path = folder / name
    kind = {"subtype": "OPUS", "format": "OGG"} if name.endswith("opus") else {}
    soundfile.write(path, tone(440, 96000), 48000, **kind)

    if name.endswith("mp3"):
        id3 = ID3()
        id3.add(TIT2(encoding=3, text=TITLE))
        id3.add(TRCK(encoding=3, text="5/12"))
        id3.add(TCON(encoding=3, text="Podcast"))
        id3.add(TXXX(encoding=3, desc="REPLAYGAIN_TRACK_GAIN", text="-3.00 dB"))
        id3.add(COMM(encoding=3, lang="deu", desc="", text="Bemerkung"))
        id3.add(APIC(encoding=3, mime="image/png", type=3, desc="Größe", data=COVER))
        for number, title in enumerate(("Eins", "Zwei")):
            sub = [TIT2(encoding=3, text=title)]
            id3.add(CHAP(element_id=f"c{number}", start_time=1000 * number, end_time=1000 * number + 1000,
                         start_offset=2**32 - 1, end_offset=2**32 - 1, sub_frames=sub))  # fmt: skip
        flags = CTOCFlags.TOP_LEVEL | CTOCFlags.ORDERED
        id3.add(CTOC(element_id="toc", flags=flags, child_element_ids=["c0", "c1"], sub_frames=[]))
        id3.save(path)
        return path

    file = {"flac": FLAC, "ogg": OggVorbis, "opus": OggOpus}[name.split(".")[1]](path)
    file.tags.clear()
    file["title"], file["tracknumber"], file["genre"] = TITLE, "5/12", "Podcast"
    file["artist"] = ["Zoë", "Ann"]
    file["comment"], file["replaygain_track_gain"] = "Bemerkung", "-3.00 dB"
    for number, title in enumerate(("Eins", "Zwei"), 1):
        file[f"chapter{number:03}"], file[f"chapter{number:03}name"] = f"00:00:0{number - 1}.000", title

    if name.endswith("flac"):
        file.add_picture(picture())
    else:
        file["metadata_block_picture"] = [base64.b64encode(picture().write()).decode()]

    file.save()
    return path


@pytest.mark.parametrize("source", NAMES)
@pytest.mark.parametrize("target", NAMES)
def test_all_that_is_known_goes_along(tmp_path, source, target):
    (tmp_path / "out").mkdir()
    path = rewrite(make(tmp_path, source), tmp_path / "out" / target)
    found = tags.read(path)
    expected = {"title": TITLE, "tracknumber": "5/12", "genre": "Podcast", "comment": "Bemerkung"}
    expected["replaygain_track_gain"] = "-3.00 dB"
    assert {name: found.text.get(name) for name in expected} == {name: [text] for name, text in expected.items()}
    if not source.endswith("mp3"):
        assert found.text["artist"] == ["Zoë", "Ann"]
    assert [(one.type, one.mime, one.desc, one.data) for one in found.pictures] == [(3, "image/png", "Größe", COVER)]
    assert found.chapters == [(0.0, 1.0, "Eins"), (1.0, pytest.approx(2.0, abs=0.1), "Zwei")]
    if not target.endswith("mp3"):
        assert found.text["chapter002"] == ["00:00:01.000"]
        assert found.text["chapter002name"] == ["Zwei"]
    samples = soundfile.read(path)[0]
    assert len(samples) == 96000
    assert np.abs(samples).max() > 0.4


@pytest.mark.parametrize("source", NAMES)
def test_into_a_wav(tmp_path, source):
    path = rewrite(make(tmp_path, source), tmp_path / "out.wav")
    assert soundfile.SoundFile(path).copy_metadata()["title"] == TITLE
    found = tags.read(path)
    assert found.text["title"] == [TITLE]
    assert [one.data for one in found.pictures] == [COVER]
    again = rewrite(path, tmp_path / "again.flac")  # and out of it
    assert tags.read(again).text["title"] == [TITLE]
    assert [one.data for one in tags.read(again).pictures] == [COVER]


@pytest.mark.parametrize("source", NAMES)
def test_into_an_aiff_and_out_of_it(tmp_path, source):
    path = rewrite(make(tmp_path, source), tmp_path / "out.aiff")
    written = make_names(path)
    assert written == make_names(tmp_path / source)
    assert make_names(rewrite(path, tmp_path / "again.wav")) == written
    np.testing.assert_array_equal(len(soundfile.read(path)[0]), 96000)


def make_names(path: Path) -> set[str]:
    return tags.read(path).names()


def test_a_wav_holds_tags_that_its_own_list_has_no_names_for(tmp_path):
    soundfile.write(tmp_path / "a.flac", tone(440, 4800), 48000)
    file = FLAC(tmp_path / "a.flac")
    file["title"], file["albumartist"], file["replaygain_track_gain"] = "T", "AA", "-3.00 dB"
    file.save()
    found = tags.read(rewrite(tmp_path / "a.flac", tmp_path / "a.wav"))
    assert found.text["albumartist"] == ["AA"]
    assert found.text["replaygain_track_gain"] == ["-3.00 dB"]


def test_tags_keep_the_order_of_the_file(tmp_path):
    soundfile.write(tmp_path / "a.flac", tone(440, 4800), 48000)
    file = FLAC(tmp_path / "a.flac")
    names = [f"name{7 * number % 20}" for number in range(20)]
    for name in names:
        file[name] = "x"
    file.save()
    assert list(tags.read(tmp_path / "a.flac").text)[-20:] == names


@pytest.mark.parametrize("beside", [False, True])
@pytest.mark.parametrize("target", ["b.mp3", "b.flac"])
def test_what_stands_behind_the_frames_of_an_mp3_goes_along(tmp_path, target, beside):
    """An APE tag, alone or beside ID3, which counts where both name a thing."""
    source = make(tmp_path, "a.mp3")
    if not beside:
        ID3(source).delete(source)
    ape = APEv2()
    ape["Title"], ape["Track"], ape["Subtitle"], ape["MP3GAIN_UNDO"] = "Other", "7", ["Zoë", "Ann"], "+001,+001,N"
    ape.save(source)

    found = tags.read(rewrite(source, tmp_path / target)).text
    assert found["title"] == [TITLE if beside else "Other"]
    assert found["tracknumber"] == ["5/12" if beside else "7"]
    assert found["subtitle"] == ["Zoë", "Ann"] and "mp3gain_undo" not in found


def test_words_of_a_song_are_known_to_all(tmp_path):
    source = make(tmp_path, "a.mp3")
    id3 = ID3(source)
    id3.add(mutagen.id3.USLT(encoding=3, lang="eng", desc="", text="la la"))
    id3.save(source)
    path = rewrite(source, tmp_path / "b.flac")
    assert tags.read(path).text["lyrics"] == ["la la"]
    assert ID3(rewrite(path, tmp_path / "c.mp3")).getall("USLT")[0].text == "la la"


def left_out(source: Path, target: Path) -> list[str]:
    with open_reader(source) as reader, open_writer(target, like=reader) as writer:
        for block in reader.blocks(5000):
            writer.write(block)
    return writer.left_out


@pytest.mark.parametrize("suffix", ["au", "w64"])
def test_tags_that_a_format_cannot_hold_are_said(tmp_path, suffix):
    missing = left_out(make(tmp_path, "a.flac"), tmp_path / f"b.{suffix}")
    assert set(missing) == {
        "artist", "chapters", "comment", "genre", "picture", "replaygain_track_gain", "title", "tracknumber",
    }  # fmt: skip


def test_frames_that_no_other_format_has_are_said(tmp_path):
    source = make(tmp_path, "a.mp3")
    id3 = ID3(source)
    id3.add(mutagen.id3.PRIV(owner="me", data=b"x"))
    id3.save(source)
    assert left_out(source, tmp_path / "b.ogg") == ["PRIV"]
    assert left_out(source, tmp_path / "b.wav") == []
    assert left_out(source, tmp_path / "c.mp3") == []


@pytest.mark.ffmpeg
@pytest.mark.parametrize("source", NAMES)
@pytest.mark.parametrize("target", ["b.m4a", "b.mka"])
def test_through_ffmpeg_tags_go_along_or_are_said(tmp_path, source, target):
    path = make(tmp_path, source)
    missing = left_out(path, tmp_path / target)
    assert not {"title", "genre", "tracknumber"} & set(missing)
    with open_reader(tmp_path / target) as reader:
        assert reader.tags["title"] == TITLE
        held = reader.tags.keys() | tags.read(tmp_path / target).names()
    assert set(missing) == tags.read(path).names() - held - ({"chapters"} if reader.chapters else set())

    assert missing == [] if target == "b.m4a" else "picture" in missing

    # and back
    back = tags.read(rewrite(tmp_path / target, tmp_path / "again.flac"))
    assert back.text["title"] == [TITLE]
    assert "chapters" in missing or back.text["chapter002name"] == ["Zwei"]


@pytest.mark.ffmpeg
@pytest.mark.parametrize("source", NAMES)
def test_an_aac_has_all_tags_before_its_frames(tmp_path, source):
    path = make(tmp_path, source)
    assert left_out(path, tmp_path / "b.aac") == []
    assert ffmpeg.probe(tmp_path / "b.aac").audio[0].codec == "aac"

    # and from there into the next, and into another format
    again = rewrite(tmp_path / "b.aac", tmp_path / "c.aac")
    for back in (tags.read(again), tags.read(rewrite(again, tmp_path / "d.flac"))):
        assert back.text["title"] == [TITLE] and back.text["replaygain_track_gain"] == ["-3.00 dB"]
        assert [(one.desc, one.data) for one in back.pictures] == [("Größe", COVER)]
        assert "chapters" in back.names()
    assert tags.read(again).chapters[1][::2] == (1.0, "Zwei")


@pytest.mark.ffmpeg
def test_an_m4a_keeps_texts_of_any_name(tmp_path):
    """From another, and from an MP3; but for names that are not ASCII, which are said."""
    source = make(tmp_path, "a.mp3")
    id3 = ID3(source)
    id3.add(TXXX(encoding=3, desc="Größe", text="drei"))
    id3.save(source)
    assert left_out(source, tmp_path / "a.m4a") == ["größe"]

    file = MP4(tmp_path / "a.m4a")
    file["----:com.apple.iTunes:ISRC"] = [MP4FreeForm(b"DE-A00-24-00001")]
    file["----:com.apple.iTunes:Feeling"] = [MP4FreeForm("fröhlich".encode())]
    file.save()
    assert left_out(tmp_path / "a.m4a", tmp_path / "b.m4b") == []
    with open_reader(tmp_path / "b.m4b") as reader:
        assert (reader.tags["isrc"], reader.tags["feeling"]) == ("DE-A00-24-00001", "fröhlich")
        assert abs(sum(map(len, reader.blocks(5000))) - 96000) <= 4096


@pytest.mark.ffmpeg
def test_a_damaged_cover_is_said_and_stops_nothing(tmp_path):
    source = make(tmp_path, "a.mp3")
    id3 = ID3(source)
    id3.delall("APIC")
    id3.add(APIC(encoding=3, mime="image/jpeg", type=3, desc="", data=b"\xff\xd8\xff" + bytes(2000)))
    id3.save(source)
    assert "picture" in left_out(source, tmp_path / "b.m4a")


def test_frames_that_mean_nothing_here_stay_in_an_mp3(tmp_path):
    source = make(tmp_path, "a.mp3")
    id3 = ID3(source)
    id3.add(mutagen.id3.PRIV(owner="me", data=b"\0\1\2"))
    id3.save(source, v2_version=3)
    found = ID3(rewrite(source, tmp_path / "b.mp3"))
    assert found.version == (2, 3, 0)
    assert found.getall("PRIV")[0].data == b"\0\1\2"
    assert found.getall("COMM")[0].lang == "deu"


def test_what_is_no_tag_is_none(tmp_path):
    (tmp_path / "a.mp3").write_bytes(b"ID3" + bytes(range(250)))
    assert tags.read(tmp_path / "a.mp3").text == {}
    assert tags.read(tmp_path / "none.flac").text == {}


def test_an_aiff_keeps_its_chunks(tmp_path):
    source = tmp_path / "a.aiff"
    with soundfile.SoundFile(source, "w", 48000, 1) as file:
        file.title = "Name"
        file.write(tone(440, 4801))
    content = source.read_bytes() + b"MARK" + (6).to_bytes(4, "big") + bytes((0, 1, 0, 0, 0, 5)) + b"APPL\0\0\0\4abcd"
    source.write_bytes(content[:4] + (len(content) - 8).to_bytes(4, "big") + content[8:])
    target = rewrite(source, tmp_path / "b.aiff")
    written = target.read_bytes()
    assert written.count(b"NAME") == written.count(b"MARK") == 1
    assert int.from_bytes(written[4:8], "big") == len(written) - 8
    np.testing.assert_array_equal(soundfile.read(target)[0], soundfile.read(source)[0])


def test_what_a_format_cannot_hold_is_said(tmp_path):
    soundfile.write(tmp_path / "a.wav", tone(440, 4800), 48000)
    content = (tmp_path / "a.wav").read_bytes() + b"iXML\4\0\0\0<x/>" + b"smpl\4\0\0\0abcd"
    (tmp_path / "a.wav").write_bytes(content[:4] + (len(content) - 8).to_bytes(4, "little") + content[8:])
    for name, expected in (("b.wav", []), ("b.flac", ["iXML", "smpl"]), ("b.aiff", ["iXML", "smpl"])):
        with open_reader(tmp_path / "a.wav") as reader, open_writer(tmp_path / name, like=reader) as writer:
            assert writer.left_out == expected
            writer.write(np.zeros((100, 1), np.float32))
