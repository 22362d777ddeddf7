"""The door to mutagen: titles, covers and chapters from the input's file into the result's."""

from __future__ import annotations

import base64
import io
import re
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import mutagen
from mutagen.apev2 import TEXT, APEv2
from mutagen.flac import FLAC, Picture
from mutagen.id3 import APIC, CHAP, CTOC, ID3, TIT2, TXXX, USLT, CTOCFlags, Frame, Frames
from mutagen.mp3 import MP3, HeaderNotFoundError
from mutagen.mp4 import MP4, MP4FreeForm
from mutagen.oggopus import OggOpus
from mutagen.oggvorbis import OggVorbis

from percepnet_cli.errors import AudioError

PICTURE_KEY = "metadata_block_picture"
"""Comment of an Ogg file that holds a picture."""

CHAPTER_KEY = re.compile(r"chapter\d{3}")
CLOCK = re.compile(r"(\d+):(\d+):(\d+(?:\.\d*)?)")
"""A comment that tells when a chapter begins, and what it says."""

ID3_NAMES = {
    "TIT2": "title", "TPE1": "artist", "TALB": "album", "TPE2": "albumartist", "TRCK": "tracknumber",
    "TPOS": "discnumber", "TCON": "genre", "TDRC": "date", "TCOM": "composer", "TEXT": "lyricist", "TCOP": "copyright",
    "TPUB": "organization", "TLAN": "language", "TSRC": "isrc", "TBPM": "bpm", "TIT1": "grouping", "TIT3": "version",
    "TPE3": "conductor", "TPE4": "remixer", "TDOR": "originaldate", "TMOO": "mood", "TMED": "media",
    "TSOT": "titlesort", "TSOP": "artistsort", "TSOA": "albumsort", "TSO2": "albumartistsort",
}  # fmt: skip
"""Frames of text -> names of comments."""

OTHER_FRAMES = {"TXXX", "COMM", "USLT", "APIC", "CHAP", "CTOC"}
"""Frames with a meaning elsewhere, too, each in a way of its own."""

OWN_FRAMES = {"TSSE", "TENC", "TLEN"}
"""ID3 frames about the old encoding."""

OWN_COMMENTS = {"encoder", "encoder_options", "encoded-by", "mp3gain_minmax", "mp3gain_undo"}
"""The like in comments of FLAC and Ogg, and what undoes a change of the old encoding."""

APE_NAMES = {"track": "tracknumber", "disc": "discnumber", "year": "date", "album artist": "albumartist"}
"""APE's names of tags -> the usual ones of comments."""


@dataclass
class Tags:
    """What a file says of its content."""

    text: dict[str, list[str]] = field(default_factory=dict)
    """By the usual names of comments in lower case: title, artist, tracknumber..."""
    pictures: list[Picture] = field(default_factory=list)
    chapters: list[tuple[float, float, str]] = field(default_factory=list)
    """Begin and end in seconds, name."""
    id3: ID3 | None = None
    """The frames as they are, of what has such."""

    def names(self) -> set[str]:
        """Return what there is, by name; chapters are one thing, and so are pictures."""
        found = {name for name, values in self.text.items() if any(values) and name not in OWN_COMMENTS}
        others = {name for name in found if not name.startswith("chapter")}
        chapters = {"chapters"} if self.chapters or others != found else set()
        return others | chapters | ({"picture"} if self.pictures else set())

    def only_id3(self) -> set[str]:
        """Return the kinds of frames that no other format has."""
        kinds = {frame.FrameID for frame in self.id3.values()} if self.id3 is not None else set()
        return kinds - ID3_NAMES.keys() - OTHER_FRAMES - OWN_FRAMES

    def drop_chapters(self) -> None:
        """Forget the chapters, in every form."""
        self.chapters = []
        self.text = {name: values for name, values in self.text.items() if not name.startswith("chapter")}
        if self.id3 is not None:
            self.id3.delall("CHAP")
            self.id3.delall("CTOC")


def read(path: Path | BinaryIO) -> Tags:
    """Read the tags of a file of any kind, by name or open; what cannot be read is none."""
    tags = Tags()
    with suppress(Exception):  # mutagen raises whatever it stumbles over; the sound is worth more than its tags
        try:
            found = mutagen.File(path)
        except HeaderNotFoundError:  # an AAC may begin as an MP3 does
            _rewind(path)
            _read_id3(ID3(path), tags)
            return tags
        if found is None:
            return tags

        if isinstance(found.tags, ID3):
            _read_id3(found.tags, tags)
        elif found.tags is not None:
            _rewind(path)
            easy = mutagen.File(path, easy=True)
            _read_comments(found if easy is None or easy.tags is None else easy, tags)

        tags.pictures += getattr(found, "pictures", None) or []
        _read_other_covers(found, tags)
        if isinstance(found, MP3):  # which may have tags before its frames, behind them, or both
            _rewind(path)
            _read_ape(APEv2(path), tags)
    return tags


def _rewind(file: Path | BinaryIO) -> None:
    """Go back to the start of what is open."""
    if not isinstance(file, Path):
        file.seek(0)


def _read_id3(id3: ID3, tags: Tags) -> None:
    tags.id3 = id3
    for frame, name in ID3_NAMES.items():
        if frame in id3:
            tags.text[name] = [str(value) for value in id3[frame].text]
    for frame in id3.getall("TXXX"):
        tags.text.setdefault(frame.desc.lower(), [str(value) for value in frame.text])
    for frame in id3.getall("COMM"):
        tags.text.setdefault("comment", [str(value) for value in frame.text])
    for frame in id3.getall("USLT"):
        tags.text.setdefault("lyrics", [frame.text])

    for frame in id3.getall("APIC"):
        picture = Picture()
        picture.type, picture.mime, picture.desc, picture.data = frame.type, frame.mime, frame.desc, frame.data
        tags.pictures.append(picture)
    for frame in sorted(id3.getall("CHAP"), key=lambda frame: frame.start_time):
        names = [str(one) for one in frame.sub_frames.getall("TIT2")]
        tags.chapters.append((frame.start_time / 1000, frame.end_time / 1000, (names or [""])[0]))


def _read_ape(ape: APEv2, tags: Tags) -> None:
    """Add the texts of an APE tag that ID3 has not."""
    for key, value in ape.items():
        name = APE_NAMES.get(key.lower(), key.lower())
        if value.kind != TEXT or name in tags.text or name in OWN_COMMENTS:
            continue
        tags.text[name] = list(value)
        if tags.id3 is not None:
            tags.id3.add(_text_frame(name, tags.text[name]))


def _read_comments(found: Any, tags: Tags) -> None:
    # In the order of the file: mutagen's own order of comments is another one in every process
    names = [name for name, _ in found.tags] if isinstance(found.tags, list) else list(found.tags.keys())
    for name in dict.fromkeys(name.lower() for name in names):
        values = found.tags[name]
        if isinstance(values, list) and name != PICTURE_KEY:
            tags.text[name] = [str(value) for value in values]
    tags.chapters = _chapters(tags.text, found.info.length)
    for encoded in found.tags.get(PICTURE_KEY, []):
        with suppress(mutagen.MutagenError, ValueError):
            tags.pictures.append(Picture(base64.b64decode(encoded)))


def _chapters(text: dict[str, list[str]], seconds: float) -> list[tuple[float, float, str]]:
    """Return the chapters that comments name, each up to the next. seconds: length of the recording."""
    begins = []
    for name, values in text.items():
        match = CHAPTER_KEY.fullmatch(name)
        clock = CLOCK.fullmatch(values[0]) if match and values else None
        if clock:
            begin = 3600 * int(clock[1]) + 60 * int(clock[2]) + float(clock[3])
            begins.append((begin, text.get(f"{name}name", [""])[0]))
    if not begins:
        return []
    begins.sort()
    ends = [begin for begin, _ in begins[1:]] + [max(seconds, begins[-1][0])]
    return [(begin, end, name) for (begin, name), end in zip(begins, ends, strict=True)]


def _read_other_covers(found: Any, tags: Tags) -> None:
    """Add the covers of an MP4."""
    covers = found.tags.get("covr", []) if type(found).__name__ == "MP4" and found.tags else []
    for cover in covers:
        picture = Picture()
        picture.type, picture.data = 3, bytes(cover)
        picture.mime = "image/png" if picture.data[:4] == b"\x89PNG" else "image/jpeg"
        tags.pictures.append(picture)


def write(file: BinaryIO, container: str, subtype: str, tags: Tags) -> None:
    """Give a whole file its tags, in place of those it has. container, subtype: by soundfile's names, or "MEDIA": AAC.

    Raises AudioError if they do not go in.
    """
    file.seek(0)
    try:
        if container in ("MP3", "MEDIA"):
            _write_id3(file, tags)
        else:
            _write_comments(file, container, subtype, tags)
    except mutagen.MutagenError as error:
        raise AudioError(f"its tags do not go in ({error})") from None


def _write_comments(file: BinaryIO, container: str, subtype: str, tags: Tags) -> None:
    kind = FLAC if container == "FLAC" else OggOpus if subtype == "OPUS" else OggVorbis
    target = kind(file)
    if target.tags is None:
        target.add_tags()
    vendor = target.tags.vendor
    target.tags.clear()
    target.tags.vendor = vendor
    for name, values in tags.text.items():
        if name not in OWN_COMMENTS and values:
            with suppress(ValueError):  # a name that comments cannot have
                target.tags[name] = values
    there = any(CHAPTER_KEY.fullmatch(name) for name in tags.text)
    for number, (begin, _, name) in enumerate(() if there else tags.chapters, 1):
        minutes, seconds = divmod(begin, 60)
        hours, minutes = divmod(int(minutes), 60)
        target.tags[f"chapter{number:03}"] = [f"{hours:02}:{minutes:02}:{seconds:06.3f}"]
        target.tags[f"chapter{number:03}name"] = [name]

    if container == "FLAC":
        for picture in tags.pictures:
            target.add_picture(picture)
    elif tags.pictures:
        target.tags[PICTURE_KEY] = [base64.b64encode(one.write()).decode("ascii") for one in tags.pictures]
    file.seek(0)
    target.save(file)


def add_to_mp4(file: BinaryIO, tags: Tags, names: set[str]) -> None:
    """Give a whole MP4 those texts for which it has no names of its own, as iTunes does. Raises AudioError."""
    file.seek(0)
    try:
        target = MP4(file)
        if target.tags is None:
            target.add_tags()
        for name in sorted(names):
            values = [MP4FreeForm(value.encode()) for value in tags.text.get(name, [])]
            if values and name.isascii():  # what others make of other names differs
                target.tags[f"----:com.apple.iTunes:{name.upper()}"] = values
        file.seek(0)
        target.save(file)
    except mutagen.MutagenError as error:
        raise AudioError(f"its tags do not go in ({error})") from None


def as_id3(tags: Tags) -> bytes:
    """Return tags as the content of an id3 chunk."""
    content = io.BytesIO()
    _write_id3(content, tags)
    return content.getvalue()


def _write_id3(file: BinaryIO, tags: Tags) -> None:
    id3 = ID3()
    version = 4
    if tags.id3 is not None:  # frame by frame, also those that have no meaning here
        version = 3 if tags.id3.version[1] < 4 else 4
        for frame in tags.id3.values():
            if frame.FrameID not in OWN_FRAMES:
                id3.add(frame)
    else:
        _fill_id3(id3, tags)
    if version == 3:
        id3.update_to_v23()
    file.seek(0)
    id3.save(file, v2_version=version)


def _fill_id3(id3: ID3, tags: Tags) -> None:
    for name, values in tags.text.items():
        is_chapter = tags.chapters and CHAPTER_KEY.fullmatch(name.removesuffix("name"))
        if values and not is_chapter and name not in OWN_COMMENTS:
            id3.add(_text_frame(name, values))

    for picture in tags.pictures:
        id3.add(APIC(encoding=3, mime=picture.mime, type=picture.type, desc=picture.desc, data=picture.data))
    for number, (begin, end, name) in enumerate(tags.chapters):
        title = [TIT2(encoding=3, text=name)]
        place = {"start_time": round(1000 * begin), "end_time": round(1000 * end)}
        id3.add(CHAP(element_id=f"ch{number}", **place, start_offset=2**32 - 1, end_offset=2**32 - 1, sub_frames=title))
    if tags.chapters:
        names = [f"ch{number}" for number in range(len(tags.chapters))]
        flags = CTOCFlags.TOP_LEVEL | CTOCFlags.ORDERED
        id3.add(CTOC(element_id="toc", flags=flags, child_element_ids=names, sub_frames=[]))


def _text_frame(name: str, values: list[str]) -> Frame:
    """Return the frame that holds a text."""
    frames = {name: frame for frame, name in ID3_NAMES.items()}
    if name in frames:
        return Frames[frames[name]](encoding=3, text=values)
    if name == "lyrics":
        return USLT(encoding=3, lang="XXX", desc="", text="\n".join(values))
    return TXXX(encoding=3, desc=name.upper(), text=values)
