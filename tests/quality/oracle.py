"""What perfect predictions of the network would sound like, stage by stage: the upper bound of the method.

    python tests/quality/oracle.py --pairs PAIRS --out OUT
    python tests/quality/dev_table.py --pairs PAIRS --enhanced bins=OUT/bins bands=OUT/bands \
        comb=OUT/comb attenuated=OUT/attenuated postfilter=OUT/postfilter

Stages: ideal magnitudes of all 481 bins on the noisy phase; ideal gains of 34 bands; the same with the
comb filter at ideal strengths (its period tracked on the noisy signal, as at run time); the same with the
attenuation of under-periodic bands [Valin 2020]; comb with the post-filter.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import soundfile

from percepnet_cli.constants import SAMPLE_RATE
from percepnet_cli.evaluation.oracle import IDEAL_STAGES, run_stages


def main() -> None:
    """Write every stage of every pair."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--pairs", type=Path, required=True, help="folder with noisy/ and clean/, 48 kHz mono")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    for stage in IDEAL_STAGES:
        (arguments.out / stage).mkdir(parents=True, exist_ok=True)
    for path in sorted((arguments.pairs / "noisy").iterdir()):
        noisy, rate = soundfile.read(path, dtype="float32")
        clean, _ = soundfile.read(arguments.pairs / "clean" / path.name, dtype="float32")
        if rate != SAMPLE_RATE or noisy.ndim != 1:
            raise SystemExit(f"{path}: pairs must be mono at {SAMPLE_RATE} Hz")
        size = min(len(noisy), len(clean))
        for stage, samples in run_stages(noisy[:size], clean[:size]).items():
            soundfile.write(arguments.out / stage / path.name, samples, SAMPLE_RATE, subtype="PCM_16")


if __name__ == "__main__":
    main()
