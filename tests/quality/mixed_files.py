"""Read many kinds of files and compare their lengths with what ffmpeg decodes.

    mixed_files.py [--folder DIR] [--files 300] [FILE ...]

Without FILE it makes files of every container and codec below that this ffmpeg can write, mono to 7.1 and 8 to 192 kHz,
and reads each. Prints those that differ by more than a codec's frame, or cannot be read, and how many there were; a
table of all with --all. The exit code is 1 if a file lost sound in silence.
"""

from __future__ import annotations

import argparse
import itertools
import random
import subprocess
import sys
import tempfile
from pathlib import Path

from percepnet_cli.audio.files import open_reader
from percepnet_cli.errors import AudioError

FRAME = 2048
"""Samples of the largest frame of the codecs."""
SECONDS = 2.5

KINDS = [
    *itertools.product(("wav", "w64", "caf", "mka", "mov"), ("pcm_s16le", "pcm_s24le")),
    ("wav", "pcm_u8"), ("wav", "pcm_f32le"), ("wav", "pcm_mulaw"), ("wav", "adpcm_ms"), ("au", "pcm_s16be"),
    ("aiff", "pcm_s16be"), ("caf", "alac"), ("m4a", "alac"), ("flac", "flac"), ("oga", "flac"), ("mka", "flac"),
    ("ogg", "libvorbis"), ("mkv", "libvorbis"), ("webm", "libvorbis"), ("opus", "libopus"), ("webm", "libopus"),
    ("mp3", "libmp3lame"), ("mp2", "mp2"), ("m4a", "aac"), ("aac", "aac"), ("mp4", "aac"), ("ts", "aac"),
    ("mkv", "aac"), ("ac3", "ac3"), ("eac3", "eac3"), ("wma", "wmav2"), ("wv", "wavpack"), ("tta", "tta"),
    ("avi", "libmp3lame"), ("3gp", "aac"), ("ogg", "libspeex"), ("wav", "adpcm_ima_wav"), ("dts", "dca"),
]  # fmt: skip
"""Extension, and ffmpeg's encoder."""
RATES = (8000, 16000, 22050, 44100, 48000, 96000, 192000)
CHANNELS = (1, 2, 6, 8)


def make(folder: Path, limit: int) -> list[Path]:
    """Write what ffmpeg can write of all combinations, those of other kinds first."""
    made: list[Path] = []
    combinations = list(itertools.product(CHANNELS, RATES, KINDS))
    random.Random(0).shuffle(combinations)
    for channels, rate, (suffix, codec) in combinations:
        path = folder / f"{codec}-{rate}-{channels}.{suffix}"
        sound = "anoisesrc=amplitude=0.1:color=pink:sample_rate=192000:seed=1"
        command = ["ffmpeg", "-v", "quiet", "-y", "-f", "lavfi", "-i", sound, "-t", str(SECONDS), "-ar", str(rate)]
        command += ["-ac", str(channels), "-c:a", codec, "-strict", "-2", str(path)]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, check=False)
        if done.returncode == 0 and path.stat().st_size > 1000:
            made.append(path)
        else:
            path.unlink(missing_ok=True)
        if len(made) >= limit:
            break
    return made


def decoded_seconds(path: Path) -> float:
    """Return the length that ffmpeg decodes."""
    command = ["ffmpeg", "-v", "quiet", "-i", f"file:{path}", "-map", "0:a:0", "-ac", "1", "-ar", "48000"]
    done = subprocess.run([*command, "-f", "s16le", "-"], stdin=subprocess.DEVNULL, capture_output=True, check=False)
    return len(done.stdout) / 2 / 48000


def main() -> None:
    """Make, read, compare and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("paths", nargs="*", type=Path, metavar="FILE")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--files", type=int, default=300)
    parser.add_argument("--all", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary)
        folder.mkdir(exist_ok=True)
        paths, lost, refused = args.paths or make(folder, args.files), 0, 0
        for path in paths:
            expected = decoded_seconds(path)
            try:
                with open_reader(path) as reader:
                    rate, stated = reader.sample_rate, reader.seconds
                    seconds = sum(len(block) for block in reader.blocks(48000)) / rate
            except AudioError as error:
                print(f"refused: {error}")
                refused += 1
                continue
            differs = abs(seconds - expected) * rate > FRAME
            lost += differs and seconds < expected
            if differs or args.all:
                length = "unknown" if stated is None else f"{stated:.3f} s"
                print(f"{path.name}: {seconds:.3f} s, stated {length}, ffmpeg {expected:.3f} s")
    print(f"{len(paths)} files, {refused} refused with a sentence, {lost} shorter than ffmpeg's decoding")
    sys.exit(lost > 0)


if __name__ == "__main__":
    main()
