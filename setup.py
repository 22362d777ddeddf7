"""What pyproject.toml cannot say: which packages are built, and the README as a package index shows it.

Packages are all below percepnet_cli, and models and examples, which lie in folders of their own. A package index knows
the files of the project only by addresses. Where pyproject.toml names a Source, the README's links lead there;
without one they become their text, and pictures are left out.
"""

import re
from pathlib import Path

from setuptools import find_packages, setup

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


if __name__ == "__main__":
    texts = ((ROOT / name).read_text("utf-8") for name in ("README.md", "pyproject.toml"))
    setup(
        packages=[*find_packages(include=["percepnet_cli", "percepnet_cli.*"]), *OUTSIDE],
        long_description=description(
            (ROOT / "README.md").read_text("utf-8"), (ROOT / "pyproject.toml").read_text("utf-8")
        ),
        long_description_content_type="text/markdown",
    )
