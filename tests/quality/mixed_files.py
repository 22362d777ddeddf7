"""Denoise many kinds of files in one batch and compare the lengths of the results with what ffmpeg decodes.

    mixed_files.py [--folder DIR] [--files 300] [--jobs 1]

Makes files of every container and codec below that this ffmpeg can write, mono to 7.1 and 8 to 192 kHz, and denoises
the folder. Prints a table of all kinds, the files that differ by more than a codec's frame, and those that failed. The
exit code is 1 if sound was lost in silence: a length that is less than ffmpeg's and no error.
"""

from __future__ import annotations

import argparse
import itertools
import random
import subprocess
import sys
import tempfile
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from percepnet_cli import denoise_files

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


@dataclass
class Kind:
    """What became of the files of one container and codec."""

    files: int = 0
    failed: int = 0
    differences: list[float] = field(default_factory=list)
    """Frames by which results are longer than ffmpeg's decoding of their inputs."""


def main() -> None:
    """Make, denoise, compare and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--files", type=int, default=300)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--model", default="lite")
    args = parser.parse_args()

    kinds: dict[str, Kind] = defaultdict(Kind)
    lost = 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary) / "in"
        folder.mkdir(exist_ok=True)
        paths = make(folder, args.files)
        for outcome in denoise_files([folder], Path(temporary) / "out", model=args.model, jobs=args.jobs):
            source = Path(outcome.item.source)
            codec, rate, _ = source.stem.rsplit("-", 2)
            kind = kinds[f"{source.suffix[1:]} {codec}"]
            kind.files += 1
            if outcome.report is None:
                kind.failed += 1
                print(f"failed: {outcome.error}")
                continue

            # Both lengths, that of the work and that of the file that came of it, beside ffmpeg's
            expected = decoded_seconds(source)
            lengths = (outcome.report.seconds, decoded_seconds(Path(outcome.item.target)))
            differences = [(length - expected) * int(rate) for length in lengths]
            kind.differences += differences
            if max(map(abs, differences)) > FRAME:
                print(f"{source.name}: {lengths[0]:.4f} s, written {lengths[1]:.4f} s, ffmpeg {expected:.4f} s")
                lost += min(differences) < -FRAME

    print("\n| container, codec | files | failed | frames too many or too few |\n| :-- | --: | --: | --: |")
    for name, kind in sorted(kinds.items()):
        span = f"{min(kind.differences):+.0f} to {max(kind.differences):+.0f}" if kind.differences else ""
        print(f"| {name} | {kind.files} | {kind.failed} | {span} |")
    failed = sum(kind.failed for kind in kinds.values())
    print(f"\n{len(paths)} files, {failed} failed with a sentence, {lost} lost sound in silence")
    sys.exit(lost > 0)


if __name__ == "__main__":
    main()
