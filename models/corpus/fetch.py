"""Fetch what sources.tsv names: Debian packages, and files of public git repositories; nothing is installed.

    python models/corpus/fetch.py OUT [--repositories DIR] [SOURCE ...]

A Debian package becomes the folder OUT/debian/PACKAGE with its sound files and its license text. Game archives
(.pk3, .zip) are unpacked beside themselves and telephone prompts (.g722) decoded to FLAC, which takes ffmpeg.

A repository becomes OUT/repositories/OWNER/NAME with the files that its patterns match. It is read from a bare
clone below DIR (DIR/OWNER/NAME.git, DIR/OWNER/NAME or DIR/OWNER+NAME), at the commit of sources.tsv. Files that
libsndfile reads slowly or not at all (.mp3, .caf) are decoded to FLAC under their name and one more suffix.

A source whose folder is there is left alone.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import soundfile as sf

SOURCES = Path(__file__).with_name("sources.tsv")
AUDIO = {".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".caf"}
ARCHIVES = {".pk3", ".zip"}
DECODED = {".mp3", ".caf"}
"""What is kept as FLAC: an MP3 takes ten times as long to read, and libsndfile knows no CAF of phones."""


class SourceError(Exception):
    """A source is not to be had."""


def read_sources() -> list[dict[str, str]]:
    """Return the rows of sources.tsv."""
    with SOURCES.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def is_repository(source: str) -> bool:
    """Return whether a source is OWNER/NAME, not a package."""
    return "/" in source


def folder_of(out: Path, source: str) -> Path:
    """Return where a source lies below OUT."""
    return out / ("repositories" if is_repository(source) else "debian") / source


def matching(row: dict[str, str], names: Iterable[str]) -> Iterator[tuple[str, re.Match[str]]]:
    """Yield the sound files among ``names`` that a row takes, and how its pattern matched them.

    Of a row with ``most``, the files whose hashes come first: the same ones everywhere.
    """
    include = re.compile(row["include"], re.IGNORECASE)
    exclude = re.compile(row["exclude"] or r"(?!)", re.IGNORECASE)
    found = []
    for name in names:
        match = include.fullmatch(name)
        if match and os.path.splitext(name)[1].lower() in AUDIO and not exclude.search(name):
            found.append((name, match))
    if row["most"] and len(found) > int(row["most"]):
        found = sorted(found, key=lambda one: hashlib.sha256(one[0].encode()).hexdigest())[: int(row["most"])]
    yield from sorted(found, key=lambda one: one[0])


# Debian packages.


def fetch_package(package: str, version: str, out: Path) -> None:
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
    """Open the archives of a package, decode what libsndfile cannot read, drop all but sound and licenses."""
    for archive in [p for p in folder.rglob("*") if p.suffix.lower() in ARCHIVES and p.is_file()]:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as file:
                wanted = [n for n in file.namelist() if os.path.splitext(n)[1].lower() in AUDIO]
                file.extractall(archive.with_suffix(archive.suffix + ".d"), wanted)
    for prompt in folder.rglob("*.g722"):
        decode(prompt, prompt.with_suffix(".flac"), "-f", "g722")
    for path in folder.rglob("*"):
        wanted = path.suffix.lower() in AUDIO or path.name == "copyright"
        if (path.is_file() and not wanted) or (path.is_symlink() and not path.exists()):
            path.unlink()
    for path in sorted((p for p in folder.rglob("*") if p.is_dir() and not p.is_symlink()), reverse=True):
        if not any(path.iterdir()):
            path.rmdir()


def decode(source: Path, target: Path, *options: str) -> None:
    """Decode a file to FLAC with ffmpeg. Raises CalledProcessError if it cannot."""
    command = ["ffmpeg", "-nostdin", "-loglevel", "error", "-y", *options, "-i", source, target]
    subprocess.run(command, check=True)


# Repositories.


def find_repository(folder: Path, source: str) -> Path:
    """Return the git folder of OWNER/NAME below ``folder``. Raises SourceError if there is none."""
    owner, _, name = source.partition("/")
    for place in (f"{owner}/{name}.git", f"{owner}/{name}", f"{owner}+{name}"):
        for inner in ("", ".git", "repo", "repo/.git"):
            if (folder / place / inner / "HEAD").is_file():
                return folder / place / inner
    raise SourceError(f"no clone of {source} below {folder}: git clone --bare https://github.com/{source}")


def list_blobs(git: Path, commit: str) -> dict[str, str]:
    """Return the object names of the files of a commit, by path. Raises SourceError if the clone lacks it."""
    command = ["git", f"--git-dir={git}", "ls-tree", "-rz", commit]
    listed = subprocess.run(command, capture_output=True, check=False)
    if listed.returncode:
        raise SourceError(f"{git} holds no commit {commit}")
    blobs = {}
    for entry in listed.stdout.decode().split("\0"):
        about, _, path = entry.partition("\t")
        if path and about.split()[1] == "blob":
            blobs[path] = about.split()[2]
    return blobs


def fetch_repository(rows: list[dict[str, str]], repositories: Path, out: Path) -> str:
    """Take the files of one repository. Returns what was not to be had, or an empty string."""
    source, commit = rows[0]["package"], rows[0]["version"]
    git = find_repository(repositories, source)
    blobs = list_blobs(git, commit)
    target = folder_of(out, source)
    target.parent.mkdir(parents=True, exist_ok=True)
    missing = undecodable = 0

    with tempfile.TemporaryDirectory(dir=target.parent) as name:
        unpacked = Path(name) / "files"
        unpacked.mkdir()
        wanted: dict[str, str] = {}
        for row in rows:
            for path, _ in matching(row, blobs):
                if blobs[path] not in wanted.values():  # some repositories keep copies of one file
                    wanted[path] = blobs[path]
        for path, content in read_blobs(git, wanted):
            if content is None:
                missing += 1
                continue
            place = unpacked / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)
            if place.suffix.lower() in DECODED:
                undecodable += not to_flac(place)
        unpacked.replace(target)

    left = [f"{missing} not in the clone"] * bool(missing) + [f"{undecodable} undecodable"] * bool(undecodable)
    return ", ".join(left)


def read_blobs(git: Path, wanted: dict[str, str]) -> Iterator[tuple[str, bytes | None]]:
    """Yield the content of each path, None for an object that the clone lacks."""
    command = ["git", f"--git-dir={git}", "cat-file", "--batch"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin and process.stdout
        for path, blob in wanted.items():
            process.stdin.write(f"{blob}\n".encode())
            process.stdin.flush()
            answer = process.stdout.readline().split()
            if answer[1:2] == [b"blob"]:
                yield path, process.stdout.read(int(answer[2]))
                process.stdout.read(1)
            else:
                yield path, None
        process.stdin.close()


def to_flac(source: Path) -> bool:
    """Replace a file by FLAC of its first two channels' rate and length; False if nothing can decode it."""
    target = source.with_name(source.name + ".flac")
    try:
        samples, rate = sf.read(source, dtype="float32", always_2d=True)
        mono = samples.mean(axis=1)
        mono /= max(1.0, float(abs(mono).max(initial=0)))  # an MP3 may exceed full scale
        sf.write(target, mono, rate, subtype="PCM_16")
    except sf.LibsndfileError:
        try:
            decode(source, target, "-f", source.suffix[1:].lower())
        except subprocess.CalledProcessError:
            target.unlink(missing_ok=True)
    source.unlink()
    return target.exists()


def main() -> None:
    """Fetch what is missing."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("sources", nargs="*", metavar="SOURCE", help="only these packages or OWNER/NAME")
    parser.add_argument("--repositories", type=Path, metavar="DIR", help="folder of bare clones")
    arguments = parser.parse_intermixed_args()
    rows: dict[str, list[dict[str, str]]] = {}
    for row in read_sources():
        rows.setdefault(row["package"], []).append(row)
    wanted = arguments.sources or [s for s in rows if arguments.repositories or not is_repository(s)]
    if unknown := set(wanted) - set(rows):
        parser.error(f"not in {SOURCES.name}: {', '.join(sorted(unknown))}")
    if any(map(is_repository, wanted)) and not arguments.repositories:
        parser.error("repositories need --repositories DIR")

    for program in ("apt-get", "dpkg", "ffmpeg", "git"):
        if shutil.which(program) is None:
            parser.error(f"{program} is needed")

    (arguments.out / "debian").mkdir(parents=True, exist_ok=True)

    failed = []
    for source in wanted:
        if folder_of(arguments.out, source).exists():
            continue
        try:
            if is_repository(source):
                left = fetch_repository(rows[source], arguments.repositories, arguments.out)
                print(source + (f": {left}" if left else ""), flush=True)
            else:
                fetch_package(source, rows[source][0]["version"], arguments.out / "debian")
                print(source, flush=True)
        except (SourceError, subprocess.CalledProcessError) as error:
            failed.append(source)
            print(f"{source}: {error}", file=sys.stderr)

    if failed:
        sys.exit(f"not fetched: {', '.join(failed)}")


if __name__ == "__main__":
    main()
