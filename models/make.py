"""The recipe of the shipped model: mixtures, training, 8 bits; each step resumes where it was stopped.

    python models/make.py --speech SPEECH --noise NOISE --rooms ROOMS --work runs/lite

SPEECH, NOISE and ROOMS are folders or tables, as `percepnet train-targets` takes them; models/README.md
says which recordings the shipped model was made from.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def percepnet(*arguments: str | Path) -> None:
    """Run a command of the program; stop if it fails."""
    subprocess.run([sys.executable, "-m", "percepnet_cli", *map(str, arguments)], check=True)


def main() -> None:
    """Make the model."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    for name in ("speech", "noise", "rooms"):
        parser.add_argument(f"--{name}", nargs="+", type=Path, required=name != "rooms", default=[])
    parser.add_argument("--work", type=Path, default=Path("runs/lite"))
    parser.add_argument("--preset", default="lite")
    parser.add_argument("--hours", type=float, default=16.0)
    parser.add_argument("--minutes", type=float, default=80.0)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()

    sources = [
        item
        for name in ("speech", "noise", "rooms")
        for path in getattr(arguments, name)
        for item in (f"--{name}", path)
    ]
    work: Path = arguments.work
    percepnet("train-targets", work / "valid", *sources, "--hours", 0.57, "--part", "validation", "--seed", 1)
    percepnet("train-targets", work / "train", *sources, "--hours", arguments.hours, "--seed", 0)
    budget = ["--preset", arguments.preset, "--minutes", arguments.minutes, "--threads", arguments.threads]
    percepnet("train", work / "train", work / "valid", work / "run", *budget)
    target = HERE / f"{arguments.preset}.safetensors"
    example = HERE.parent / "examples" / "street.flac"
    percepnet("quantize", work / "run" / "model.safetensors", target, "--audio", example, "--force")


if __name__ == "__main__":
    main()
