"""Denoise files as people have them and say what became of their length and of what stands beside the sound.

    cases.py FOLDER [FOLDER ...]
    cases.py --make FOLDER        # 22 files of the kinds of issue 19, of the example, with ffmpeg

The table has a line a file: its length as ffmpeg decodes it (a WAV's whose header is wrong is told by its bytes), as
``percepnet info`` tells it, and of the result; what stands beside the samples, and what of it is not in the result. The
exit code is 1 if a length differs by more than a codec's frame, or something is lost that the report does not name.
"""

from __future__ import annotations

import argparse
import re
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import soundfile

from percepnet_cli import denoise_file
from percepnet_cli.audio import chunks, tags
from percepnet_cli.audio.files import open_reader
from percepnet_cli.audio.suffixes import CONTAINERS, FFMPEG_CONTAINERS

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "street.flac"
FRAME = 2048
"""Samples of the largest frame of the codecs."""
PICTURE = ("-f", "lavfi", "-i", "testsrc=duration=5:size=64x48:rate=10")
META = ("-metadata", "title=Grüße 你好", "-metadata", "artist=Ł. Ó", "-metadata", "REPLAYGAIN_TRACK_GAIN=-3.2 dB")


def ffmpeg(*arguments: object) -> None:
    """Run ffmpeg; raises CalledProcessError."""
    subprocess.run(["ffmpeg", "-v", "error", "-y", *map(str, arguments)], check=True, stdin=subprocess.DEVNULL)


def make(folder: Path) -> None:
    """Write the cases."""
    folder.mkdir(parents=True, exist_ok=True)
    sound = soundfile.read(EXAMPLE, dtype="float32")[0]
    with tempfile.TemporaryDirectory() as temporary:
        parts = []
        for number, seconds in enumerate((1.5, 2.0, 2.5)):
            parts.append(Path(temporary) / f"{number}.wav")
            start = 60000 * number
            soundfile.write(parts[-1], sound[start : start + int(seconds * 48000)], 48000)
        _make_lossy(folder, parts, Path(temporary))
    _make_films(folder)
    _make_waves(folder, sound)


def _make_lossy(folder: Path, parts: list[Path], temporary: Path) -> None:
    one = ("-i", EXAMPLE)
    ffmpeg(*one, "-ac", 2, "-c:a", "libmp3lame", "-q:a", 4, "-write_xing", 0, folder / "vbr-stereo.mp3")
    ffmpeg(*one, "-ar", 22050, "-c:a", "libmp3lame", "-q:a", 6, "-write_xing", 0, folder / "vbr-22050.mp3")

    def joined(name: str, *options: object) -> None:
        pieces = []
        for number, part in enumerate(parts):
            pieces.append(temporary / f"{number}{Path(name).suffix}")
            ffmpeg("-i", part, *options, pieces[-1])
        (folder / name).write_bytes(b"".join(piece.read_bytes() for piece in pieces))

    joined("three.mp3", "-c:a", "libmp3lame", "-b:a", "96k")
    joined("three-vbr.mp3", "-c:a", "libmp3lame", "-q:a", 5)
    joined("chained-stereo.ogg", "-ac", 2, "-c:a", "libvorbis")
    joined("chained.opus", "-c:a", "libopus")
    joined("chained-16000.ogg", "-ar", 16000, "-c:a", "libvorbis")
    ffmpeg(*one, *META, "-c:a", "libvorbis", folder / "tags.ogg")
    ffmpeg(*one, *META, "-c:a", "libopus", folder / "tags.opus")
    ffmpeg(*one, *META, "-c:a", "libmp3lame", folder / "tags.mp3")
    ffmpeg(*one, *META, "-c:a", "flac", folder / "tags.flac")


def _make_films(folder: Path) -> None:
    for name, codec in (("late.mp4", "aac"), ("late.webm", "libopus"), ("late.mkv", "flac")):
        ffmpeg(
            *PICTURE,
            "-itsoffset",
            0.5,
            "-t",
            4,
            "-i",
            EXAMPLE,
            "-map",
            "0:v",
            "-map",
            "1:a",
            "-c:a",
            codec,
            folder / name,
        )


def _make_waves(folder: Path, sound: np.ndarray) -> None:
    def put(
        name: str, samples: np.ndarray, rate: int, subtype: str, container: str, *added: tuple[bytes, bytes]
    ) -> Path:
        path = folder / name
        soundfile.write(path, samples, rate, subtype=subtype, format=container)
        content = path.read_bytes() + b"".join(k + struct.pack("<I", len(c)) + c + bytes(len(c) % 2) for k, c in added)
        if container != "RF64":
            content = content[:4] + struct.pack("<I", len(content) - 8) + content[8:]
        path.write_bytes(content)
        return path

    stereo, one = np.stack([sound, sound[::-1]], axis=1), 48000
    bext = b"a scene".ljust(338, b"\0") + struct.pack("<Q", 10**10) + bytes(256) + b"A=PCM,F=48000\r\n"
    cue = struct.pack("<I", 1) + struct.pack("<II4sIII", 1, 4800, b"data", 0, 0, 4800)
    label = b"adtllabl" + struct.pack("<II", 8, 1) + b"one\0"
    beside = ((b"bext", bext), (b"iXML", b"<BWFXML><SCENE>1</SCENE></BWFXML>"), (b"cue ", cue), (b"LIST", label))
    put("bwf-stereo24.wav", stereo[:one], 48000, "PCM_24", "WAV", *beside)
    put("smpl.wav", sound[:one], 44100, "PCM_16", "WAV", (b"smpl", bytes(36)), (b"axml", b"<ebuCoreMain/>"))
    put("wide.rf64", stereo[:one], 48000, "PCM_24", "RF64")
    put("mask71.wav", np.tile(sound[:one, None], 8), 48000, "PCM_16", "WAVEX")
    put("u8-16000.wav", stereo[: 3 * one : 3], 16000, "PCM_U8", "WAV")
    put("quiet.wav", (10 ** (-75 / 20) * stereo[: 4 * one]).astype(np.float32), 48000, "FLOAT", "WAV")

    # A recorder that died: the sizes in the header are nothing, or those of an earlier moment
    for name, size in (("died.wav", 0), ("stale.wav", 20000)):
        path = put(name, sound[: 2 * one], 48000, "PCM_16", "WAV")
        content = bytearray(path.read_bytes())
        at = content.index(b"data")
        content[at + 4 : at + 8] = struct.pack("<I", size)
        path.write_bytes(content)


def seconds_by_ffmpeg(path: Path) -> float:
    """Return the length of what ffmpeg decodes."""
    command = ["ffmpeg", "-v", "quiet", "-i", f"file:{path}", "-map", "0:a:0", "-ac", "1", "-ar", "48000"]
    done = subprocess.run([*command, "-f", "s16le", "-"], stdin=subprocess.DEVNULL, capture_output=True, check=False)
    return len(done.stdout) / 2 / 48000


def true_seconds(path: Path) -> float:
    """Return how long a file is, by another way than the program's."""
    content = path.read_bytes() if path.suffix in (".wav", ".amb", ".rf64") else b""
    at = content.find(b"data")
    size = int.from_bytes(content[at + 4 : at + 8], "little") if at >= 0 else -1
    if 0 <= size < len(content) - at - 8 - 65536 or (size in (0, 2**32 - 1) and at >= 0):
        form = content.index(b"fmt ")
        return (len(content) - at - 8) / int.from_bytes(content[form + 16 : form + 20], "little")

    # where Ogg streams meet, ffmpeg decodes a block that is of neither
    if path.suffix in (".ogg", ".opus"):
        streams = re.split(rb"(?=OggS\0\x02)", path.read_bytes())[1:]
        with tempfile.TemporaryDirectory() as folder:
            parts = [Path(folder) / f"{number}{path.suffix}" for number in range(len(streams))]
            for part, stream in zip(parts, streams, strict=True):
                part.write_bytes(stream)
            return sum(map(seconds_by_ffmpeg, parts))

    # ffmpeg keeps the time at which the sound of a film begins, which its decoding alone does not tell
    probe = ["ffprobe", "-v", "quiet", "-select_streams", "a:0", "-show_entries", "stream=start_time", "-of", "csv=p=0"]
    late = subprocess.run([*probe, str(path)], capture_output=True, text=True, check=False).stdout.strip(",\n ")
    film = path.suffix in (".mkv", ".mp4", ".webm", ".mov")
    begins = float(late) if film and re.fullmatch(r"[\d.]+", late) else 0.0
    return seconds_by_ffmpeg(path) + begins


def beside(path: Path) -> set[str]:
    """Return what a file holds beside its samples."""
    with open_reader(path) as reader:
        kept = chunks.read(path, reader.subtype)
    found = tags.read(path)
    names = set(kept.kinds) if kept else {name for name in found.text if name not in tags.OWN_COMMENTS}
    names |= {"picture"} if found.pictures else set()
    names |= {f"{len(found.chapters)} chapters"} if found.chapters else set()
    if kept and len(kept.format) >= 40:
        names |= {f"mask {kept.format[20:24].hex()}", f"GUID {kept.format[26:40].hex()[:8]}"}
    return names


def main() -> None:
    """Denoise and compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--make", action="store_true")
    parser.add_argument("--model", default="lite")
    args = parser.parse_args()
    if args.make:
        make(args.folders[0])

    bad = 0
    print("| file | true s | info s | result s | beside the sound | not in the result | named |")
    print("| :-- | --: | --: | --: | :-- | :-- | :-- |")
    with tempfile.TemporaryDirectory() as out:
        for number, path in enumerate(sorted(p for folder in args.folders for p in folder.iterdir())):
            if path.suffix.lower() not in {*CONTAINERS, *FFMPEG_CONTAINERS}:
                continue
            target = Path(out) / f"{number}-{path.name}"
            report = denoise_file(path, target, model=args.model)
            expected, before, after = true_seconds(path), beside(path), beside(target)
            with open_reader(path) as reader:
                stated, rate = reader.seconds, reader.sample_rate
            lost = before - after
            wrong = abs(report.seconds - expected) * rate > FRAME or bool(lost - set(report.left_out))
            bad += wrong
            row = (path.name, f"{expected:.3f}", f"{stated or 0:.3f}", f"{report.seconds:.3f}")
            print(
                "|",
                " | ".join((*row, *(", ".join(sorted(s)) for s in (before, lost, set(report.left_out))))),
                "|" + " WRONG" * wrong,
            )
    print(f"\n{bad} files are not as they should be")
    sys.exit(bad > 0)


if __name__ == "__main__":
    main()
