"""Measure the shipped models beside others on pairs of noisy and clean recordings; write what that gave.

    model_table.py --pairs DIR [--peers DIR] [--model NAME ...]

Every shipped model, or each that is named, denoises ``DIR/noisy`` with and without the post-filter. ``--peers`` holds
one folder of enhanced files of the same names for each other program. What was measured before on the same pairs, of
shipped models and of other programs, stays. What that gave goes to docs/quality.json, from which
``docs/generate.py options`` makes the tables of the pages. The means of the shipped models go to models/scores.json,
where `percepnet models` reads them.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from pathlib import Path

import dev_table
import numpy as np
import soundfile

from percepnet_cli import Denoiser, load_model
from percepnet_cli.network.modelfile import Model, shipped_names

ROOT = Path(__file__).resolve().parents[2]
SCORES = ROOT / "models" / "scores.json"
RECORD = ROOT / "docs" / "quality.json"
KEPT = ("pesq_wb", "stoi", "estoi", "si_sdr", "dnsmos_sig", "dnsmos_bak", "dnsmos_ovrl", "dnsmos_p808")


def enhance(model: Model, post_filter: float, noisy: dict[str, Path], out: Path) -> None:
    """Denoise recordings of 48 kHz, one channel, as `percepnet denoise` does: same length, in time."""
    out.mkdir()
    for name, path in noisy.items():
        samples, rate = soundfile.read(path, dtype="float32")
        if rate != dev_table.RATE or samples.ndim != 1:
            raise SystemExit(f"{path}: one channel at {dev_table.RATE} Hz is needed")
        cleaned = Denoiser(model, post_filter=post_filter).denoise(samples)
        soundfile.write(out / f"{name}.wav", np.clip(cleaned, -1, 1), rate, subtype="PCM_16")


def labels(name: str, model: Model) -> dict[str, float]:
    """Return the two ways to run a model, the one that it asks for first, with the share of the post-filter."""
    other = "no post-filter" if model.post_filter else "with post-filter"
    return {f"model {name}": model.post_filter, f"model {name}, {other}": not model.post_filter}


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--pairs", type=Path, required=True, metavar="DIR", help="holds noisy/ and clean/, DIR.tsv beside it"
    )
    parser.add_argument("--peers", type=Path, metavar="DIR", help="one folder of enhanced files for each program")
    parser.add_argument("--model", action="append", metavar="NAME", help="instead of all that are shipped")
    args = parser.parse_args()
    pairs = args.pairs.resolve()
    clean, noisy = (dev_table.recordings(pairs / part) for part in ("clean", "noisy"))
    snr = dev_table.read_snr(pairs.parent / f"{pairs.name}.tsv")
    peers = sorted(path for path in args.peers.iterdir() if path.is_dir()) if args.peers else []
    folders = {dev_table.NOISY: pairs / "noisy"} | {path.name: path for path in peers}
    own = {}
    with tempfile.TemporaryDirectory() as work:
        for name in args.model or shipped_names():
            own[name] = load_model(name)
            for label, post_filter in labels(name, own[name]).items():
                folders[label] = Path(work) / label
                enhance(own[name], post_filter, noisy, folders[label])
        results = {}
        for label, folder in folders.items():
            results[label] = dev_table.score_folder(clean, dev_table.recordings(folder), snr)
            print(label, flush=True)

    def means(label: str) -> dict[str, float]:
        return {key: round(statistics.fmean(row[key] for row in results[label]), 6) for key in KEPT}

    scores = {
        name: {
            "sha256": model.digest,
            "pairs": len(clean),
            "scores": means(f"model {name}"),
            "post_filter": model.post_filter,
            "otherwise": means(list(labels(name, model))[1]),
        }
        for name, model in own.items()
    }
    systems = {label: dev_table.summary(rows) for label, rows in results.items()}

    # What was measured before stays, if it is of these pairs, and of a model that is still shipped
    record = json.loads(RECORD.read_text("utf-8"))
    if record["test_set"] == pairs.name:
        old = json.loads(SCORES.read_text("utf-8"))
        scores = {name: (old | scores)[name] for name in shipped_names() if name in old | scores}
        kept = {label for name in scores for label in labels(name, load_model(name))}
        ours = {label for label in record["systems"] if label.startswith("model ")}
        systems = record["systems"] | systems
        systems = {label: found for label, found in systems.items() if label in kept or label not in ours}
    SCORES.write_text(json.dumps(scores, indent=1) + "\n", "utf-8")
    record |= {"test_set": pairs.name, "systems": systems}
    RECORD.write_text(json.dumps(record, indent=1) + "\n", "utf-8")

    table = dev_table.main_table(systems)
    if clean.keys() <= snr.keys():
        table += "\n" + dev_table.snr_tables(systems)
    print(table, end="")
    print("now: python docs/generate.py options")


if __name__ == "__main__":
    main()
