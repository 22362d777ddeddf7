"""``percepnet oracle``: the stages of the method on the user's own recordings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from percepnet_cli.cli.options import CommandWithSections, Decibels
from percepnet_cli.cli.printed import echo, warn
from percepnet_cli.constants import DEFAULT_FILE_MODEL

PATH = click.Path(path_type=Path)

EXAMPLES = """
    percepnet oracle clean.wav noisy.wav stages/

  Let the program mix:
    percepnet oracle clean.wav --noise hum.wav --snr 5 stages/
"""


@click.command(cls=CommandWithSections, examples=EXAMPLES)
@click.argument("paths", metavar="CLEAN [NOISY] OUTDIR", nargs=-1, required=True, type=PATH)
@click.option("--noise", type=PATH, metavar="FILE", help="Mix CLEAN with this, repeated or cut, instead of NOISY.")
@click.option("--snr", "snr_db", type=Decibels(-40, 60), metavar="DB", help="SNR to mix at.  [default: 5]")
@click.option("--model", metavar="NAME|FILE", help=f"Network of the last stage.  [default: {DEFAULT_FILE_MODEL}]")
@click.option("-f", "--force", is_flag=True, help="Replace results that exist.")
@click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors.")
def oracle(
    paths: tuple[Path, ...],
    noise: Path | None,
    snr_db: float | None,
    model: str | None,
    force: bool,
    quiet: bool,
) -> None:
    """Show the best that each stage could do.

    Lets one recording pass stage after stage of what the method could do at best.

    CLEAN is the speech alone, NOISY the same speech with noise. OUTDIR, made if needed, gets as audio (WAV, of NOISY's
    rate and channels): 0 the noisy recording; 1 the clean magnitudes of all 481 bins on the noisy phase; 2 ideal gains
    of 34 bands; 3 the comb filter with ideal strengths added; 4 the post-filter added; 5 what the network makes of it;
    6 the clean recording. All run through the stages of "percepnet denoise"; 1 to 4 know the targets.

    stages.csv and stages.json hold PESQ-wb, STOI, ESTOI (extra metrics), SI-SDR and segmental SNR of each;
    stages.png their spectrograms side by side, and the loudest second in detail (extra plots).

    The two may differ in rate and length; a delay of up to 100 ms is taken out and reported.
    """
    if len(paths) != (2 if noise else 3):
        raise click.UsageError("give CLEAN NOISY OUTDIR, or CLEAN OUTDIR with --noise FILE.")
    if snr_db is not None and noise is None:
        raise click.UsageError("--snr needs --noise.")
    from percepnet_cli.audio import whole
    from percepnet_cli.cli.progress import prepare
    from percepnet_cli.evaluation import oracle as oracle_stages
    from percepnet_cli.evaluation.report import COLUMNS, finite, markdown, number, write_csv, write_json
    from percepnet_cli.metrics import scores
    from percepnet_cli.network.modelfile import load_file_model
    from percepnet_cli.plotting import figure as plots
    from percepnet_cli.storage.target import check_file, check_folder, make_folder

    folder = paths[-1]
    check_folder(folder)
    inputs = [*paths[:-1], *([noise] if noise else [])]
    results = [folder / f"{name}.wav" for name in oracle_stages.STAGES]
    for path in (*results, *(folder / f"stages.{kind}" for kind in ("csv", "json", "png"))):
        if folder.exists():
            check_file(path, force, inputs=inputs)
    loaded = load_file_model(model)
    clean, like = whole.read(paths[0], warn)
    if noise is not None:
        noise_samples, _ = whole.read(noise, warn)
        clean, noisy = oracle_stages.mix(clean, noise_samples, 5.0 if snr_db is None else snr_db)
        notes: list[str] = []
    else:
        noisy, like = whole.read(paths[1], warn)
        clean, noisy, notes = oracle_stages.match(clean, noisy, (str(paths[0]), str(paths[1])))
    groups, lacking = scores.available()
    no_picture = plots.lacking()
    for note in (*notes, *(f"left out: {text}" for text in (lacking, no_picture) if text)):
        echo(note, err=True)
    prepare(quiet)
    found = oracle_stages.all_stages(noisy, clean, loaded)
    mono = {name: samples.mean(axis=1) for name, samples in found.items()}
    scored = [
        {"stage": name, "meaning": oracle_stages.STAGES[name]}
        | scores.score_pair(mono["6-clean"], samples, 48000, groups - {"DNSMOS"})
        for name, samples in mono.items()
    ]
    kept = ["stage", "meaning", "pesq_wb", "stoi", "estoi", "si_sdr", "segmental_snr"]
    rows: list[dict[str, Any]] = [{key: row[key] for key in kept} for row in scored]
    make_folder(folder)
    # what takes long comes first: an interrupted run leaves no audio without its scores
    if not no_picture:
        from percepnet_cli.plotting import views

        titles = {_title(row, loaded.name): samples for row, samples in zip(rows, mono.values(), strict=True)}
        picture = views.side_by_side(titles, min(views.HIGHEST_KHZ, like.sample_rate / 2000))
        plots.save(picture, folder / "stages.png", force)
    for path, samples in zip(results, found.values(), strict=True):
        whole.write(samples, path, like, force)
    write_csv(rows, folder / "stages.csv", force)
    write_json(
        {
            "model": loaded.name,
            "sha256": loaded.digest,
            "stages": [{key: finite(value) for key, value in row.items()} for row in rows],
        },
        folder / "stages.json",
        force,
    )
    if not quiet:
        columns = [key for key in kept[2:] if any(row[key] == row[key] for row in rows)]
        lines = [
            [f"{row['stage']}: {row['meaning']}", *(number(row[k], COLUMNS[k][1]) for k in columns)] for row in rows
        ]
        echo(markdown(["", *(COLUMNS[key][0] for key in columns)], lines), nl=False)


def _title(row: dict[str, Any], model: str) -> str:
    """Return what stands above a stage in the picture."""
    from percepnet_cli.evaluation.report import number

    meaning = row["meaning"]
    if row["stage"] == "6-clean":  # against itself: there is nothing to score
        return f"{meaning}\n"
    if row["stage"] == "5-network":
        meaning += f", {model}"
    scored = [f"SI-SDR {number(row['si_sdr'], '.1f')} dB"]
    if row["pesq_wb"] == row["pesq_wb"]:
        scored.insert(0, f"PESQ {row['pesq_wb']:.2f}")
    return f"{meaning}\n{', '.join(scored)}"
