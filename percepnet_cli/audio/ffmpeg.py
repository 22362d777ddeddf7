"""The door to ffmpeg, where that is installed: what libsndfile cannot read, or reads wrong."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO, cast

from percepnet_cli.audio import ffmpeg_messages
from percepnet_cli.audio.formats import early
from percepnet_cli.audio.framing import Extent
from percepnet_cli.audio.pipes import PipeReader
from percepnet_cli.errors import AudioError, UnknownFormatError

PROGRAM = "ffmpeg"
PROBE = "ffprobe"

READ = (
    "3dostr,aa,aac,aax,ac3,ace,act,adx,aea,aiff,alaw,amr,amrnb,amrwb,apc,ape,aptx,asf,asf_o,ast,au,avi,avr,avs,caf,"
    "codec2,daud,dsf,dss,dts,dtshd,dv,dxa,ea,eac3,epaf,flac,flv,gsm,gxf,h264,hevc,iff,ilbc,ircam,ivf,kux,live_flv,loas,"
    "lvf,lxf,m4v,matroska,mca,mlp,mmf,mods,mov,mp3,mpc,mpc8,mpeg,mpegts,mpegvideo,msf,mtaf,mtv,mulaw,mxf,nc,nistsphere,"
    "nsv,nut,ogg,oma,paf,pmp,pva,pvf,qcp,rm,roq,rso,sbc,sds,sln,smjpeg,smk,sol,sox,spdif,svag,swf,tak,thp,truehd,tta,"
    "ty,vivo,voc,vqf,w64,wav,wc3movie,wsd,wsvqa,wtv,wv,xa,xmv,xvag,xwma"
)
"""The containers that ffmpeg may read, by its names of them: each is one file.

Playlists and scripts are not among them, whatever they call themselves: they would bring other files' sound into the
result.
"""

ONE_FILE = ("-protocol_whitelist", "file", "-format_whitelist", READ)
"""Options of an input that is the file of this name and nothing else."""

FILL_GAPS = "aresample=async=1:min_hard_comp=0.1"
FROM_ZERO = ":first_pts=0"
"""Fill with silence what a track leaves out, so that its sound stays in time with the picture."""

ROUNDED_SHARE, ROUNDED_SECONDS = 0.01, 0.5
"""By which the length that a container tells may be wrong."""

ESTIMATED = {
    "aac", "ac3", "aea", "amr", "asf", "dts", "eac3", "loas", "mp3", "mpeg", "mpegts", "ogg", "truehd",
}  # fmt: skip
"""Containers that do not tell their length: what ffprobe says is an estimate."""

NAMES = {
    "track": "tracknumber", "disc": "discnumber", "album_artist": "albumartist", "publisher": "organization",
    "tsrc": "isrc", "tbpm": "bpm", "tit1": "grouping",
}  # fmt: skip
"""ffmpeg's names of tags -> the usual ones of comments."""

OWN_TAGS = {
    "encoder", "major_brand", "minor_version", "compatible_brands", "creation_time", "handler_name", "vendor_id",
    "duration", "isvbr", "devicemanufacturer",
}  # fmt: skip
"""Tags about the file and not about its content."""

BROADCAST = {"mpegts", "mpeg", "asf", "ogg"}
"""Containers whose times may jump: in these ffmpeg counts from the first sound and not from the first track."""


def installed() -> bool:
    """Return whether there is an ffmpeg."""
    return shutil.which(PROGRAM) is not None


@dataclass(frozen=True)
class Track:
    """One track of a film or of what else holds sound."""

    kind: str
    """"audio", "video", "subtitle", "attachment" or "data"."""
    codec: str
    language: str | None = None
    title: str | None = None
    sample_rate: int | None = None
    channels: int | None = None
    bits: int | None = None
    """Bits of a sample, if it is stored without loss."""
    bits_per_second: int | None = None
    seconds: float | None = None
    start_seconds: float = 0.0
    """When it begins."""
    is_picture: bool = False
    """Whether it is a cover and no film."""
    is_readable: bool = True
    """Whether what it is a picture of can be seen; a cover may be damaged."""


@dataclass(frozen=True)
class Media:
    """What ffprobe says of a file."""

    container: str
    seconds: float | None
    tracks: tuple[Track, ...]
    start_seconds: float = 0.0
    """When the first track begins."""
    tags: dict[str, str] = field(default_factory=dict)
    """By the usual names of comments; those of the whole, in an Ogg those of its sound."""
    chapters: tuple[tuple[float, float, str], ...] = ()
    """When each begins and ends, seconds, and its name."""

    @property
    def audio(self) -> list[Track]:
        """The tracks of sound."""
        return [track for track in self.tracks if track.kind == "audio"]

    def promised_seconds(self, number: int = 0) -> float | None:
        """Return the length of an audio track, if the file tells that."""
        track = self.audio[number] if self.audio else None
        if track is None or self.container in ESTIMATED:
            return None
        return track.seconds if self.film or track.seconds is not None else self.seconds

    @property
    def film(self) -> bool:
        """Whether there are moving pictures."""
        return any(track.kind == "video" and not track.is_picture for track in self.tracks)


def probe(path: Path, descriptors: tuple[int, ...] = ()) -> Media | None:
    """Ask ffprobe what a file holds; None if that is not installed or knows nothing of it.

    descriptors: open files that the path needs.
    """
    if shutil.which(PROBE) is None:
        return None

    command = [PROBE, "-v", "error", *ONE_FILE, "-of", "json"]
    command += ["-show_streams", "-show_format", "-show_chapters", address(path)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False, pass_fds=descriptors)
    try:
        found = json.loads(done.stdout)
    except ValueError:
        return None

    form = found.get("format")
    if done.returncode != 0 or not form or form["format_name"] == "tty":  # which is what ffprobe calls a text
        return None

    chapters = (
        (_number(one.get("start_time")) or 0.0, _number(one.get("end_time")) or 0.0, _tag(one, "title") or "")
        for one in found["chapters"]
    )
    sound: dict[str, Any] = next((stream for stream in found["streams"] if stream.get("codec_type") == "audio"), {})
    said = form.get("tags", {}) | (sound.get("tags", {}) if form["format_name"] == "ogg" else {})
    tags = {NAMES.get(name.lower(), name.lower()): text for name, text in said.items()}
    return Media(
        container=form["format_name"],
        seconds=_number(form.get("duration")),
        tracks=tuple(_track(stream) for stream in found["streams"]),
        start_seconds=_number(form.get("start_time")) or 0.0,
        tags={name: text for name, text in tags.items() if name not in OWN_TAGS},
        chapters=tuple(chapters),
    )


def _track(stream: dict[str, Any]) -> Track:
    bits = int(stream.get("bits_per_raw_sample") or 0) or int(stream.get("bits_per_sample") or 0)
    return Track(
        kind=stream.get("codec_type", "data"),
        codec=stream.get("codec_name", "unknown"),
        language=_tag(stream, "language"),
        title=_tag(stream, "title"),
        sample_rate=int(stream["sample_rate"]) if "sample_rate" in stream else None,
        channels=stream.get("channels"),
        bits=bits or None,
        bits_per_second=int(stream["bit_rate"]) if stream.get("bit_rate", "").isdecimal() else None,
        seconds=_number(stream.get("duration")) or _clock(_tag(stream, "duration")),
        start_seconds=_number(stream.get("start_time")) or 0.0,
        is_picture=bool(stream.get("disposition", {}).get("attached_pic")),
        is_readable=stream.get("codec_type") != "video" or bool(stream.get("width")),
    )


def _tag(part: dict[str, Any], name: str) -> str | None:
    found: str | None = {key.lower(): text for key, text in part.get("tags", {}).items()}.get(name)
    return found


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text is not None else None
    except ValueError:
        return None


def _clock(text: str | None) -> float | None:
    """Return the seconds of a time such as "00:01:02.5", in which Matroska tells how long a track is."""
    try:
        hours, minutes, seconds = (text or "").split(":")
        return 3600 * int(hours) + 60 * int(minutes) + float(seconds)
    except ValueError:
        return None


@cache
def _decoder(codec: str) -> list[str]:
    """Return the option that names a better decoder than ffmpeg's own for a codec, if there is one.

    ffmpeg's own decoder of Opus errs by up to a third of full scale in voices at middle bitrates (docs/decisions.md).
    """
    if codec != "opus":
        return []
    command = [PROGRAM, "-v", "error", "-h", "decoder=libopus"]
    output = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False).stdout
    return ["-c:a", "libopus"] if b"libopus" in output else []


def address(path: Path) -> str:
    """Return what ffmpeg understands as a file, whatever its name."""
    return f"file:{path}"  # or else a name like "a:b.mp4" would be taken for a protocol


PCM_SUBTYPES = {
    "u8": "PCM_U8", "s8": "PCM_S8", "s24": "PCM_24", "s32": "PCM_32", "f32": "FLOAT", "f64": "DOUBLE",
}  # fmt: skip
"""ffmpeg's names of uncompressed samples, without the order of their bytes -> soundfile's; others have 16 bits."""


def _subtype(track: Track | None) -> str:
    """Return soundfile's name of the encoding that keeps what a track holds, or "MEDIA"."""
    if track is None:
        return "MEDIA"
    if track.codec.startswith("pcm_"):
        return PCM_SUBTYPES.get(track.codec[4:].removesuffix("le").removesuffix("be"), "PCM_16")
    return "PCM_24" if (track.bits or 0) > 16 else "MEDIA"


def _in_time(media: Media | None, number: int) -> str:
    """Return the filter that keeps an audio track of a film in time with its picture."""
    if media is None or media.container not in BROADCAST:
        return FILL_GAPS + FROM_ZERO
    late = round(1e6 * max(0.0, media.audio[number].start_seconds - media.start_seconds))
    return f"{FILL_GAPS},adelay=delays={late / 1000:.3f}:all=1" if late else FILL_GAPS


class MediaReader(PipeReader):
    """An audio track of a file, decoded by ffmpeg; a context manager with the face of ``audio.Reader``.

    Parameters
    ----------
    path : Path
        A file.
    extent : Extent or None
        Of an MP3 or Ogg file that libsndfile would read wrong.
    strict : bool
        Whether anything that ffmpeg complains about is damage.
    number : int
        Which of the audio tracks.

    Raises
    ------
    UnknownFormatError
        If ffmpeg does not know it either.
    AudioError
        If it holds no sound, or none that ffmpeg can decode.
    """

    def __init__(self, path: Path, extent: Extent | None = None, strict: bool = False, number: int = 0) -> None:
        self._strict, self._number = strict, number
        self._bytes = 0
        self.sample_rate = 0
        self.media = None if extent else probe(path)
        track = self.media.audio[number] if self.media and self.media.audio else None
        if self.media and not track:
            raise AudioError(f"{path} holds no track of sound")
        codec = extent.subtype.lower() if extent else track.codec if track else ""

        # Float samples of the track, as a WAV into a pipe
        self._input = [*ONE_FILE, *_decoder(codec), "-i", address(path)]
        self._output = ["-map", f"0:a:{number}"]
        if extent:  # parts may differ from the first
            self._output += ["-ar", str(extent.sample_rate), "-ac", str(extent.channels)]
        self._output += ["-f", "wav", "-c:a", "pcm_f32le", "-"]
        timed = extent is None and (self.media is None or self.media.film)
        self._filter = _in_time(self.media, number) if timed else None
        self._jumps = extent is None  # times of appended parts do not lead to them

        self._messages = tempfile.TemporaryFile()  # noqa: SIM115  (closed by close)
        samples = self._start(self._filter)
        try:
            super().__init__(samples, str(path))
        except AudioError as error:
            self._process.kill()
            self._process.wait()
            message = self._last_message()
            self.close()
            if track is None and not extent:
                raise UnknownFormatError(str(error)) from None
            if self.sample_rate:  # set before it was found to be out of range
                raise
            raise AudioError(f"{path} cannot be decoded: ffmpeg says '{message}'") from None
        except BaseException:
            self.close()
            raise

        self.path = path
        self.format, self.subtype, self.frames = "MEDIA", _subtype(track), None
        lossy = track is not None and self.subtype == "MEDIA"
        self.bits_per_second = track.bits_per_second if track and lossy else None
        if self.media:
            self.tags, self.chapters = self.media.tags, list(self.media.chapters)
            self.ogg_flac = self.media.container == "ogg" and track is not None and track.codec == "flac"
        if extent:
            self.bits_per_second = extent.bits_per_second
            self.format, self.subtype, self.frames = extent.format, extent.subtype, extent.frames
            self.ends_early, self.damage = extent.ends_early, extent.damage

    def _start(self, filters: str | None, seconds: float = 0.0) -> BinaryIO:
        """Start ffmpeg, from a time on; return what it writes."""
        position = ["-ss", f"{seconds:.6f}"] if seconds else []
        filtered = ["-af", filters] if filters else []
        command = [PROGRAM, "-nostdin", "-v", "error", *position, *self._input, *filtered, *self._output]
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self._messages
        )
        assert self._process.stdout is not None
        return cast(BinaryIO, self._process.stdout)

    def seek(self, frame: int) -> int:
        """Let ``blocks``, called anew, begin about at a frame, as near as the container leads; return it, or 0."""
        begin = frame if self._jumps else 0
        # What begins late does so only at the start
        filters = self._filter and (self._filter if begin == 0 else self._filter.partition(",")[0])
        self._end_process()
        self._file = self._start(filters, begin / self.sample_rate)
        self.raw, self._bytes, self._done = self._read_header(), begin * self.raw.frame_bytes, begin
        return begin

    @property
    def seconds(self) -> float | None:
        """Length as the file tells it."""
        return self.media.seconds if self.media else super().seconds

    def _read_some(self, size: int) -> bytes:
        data = super()._read_some(size)
        self._bytes += len(data)
        if not data and (self._process.wait() != 0 or (self._strict and os.fstat(self._messages.fileno()).st_size)):
            raise AudioError(f"{self.path} is damaged: ffmpeg says '{self._last_message()}'")
        if not data:
            self._notice_end()
        return data

    def _notice_end(self) -> None:
        """Compare what came with what the file promised."""
        seconds = self._bytes / self.raw.frame_bytes / self.sample_rate
        expected = super().seconds if self.media is None else self.media.promised_seconds(self._number)
        self._messages.seek(0)
        said = self._messages.read().decode("utf-8", "replace")
        short = expected is not None and seconds < (1 - ROUNDED_SHARE) * expected - ROUNDED_SECONDS
        if self.ends_early is None and (short or ffmpeg_messages.says_early(said)):
            self.ends_early = early(seconds, expected if short else None)
        if self.damage is None:
            self.damage = ffmpeg_messages.damage(said)

    def _last_message(self) -> str:
        self._messages.seek(0)
        lines = self._messages.read().decode("utf-8", "replace").strip().splitlines()
        return lines[-1].strip() if lines else f"exit code {self._process.returncode}"

    def close(self) -> None:
        """End ffmpeg; doing it twice is harmless."""
        self._end_process()
        self._messages.close()

    def _end_process(self) -> None:
        self._file.close()
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
