"""The recordings of the samples page, before and after, and their players."""

from __future__ import annotations

import html
import subprocess
import sys
import tempfile
from pathlib import Path

import soundfile

MARK = "<!-- players -->"
RECORDINGS = {
    "street.flac": "Street, 4 dB",
    "waves.opus": "Waves at a shore, 5 dB",
    "fan.opus": "Fan and mains hum, made by a computer, 3 dB",
    "crickets.opus": "Crickets, 0 dB",
}
"""Files in examples/, whose README says where they come from, and what is heard."""


def files(root: Path) -> dict[str, bytes]:
    """Return the sound files of the page: FLAC, which loses nothing and every browser plays."""
    made = {}
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        for name in RECORDINGS:
            before = work / Path(name).with_suffix(".flac")
            sound, rate = soundfile.read(root / "examples" / name, dtype="float32")
            soundfile.write(before, sound, rate, subtype="PCM_16")
        command = [sys.executable, "-m", "percepnet_cli", "denoise", "--quiet", str(work), str(work / "clean")]
        subprocess.run(command, cwd=root, check=True)
        for name in RECORDINGS:
            sound_name = Path(name).with_suffix(".flac").name
            made[f"samples/before-{sound_name}"] = (work / sound_name).read_bytes()
            made[f"samples/after-{sound_name}"] = (work / "clean" / sound_name).read_bytes()
    return made


def players() -> str:
    """Return the table of players."""
    rows = []
    for name, heard in RECORDINGS.items():
        stem = Path(name).stem
        cells = "".join(
            f'<td>{which}<br><audio controls preload="metadata" style="width: 20em" '
            f'src="samples/{which}-{stem}.flac"></audio></td>'
            for which in ("before", "after")
        )
        rows.append(f'<tr><th colspan="2">{html.escape(heard)}</th></tr><tr>{cells}</tr>')
    return f"<table>{''.join(rows)}</table>"
