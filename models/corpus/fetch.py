"""Download the Debian packages of sources.tsv and unpack their recordings; nothing is installed.

    python models/corpus/fetch.py OUT [PACKAGE ...]

Each package becomes the folder OUT/debian/PACKAGE with its sound files and its licence text. Game archives
(.pk3, .zip) are unpacked beside themselves and telephone prompts (.g722) decoded to FLAC, which takes ffmpeg.
A package whose folder is there is left alone.
"""

from __future__ import annotations

import argparse
import csv
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

SOURCES = Path(__file__).with_name("sources.tsv")
AUDIO = {".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff"}
ARCHIVES = {".pk3", ".zip"}


def packages() -> dict[str, str]:
    """Return the versions of the packages that sources.tsv names."""
    with SOURCES.open(encoding="utf-8", newline="") as file:
        return {row["package"]: row["version"] for row in csv.DictReader(file, delimiter="\t")}


def fetch(package: str, version: str, out: Path) -> None:
    """Download a package, unpack it into out / package. Raises CalledProcessError if it is not to be had."""
    with tempfile.TemporaryDirectory(dir=out) as name:
        work = Path(name)
        work.chmod(0o755)
        download = ["apt-get", "download", "-qq"]
        try:
            subprocess.run([*download, f"{package}={version}"], cwd=work, check=True)
        except subprocess.CalledProcessError:
            print(f"{package}: version {version} is not to be had, taking the present one", file=sys.stderr)
            subprocess.run([*download, package], cwd=work, check=True)
        (archive,) = work.glob("*.deb")
        unpacked = work / package
        subprocess.run(["dpkg", "-x", archive, unpacked], check=True)
        keep_recordings(unpacked)
        unpacked.replace(out / package)


def keep_recordings(folder: Path) -> None:
    """Open the archives of a package, decode what libsndfile cannot read, drop all but sound and licences."""
    for archive in [p for p in folder.rglob("*") if p.suffix.lower() in ARCHIVES and p.is_file()]:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as file:
                wanted = [n for n in file.namelist() if os.path.splitext(n)[1].lower() in AUDIO]
                file.extractall(archive.with_suffix(archive.suffix + ".d"), wanted)
    for prompt in folder.rglob("*.g722"):
        decoded = prompt.with_suffix(".flac")
        command = ["ffmpeg", "-nostdin", "-loglevel", "error", "-y", "-f", "g722", "-i", prompt, decoded]
        subprocess.run(command, check=True)
    for path in folder.rglob("*"):
        wanted = path.suffix.lower() in AUDIO or path.name == "copyright"
        if (path.is_file() and not wanted) or (path.is_symlink() and not path.exists()):
            path.unlink()
    for path in sorted((p for p in folder.rglob("*") if p.is_dir() and not p.is_symlink()), reverse=True):
        if not any(path.iterdir()):
            path.rmdir()


def main() -> None:
    """Fetch what is missing."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("packages", nargs="*", metavar="PACKAGE", help="only these")
    arguments = parser.parse_args()
    versions = packages()
    wanted = arguments.packages or list(versions)
    if unknown := set(wanted) - set(versions):
        parser.error(f"not in {SOURCES.name}: {', '.join(sorted(unknown))}")
    for program in ("apt-get", "dpkg", "ffmpeg"):
        if shutil.which(program) is None:
            parser.error(f"{program} is needed")
    out: Path = arguments.out / "debian"
    out.mkdir(parents=True, exist_ok=True)
    failed = []
    for package in wanted:
        if (out / package).exists():
            continue
        try:
            fetch(package, versions[package], out)
            print(package, flush=True)
        except subprocess.CalledProcessError as error:
            failed.append(package)
            print(f"{package}: {error}", file=sys.stderr)
    if failed:
        sys.exit(f"not fetched: {', '.join(failed)}")


if __name__ == "__main__":
    main()
