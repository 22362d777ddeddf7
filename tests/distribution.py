"""Build what is published, twice, and check it; list what it needs, and under which licenses.

    python tests/distribution.py build dist     # the wheel and the source archive
    python tests/distribution.py bill dist      # sbom.cdx.json and licenses.md of its dependencies

``build`` takes the last commit, not the working tree. It builds in two folders, with other modes, zones, locales and
seeds of hashing, and the wheel also from the source archive: the bytes must be the same. SOURCE_DATE_EPOCH is the
commit's time. Builders must have the same setuptools to get the same bytes.

``bill`` follows the requirements of percepnet-cli from package to package, as they are installed here. The bill of
materials is in the format CycloneDX 1.6. Neither asks the network.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PROJECT = "percepnet-cli"

SURROUNDINGS = [
    (0o022, {"TZ": "UTC", "LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "1"}),
    (0o077, {"TZ": "Asia/Kathmandu", "LC_ALL": "C", "PYTHONHASHSEED": "2"}),
]
"""Mask of modes and environment of the two builds."""

LIBRARIES = {
    "soundfile": "libsndfile, mpg123, LAME (LGPL-2.1-or-later); FLAC, Ogg, Vorbis, Opus (BSD-3-Clause)",
    "soxr": "libsoxr (LGPL-2.1-or-later)",
    "sounddevice": "PortAudio (MIT), on Windows and macOS",
    "llvmlite": "LLVM (Apache-2.0 WITH LLVM-exception)",
    "numpy": "OpenBLAS (BSD-3-Clause)",
}
"""C libraries that the packages' wheels hold, which their own license does not cover."""


# --- The wheel and the source archive ----------------------------------------------------------


def build(target: Path) -> list[Path]:
    """Build the last commit in two ways into a folder; return the files. Exits if their bytes differ."""
    made = []
    with tempfile.TemporaryDirectory() as name:
        epoch = _git("log", "-1", "--format=%ct").decode().strip()
        archive = _git("archive", "--format=tar", "HEAD")
        for number, (mask, changes) in enumerate(SURROUNDINGS):
            folder = Path(name, f"copy{number}" * (number + 1))
            folder.mkdir()
            subprocess.run(["tar", "-x", "--no-same-permissions", "-C", folder], input=archive, check=True, umask=mask)
            out = Path(name, f"out{number}")
            # The second wheel is made from the source archive
            kinds = [] if number else ["--sdist", "--wheel"]
            command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", out, *kinds, folder]
            environment = os.environ | changes | {"SOURCE_DATE_EPOCH": epoch}
            environment.pop("PYTHONPATH", None)
            done = subprocess.run(command, env=environment, umask=mask, capture_output=True, text=True)
            if done.returncode:
                sys.exit(done.stdout + done.stderr)
            made.append({path.name: path.read_bytes() for path in sorted(out.iterdir())})

    if made[0] != made[1]:
        differing = [name for name in made[0] if made[0][name] != made[1].get(name)]
        sys.exit(f"not the same bytes twice: {', '.join(differing) or sorted(made[1])}")

    target.mkdir(parents=True, exist_ok=True)
    for name, content in made[0].items():
        (target / name).write_bytes(content)
    return [target / name for name in made[0]]


def check(files: list[Path]) -> None:
    """Let the checkers of the packaging world see the files. Exits if one complains."""
    wheels = [path for path in files if path.suffix == ".whl"]
    for command in (["twine", "check", "--strict", *files], ["check_wheel_contents", *wheels]):
        done = subprocess.run([sys.executable, "-m", *command])
        if done.returncode:
            sys.exit(done.returncode)
    (archive,) = [path for path in files if path.name.endswith(".tar.gz")]
    with tarfile.open(archive) as opened:
        odd = [member.name for member in opened if not (member.isfile() or member.isdir())]
    if odd:
        sys.exit(f"{archive} holds links: {odd}")


def _git(*arguments: str) -> bytes:
    return subprocess.run(["git", "-C", ROOT, *arguments], check=True, capture_output=True).stdout


# --- What it needs -----------------------------------------------------------------------------


def needed(project: str = PROJECT) -> dict[str, list[str]]:
    """Return what a package needs at run time, itself first: its installed packages, and of each what it needs."""
    found: dict[str, list[str]] = {}
    waiting = [canonicalize_name(project)]
    while waiting:
        name = waiting.pop(0)
        if name in found:
            continue
        wanted = [Requirement(line) for line in metadata.requires(name) or []]
        here = {"extra": ""}  # extras are not asked for
        found[name] = sorted(
            canonicalize_name(one.name) for one in wanted if one.marker is None or one.marker.evaluate(here)
        )
        waiting += found[name]
    return found


def license_of(name: str) -> str:
    """Return the license that an installed package states, an SPDX expression where it states one."""
    about = metadata.metadata(name)
    stated = about.get("License-Expression") or about.get("License") or ""
    if stated and "\n" not in stated.strip():
        return stated.strip()
    classified = [line.split(" :: ")[-1] for line in about.get_all("Classifier") or [] if line.startswith("License ::")]
    return ", ".join(classified) or "not stated"


def bill(packages: dict[str, list[str]]) -> dict[str, object]:
    """Return the bill of materials of what ``needed`` found, in CycloneDX 1.6; the first package is the subject."""

    def component(name: str, kind: str) -> dict[str, object]:
        reference = f"pkg:pypi/{name}@{metadata.version(name)}"
        expression = metadata.metadata(name).get("License-Expression")
        stated = {"expression": expression} if expression else {"license": {"name": license_of(name)}}
        return {
            "type": kind,
            "bom-ref": reference,
            "name": name,
            "version": metadata.version(name),
            "purl": reference,
            "licenses": [stated],
        } | ({"description": f"Its wheels hold {LIBRARIES[name]}."} if name in LIBRARIES else {})

    subject, *others = packages
    references = {name: f"pkg:pypi/{name}@{metadata.version(name)}" for name in packages}
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": component(subject, "application")},
        "components": [component(name, "library") for name in sorted(others)],
        "dependencies": [
            {"ref": references[name], "dependsOn": [references[one] for one in wanted]}
            for name, wanted in sorted(packages.items())
        ],
    }


def licenses(packages: dict[str, list[str]]) -> str:
    """Return the licenses of packages as a table in Markdown."""
    lines = ["| package | version | license | its wheels also hold |", "| :-- | :-- | :-- | :-- |"]
    lines += [
        f"| {name} | {metadata.version(name)} | {license_of(name)} | {LIBRARIES.get(name, '')} |"
        for name in sorted(packages)
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["build", "bill"])
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    if options.what == "build":
        check(build(options.folder))
        return
    packages = needed()
    options.folder.mkdir(parents=True, exist_ok=True)
    (options.folder / "sbom.cdx.json").write_text(json.dumps(bill(packages), indent=1) + "\n", "utf-8")
    (options.folder / "licenses.md").write_text(licenses(packages), "utf-8")
    print(licenses(packages), end="")


if __name__ == "__main__":
    main()
