"""Print the SHA-256 of a folder of pairs, by which docs/references.md names a test set.

    hash_pairs.py PAIRS

It is the hash of the list of all files below ``PAIRS/clean`` and ``PAIRS/noisy``, in the order of their names, each
with its own hash. A shell says the same::

    cd PAIRS && LC_ALL=C sha256sum clean/* noisy/* | sha256sum
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

FOLDERS = ("clean", "noisy")
"""What a folder of pairs holds, in the order of the hash."""


def pairs_sha256(pairs: Path) -> str:
    """Return the hash of a folder of pairs, 64 hexadecimal digits.

    Raises
    ------
    ValueError
        ``clean`` or ``noisy`` is missing or empty, or a name in one is missing in the other.
    """
    names = [sorted(path.name for path in (pairs / folder).glob("*") if path.is_file()) for folder in FOLDERS]
    if not names[0] or names[0] != names[1]:
        raise ValueError(f"{pairs}: clean/ and noisy/ must hold recordings of the same names")

    lines = hashlib.sha256()
    for folder in FOLDERS:
        for name in names[0]:
            content = hashlib.sha256((pairs / folder / name).read_bytes()).hexdigest()
            lines.update(f"{content}  {folder}/{name}\n".encode())
    return lines.hexdigest()


def main() -> None:
    """Print the hash."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("pairs", type=Path, metavar="PAIRS", help="folder with clean/ and noisy/")
    try:
        print(pairs_sha256(parser.parse_args().pairs))
    except ValueError as error:
        raise SystemExit(str(error)) from None


if __name__ == "__main__":
    main()
