"""``percepnet evaluate``: recordings scored against their clean references."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from percepnet_cli.cli.options import CommandWithSections, jobs_option, post_filter_option
from percepnet_cli.cli.printed import echo, warn
from percepnet_cli.constants import DEFAULT_FILE_MODEL

PATH = click.Path(path_type=Path)

EXAMPLES = """
  Noisy recordings against what the shipped model makes of them:
    percepnet evaluate clean/ noisy/

  Other programs' results beside it, with every number in a file:
    percepnet evaluate clean/ noisy/ --model lite --compare rnnoise=rnnoise/ --csv scores.csv

  Results alone, one pair:
    percepnet evaluate clean.wav --compare mine=enhanced.wav
"""


def _labeled(ctx: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for value in values:
        label, equals, path = value.partition("=")
        if not (label and equals and path):
            raise click.BadParameter(f"'{value}' is not LABEL=FOLDER")
        if label in found or label in ("noisy", "clean"):
            raise click.BadParameter(f"the label '{label}' is taken")
        found[label] = Path(path)
    return found


OPTION_GROUPS = {
    "What to score": ["--model", "--post-filter", "--compare", "--manifest"],
    "Scores": ["--no-dnsmos", "--no-wer", "--draws", "--seed"],
    "Results": ["--csv", "--json", "--force"],
    "Work": ["--jobs", "--quiet"],
}


@click.command(cls=CommandWithSections, examples=EXAMPLES, option_groups=OPTION_GROUPS)
@click.argument("clean", type=PATH)
@click.argument("noisy", type=PATH, required=False)
@click.option(
    "--compare",
    "compared",
    metavar="LABEL=FOLDER",
    multiple=True,
    callback=_labeled,
    help="Score these enhanced recordings, too; may be given several times.",
)
@click.option(
    "-m",
    "--model",
    "models",
    metavar="NAME|FILE",
    multiple=True,
    help="Denoise NOISY with this network and score that, too; may be given several times.  [default: "
    f"{DEFAULT_FILE_MODEL}, unless there is --compare]",
)
@post_filter_option
@click.option(
    "--manifest",
    type=PATH,
    help="A table, tab- or comma-separated, with the columns file and, as there are, snr_db and text.",
)
@click.option("--no-dnsmos", is_flag=True, help="Leave out DNSMOS, the slowest score.")
@click.option("--no-wer", is_flag=True, help="Leave out the word error rate (a second for each of the recording).")
@click.option("--draws", type=click.IntRange(min=1), default=2000, show_default=True, help="Draws of the bootstrap.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the bootstrap.")
@click.option("--csv", "csv_path", metavar="FILE", type=PATH, help="Write every file's scores as a table.")
@click.option("--json", "json_path", metavar="FILE", type=PATH, help="Write all numbers, intervals included.")
@click.option("-f", "--force", is_flag=True, help="Replace FILE if it exists.")
@jobs_option
@click.option("-q", "--quiet", is_flag=True, help="Print the summary only, and no progress.")
def evaluate(
    clean: Path,
    noisy: Path | None,
    compared: dict[str, Path],
    models: tuple[str, ...],
    post_filter: bool | None,
    manifest: Path | None,
    no_dnsmos: bool,
    no_wer: bool,
    draws: int,
    seed: int,
    csv_path: Path | None,
    json_path: Path | None,
    force: bool,
    jobs: int | None,
    quiet: bool,
) -> None:
    """Score recordings against their clean references.

    CLEAN and NOISY are folders whose files have the same names but for the extension, or two files; each may have any
    rate, format and number of channels (their mean is scored, at 48 kHz; STOI, PESQ and DNSMOS at 16 kHz). The files
    of NOISY are scored as they are and denoised.

    Per file, per SNR and in all: PESQ-wb, STOI, ESTOI, DNSMOS SIG, BAK, OVRL and P.808 (extra metrics), SI-SDR,
    segmental SNR (30 ms, -10 to 35 dB), the delay, which is taken out before scoring, and the difference in length.
    Means come with 95 % intervals by bootstrap, and differences to the first line, paired. The SNR is that of the
    manifest, else that of NOISY against CLEAN, put together in steps of 5 dB.

    With the extra asr, an English recognizer listens, too (PocketSphinx: old and small, so look at differences).
    WER is against what is spoken if every recording has a text, in the manifest or in a .txt beside the clean file; if
    not, against what the recognizer hears in the clean file, and is then called "WER vs clean".
    """
    if noisy is None and not compared:
        raise click.UsageError("give NOISY, or --compare LABEL=FOLDER.")
    if noisy is None and models:
        raise click.UsageError("--model denoises NOISY, which is missing.")
    if csv_path is not None and csv_path == json_path:
        raise click.UsageError("--csv and --json name the same file.")
    from percepnet_cli.cli.progress import prepare
    from percepnet_cli.evaluation import report
    from percepnet_cli.evaluation import score as evaluation
    from percepnet_cli.extras import missing, sentence
    from percepnet_cli.metrics import recognition, scores
    from percepnet_cli.network.modelfile import load_file_model
    from percepnet_cli.parallel import pool
    from percepnet_cli.parallel.runner import Failed
    from percepnet_cli.storage.target import check_file

    for path in (csv_path, json_path):
        if path is not None:
            check_file(path, force, inputs=[manifest] if manifest else ())
    pairs = evaluation.find_pairs(clean, noisy, compared, manifest)
    chosen = [load_file_model(name) for name in models or ((None,) if noisy is not None and not compared else ())]
    labels = [f"model {model.name}" for model in chosen]
    if len({*labels, *compared}) < len(labels) + len(compared):
        raise click.UsageError("two systems have the same name.")
    for text in evaluation.unpaired(pairs, filter(None, (noisy, *compared.values()))):
        echo(text, err=True)
    groups, lacking = scores.available()
    if lacking:
        echo(f"left out: {lacking}", err=True)
    words = not no_wer
    if words and missing("pocketsphinx"):
        words = False
        if not quiet:
            echo(f"left out: {sentence('the word error rate', ['pocketsphinx'])}", err=True)
    transcripts = all(pair.text is not None for pair in pairs)
    if words and not quiet:
        against = "what is spoken" if transcripts else "what it hears in the clean recordings: they have no text"
        echo(f"words: {recognition.NAME}, against {against}", err=True)
    settings = evaluation.Settings(
        dict(zip(labels, chosen, strict=True)),
        post_filter,
        frozenset(groups - ({"DNSMOS"} if no_dnsmos else set())),
        words,
        transcripts,
    )
    if chosen:
        prepare(quiet)
    results: list[list[evaluation.Row]] = [[] for _ in pairs]
    failures = []
    from tqdm import tqdm

    with tqdm(total=len(pairs), unit="file", disable=quiet or not sys.stderr.isatty()) as bar:
        for scored in evaluation.run(pairs, settings, jobs or pool.available_cores()):
            bar.update()
            if isinstance(scored, Failed):
                failures.append(scored.reason)
            else:
                results[scored.number] = scored.result
    rows = [row for result in results for row in result]
    if rows:
        table = report.Table(rows, transcripts, draws, seed)
        if not quiet:
            echo(table.by_file())
            if len(table.levels()) > 1:
                echo(table.by_snr())
        echo(table.summary() + "\n" + table.notes())
    for text in dict.fromkeys(row[key] for row in rows for key in evaluation.WARNINGS if key in row):
        warn(text)
    for text in failures:
        echo(f"Error: {text}", err=True)
    if rows and csv_path is not None:
        report.write_csv(rows, csv_path, force)
    if rows and json_path is not None:
        report.write_json(table.json() | {"failed": failures}, json_path, force)
    if failures:
        sys.exit(1)
