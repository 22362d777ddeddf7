"""Score models on the test set of VoiceBank+DEMAND, which no training and no choice has seen: report it, nothing else.

    git clone --bare https://github.com/Zhangyuewei98/FDFNet
    voicebank.py --repository FDFNet.git --pairs DIR [--every 3] [--model NAME|FILE ...] [--enhanced NAME=DIR ...]

The repository holds all 824 pairs at 16 kHz in ``audios/clean`` and ``audios/noisy``; they are unpacked into
``DIR/clean`` and ``DIR/noisy``, once. The models denoise ``DIR/noisy`` as `percepnet denoise` does (to 48 kHz and
back); everything is brought to 48 kHz to be compared, and to 16 kHz for PESQ, STOI and DNSMOS.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import statistics
import subprocess
import sys
import tarfile
from pathlib import Path

from dev_table import COLUMNS, folders
from tqdm import tqdm

from percepnet_cli import load_model
from percepnet_cli.errors import AudioError, ModelError
from percepnet_cli.evaluation import score
from percepnet_cli.evaluation.report import markdown, number
from percepnet_cli.metrics.scores import SCORES
from percepnet_cli.parallel.runner import Failed

COMMIT = "6eac82047d96aeceb155f9aa0f5d73d453b4fa31"
PAIRS = 824
PARTS = ("clean", "noisy")
SHOWN = COLUMNS | {"dnsmos_p808": ("P.808", ".2f")}


def unpack(repository: Path, pairs: Path) -> None:
    """Take the recordings out of a clone, unless they are there."""
    if all(len(list((pairs / part).glob("*.wav"))) == PAIRS for part in PARTS):
        return
    command = ["git", f"--git-dir={repository}", "archive", COMMIT, *(f"audios/{part}" for part in PARTS)]
    archive = subprocess.run(command, capture_output=True, check=False)
    if archive.returncode:
        raise SystemExit(f"{repository} is no whole clone: {archive.stderr.decode().strip()}")
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
        for member in files:
            path = Path(member.name)
            content = files.extractfile(member)
            if content and path.suffix == ".wav":
                target = pairs / path.parent.name / path.name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content.read())
    for part in PARTS:
        if (found := len(list((pairs / part).glob("*.wav")))) != PAIRS:
            raise SystemExit(f"{pairs / part} holds {found} recordings, not {PAIRS}")


def table(rows: list[score.Row]) -> str:
    """Lay out the means of all systems."""
    lines = []
    for system in dict.fromkeys(row["system"] for row in rows):
        own = [row for row in rows if row["system"] == system]
        lines.append([system, *(number(mean(own, key), form) for key, (_, form) in SHOWN.items()), str(len(own))])
    return markdown(["", *(title for title, _ in SHOWN.values()), "files"], lines)


def mean(rows: list[score.Row], key: str) -> float:
    """Average over all files; NaN if any has no score."""
    return statistics.fmean(row[key] for row in rows)


def main() -> None:
    """Unpack, denoise, score, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repository", type=Path, metavar="DIR", help="bare clone of Zhangyuewei98/FDFNet")
    parser.add_argument("--pairs", type=Path, required=True, metavar="DIR", help="where the recordings are or come")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="score the first of N files, the N+1st, ...")
    parser.add_argument("--model", action="append", default=[], metavar="NAME|FILE", help="denoise with this, too")
    parser.add_argument("--enhanced", nargs="+", action="extend", default=[], metavar="NAME=DIR")
    parser.add_argument("--no-post-filter", action="store_true")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write means and the row of every file")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    args = parser.parse_args()
    if args.every < 1 or args.jobs < 1:
        parser.error("--every and --jobs are at least 1")

    if args.repository:
        unpack(args.repository, args.pairs)
    compared = folders(args.pairs, args.enhanced)
    noisy = compared.pop(score.NOISY)
    try:
        models = {f"model {Path(name).stem}": load_model(name) for name in args.model}
        chosen = score.find_pairs(args.pairs / "clean", noisy, compared)[:: args.every]
    except (AudioError, ModelError) as error:
        raise SystemExit(str(error)) from None
    settings = score.Settings(models, False if args.no_post_filter else None)

    results: list[list[score.Row]] = [[] for _ in chosen]
    for one in tqdm(score.run(chosen, settings, args.jobs), total=len(chosen), unit="file"):
        if isinstance(one, Failed):
            raise SystemExit(one.reason)
        results[one.number] = one.result
    rows = [row for result in results for row in result]
    print(table(rows), end="")
    if args.json:
        means = {
            system: {key: mean([row for row in rows if row["system"] == system], key) for key in SCORES}
            for system in dict.fromkeys(row["system"] for row in rows)
        }
        args.json.write_text(json.dumps({"every": args.every, "mean": means, "rows": rows}, indent=1) + "\n", "utf-8")
        print(f"every file's scores: {args.json}", file=sys.stderr)


if __name__ == "__main__":
    main()
