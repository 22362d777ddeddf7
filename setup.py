"""What pyproject.toml cannot say: which files are built, their bytes, and the README as a package index shows it.

Packages are all below percepnet_cli, and models and examples, which lie in folders of their own. A package index knows
the files of the project only by addresses. Where pyproject.toml names a Source, the README's links lead there;
without one they become their text, and pictures are left out.

The same sources give the same bytes, whoever builds them and when, if SOURCE_DATE_EPOCH names the time: `make dist`.
"""

import gzip
import os
import re
import tarfile
import time
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist

ROOT = Path(__file__).resolve().parent
OUTSIDE = ["percepnet_cli.models", "percepnet_cli.examples"]
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\n)*)\]\((?!https?:|#|mailto:)([^)\s]+)\)")
SOURCE = re.compile(r"^\[project\.urls\]$[^\[]*?^Source = \"([^\"]+?)/?\"$", re.MULTILINE)


def description(readme: str, project: str) -> str:
    """Return the README without links that lead into the folder it is in. project: the text of pyproject.toml."""
    source = SOURCE.search(project)

    def replace(match: "re.Match[str]") -> str:
        picture, text, target = match.groups()
        if source is None:
            return "" if picture else text
        # What is shown or played is asked for as it is; a page, as its site shows it.
        kind = "raw" if picture or target.endswith((".flac", ".opus")) else "blob"
        return f"{picture}[{text}]({source[1]}/{kind}/main/{target})"

    return LINK.sub(replace, readme)


class Packages(build_py):
    """Copies the packages, and of the examples only what is no program."""

    def find_package_modules(self, package, package_dir):
        """Return the modules of a package."""
        return [] if package == "percepnet_cli.examples" else super().find_package_modules(package, package_dir)


class Wheel(bdist_wheel):
    """Writes the wheel with the same modes from each checkout."""

    def write_wheelfile(self, wheelfile_base, *generator):
        """Write the last file before all are packed."""
        super().write_wheelfile(wheelfile_base, *generator)
        for path in Path(wheelfile_base).parent.rglob("*"):
            path.chmod(0o755 if path.is_dir() else 0o644)


class SourceArchive(sdist):
    """Writes the source archive without the names and clocks of the machine that builds it."""

    def make_archive(self, base_name, format, root_dir=None, base_dir=None, owner=None, group=None):
        """Write ``base_name``.tar.gz from a folder; return its name. Other formats are not written."""
        if format != "gztar":
            raise ValueError(f"the source archive is a .tar.gz, not {format}")
        moment = int(os.environ.get("SOURCE_DATE_EPOCH", time.time()))

        def anonymous(member):
            member.uid = member.gid = 0
            member.uname = member.gname = ""
            member.mtime = moment
            member.mode = 0o755 if member.isdir() else 0o644
            return member

        name = f"{base_name}.tar.gz"
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        with (
            open(name, "wb") as file,
            gzip.GzipFile("", "wb", fileobj=file, mtime=moment) as packed,
            tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
        ):
            archive.add(base_dir, filter=anonymous)  # sorted by name
        return name


if __name__ == "__main__":
    setup(
        cmdclass={"bdist_wheel": Wheel, "build_py": Packages, "sdist": SourceArchive},
        packages=[*find_packages(include=["percepnet_cli", "percepnet_cli.*"]), *OUTSIDE],
        long_description=description(
            (ROOT / "README.md").read_text("utf-8"), (ROOT / "pyproject.toml").read_text("utf-8")
        ),
        long_description_content_type="text/markdown",
    )
