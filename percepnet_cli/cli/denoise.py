"""``percepnet denoise``: files, folders, globs and pipes in, cleaned ones out."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from percepnet_cli.cli.arguments import means_folder, refuse_terminals, say_what_would_be_done, sources_and_target
from percepnet_cli.cli.options import (
    CommandWithSections,
    Loudness,
    Time,
    as_options,
    denoiser_options,
    jobs_option,
    scheduler_option,
    start_option,
)
from percepnet_cli.cli.outcomes import STANDARD_OUTPUT, say_what_is_missing, say_what_is_not_whole, write_report
from percepnet_cli.cli.presets import PRESETS_HELP, Percent
from percepnet_cli.cli.printed import echo, printable
from percepnet_cli.dsp.presets import PRESETS, choose
from percepnet_cli.errors import PercepnetError, os_sentence

if TYPE_CHECKING:
    from percepnet_cli.audio.pipes import RawFormat
    from percepnet_cli.batch.inputs import Item
    from percepnet_cli.batch.run import Outcome
    from percepnet_cli.network.modelfile import Model


def _raw_format(ctx: click.Context, parameter: click.Parameter, value: str | None) -> RawFormat | None:
    if value is None:
        return None
    from percepnet_cli.audio.pipes import RawFormat

    try:
        return RawFormat.parse(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def _suffix(ctx: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    if value is None:
        return None
    from percepnet_cli.audio.suffixes import CONTAINERS, FFMPEG_CONTAINERS

    known = {**CONTAINERS, **FFMPEG_CONTAINERS}
    suffix = f".{value.lower().lstrip('.')}"
    if suffix not in known:
        raise click.BadParameter(f"'{value}' is none of {' '.join(one[1:] for one in known)}")
    return suffix


EXAMPLES = """
    percepnet denoise noisy.wav clean.wav
    percepnet denoise noisy.wav    # writes noisy-denoised.wav
    percepnet denoise --attenuation-limit 12 interview.mp3 interview.flac

  Half of the noise; what a run would do:
    percepnet denoise --amount 50% interview.mp3 interview.flac
    percepnet denoise --dry-run recordings/ clean/

  As loud as podcasts are:
    percepnet denoise --loudness -16 interview.mp3 podcast.mp3

  A setting tried on ten seconds of two hours:
    percepnet denoise --preset gentle --start 1:02:30 --duration 10 interview.mp3 try.wav

  A folder and all below it, on two cores; go on where an interrupted run stopped:
    percepnet denoise --jobs 2 --skip-existing --report clean.csv recordings/ clean/

  Films, to FLAC (with ffmpeg installed):
    percepnet denoise --format flac 'talks/**/*.mp4' clean/

  A film with its sound replaced, that of all its languages:
    percepnet denoise --all-tracks talk.mp4 talk-clean.mp4

  In a pipe, as the sound comes:
    ffmpeg -v error -i talk.mkv -f wav - | percepnet denoise - - | ffmpeg -i - talk.opus
    arecord -f S16_LE -r 16000 -t raw | percepnet denoise --raw 16000:1:s16le - - > clean.pcm

  On a Dask cluster, from and to an object store:
    percepnet denoise --scheduler tcp://host:8786 s3://talks/raw/ s3://talks/clean/
"""

OPTION_GROUPS = {
    "Results": [
        "--output",
        "--format",
        "--quality",
        "--force",
        "--keep-times",
        "--all-tracks",
        "--strict",
        "--skip-existing",
        "--dry-run",
        "--report",
        "--vad",
        "--raw",
    ],
    "Sound": [
        "--model",
        "--attenuation-limit",
        "--amount",
        "--preset",
        "--loudness",
        "--post-filter",
        "--independent-channels",
        "--start",
        "--duration",
    ],
    "Work": ["--jobs", "--scheduler", "--quiet"],
}


@click.command(cls=CommandWithSections, examples=EXAMPLES, option_groups=OPTION_GROUPS)
@click.argument("paths", metavar="IN... [OUT]", nargs=-1, required=True)
@click.option("-o", "--output", metavar="OUT", help="File or folder of the results; then all that is named is IN.")
@denoiser_options()
@click.option(
    "--amount",
    type=Percent(),
    metavar="PERCENT",
    help="How much of the noise goes, 0 to 100; 50 is --attenuation-limit 6, 90 is 20.  [default: 100]",
)
@start_option("Do only what comes from here on")
@click.option(
    "--duration",
    "duration_seconds",
    type=Time(min=0, min_open=True),
    metavar="TIME",
    help="Do only so much. It sounds as it would in the whole.",
)
@click.option(
    "--loudness",
    "loudness_lufs",
    type=Loudness(),
    metavar="LUFS",
    help="Loudness of the result by ITU-R BS.1770, such as -16, with peaks below -1 dBTP. Needs ffmpeg, a second pass, "
    "and room for 4 bytes a sample beside OUT.",
)
@click.option("--preset", type=click.Choice(list(PRESETS)), help=PRESETS_HELP)
@click.option("--dry-run", is_flag=True, help="Only say which file would become which.")
@click.option("--all-tracks", is_flag=True, help="Denoise all audio tracks of a film, not only the first.")
@click.option("-f", "--force", is_flag=True, help="Replace results that exist.")
@click.option(
    "--strict", is_flag=True, help="Fail on an input that ends early, is damaged or holds NaN; else it is warned of."
)
@click.option("--keep-times", is_flag=True, help="Give each result the modification time of its input.")
@click.option("--skip-existing", is_flag=True, help="Leave out what has a result already: an interrupted run goes on.")
@jobs_option
@click.option(
    "--format",
    "suffix",
    metavar="EXT",
    callback=_suffix,
    help="Format of the results in a folder: wav, flac, ogg...  [default: the input's own, else wav]",
)
@click.option(
    "--quality",
    metavar="0-10",
    type=click.FloatRange(0, 10),
    help="Of MP3, Ogg Vorbis and Opus, 10 is best.  [default: about the input's bitrate]",
)
@click.option(
    "--report",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write a table (.json or .csv; '-' is JSON on standard output) of every file's length, levels, estimated SNR, "
    "speech share, gain reduction, time and error.",
)
@click.option(
    "--raw",
    metavar="RATE:CHANNELS:FORMAT",
    callback=_raw_format,
    help="IN is bare PCM, as in 16000:1:s16le; so is OUT if it is '-'. FORMAT: u8, s8, s16, s24, s32, f32 or f64 with "
    "le or be.",
)
@click.option(
    "--vad",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write where speech is: .csv (the probability every 10 ms), .srt (subtitles) or .txt (labels of Audacity).",
)
@scheduler_option
@click.option("-q", "--quiet", is_flag=True, help="Show no progress.")
def denoise(
    paths: tuple[str, ...],
    output: str | None,
    model: str | None,
    attenuation_limit_db: float | None,
    post_filter: bool | None,
    independent_channels: bool,
    amount: float | None,
    start_seconds: float,
    duration_seconds: float | None,
    loudness_lufs: float | None,
    all_tracks: bool,
    preset: str | None,
    dry_run: bool,
    force: bool,
    keep_times: bool,
    strict: bool,
    skip_existing: bool,
    jobs: int | None,
    suffix: str | None,
    quality: float | None,
    report: Path | None,
    raw: RawFormat | None,
    vad: Path | None,
    scheduler: str | None,
    quiet: bool,
) -> None:
    """Remove the noise from recordings of speech.

    IN may have any sample rate from 8 to 192 kHz, any number of channels and any format of
    libsndfile: WAV, FLAC, MP3, Ogg Vorbis and Opus, AIFF, CAF...; with ffmpeg installed also what
    that reads (the first audio track of MP4, MKV, M4A...). OUT gets the format of its extension,
    with the sample rate, channels, length and alignment of IN, its tags, and its bits per sample or
    bitrate where the format has them.

    With ffmpeg installed OUT may be a film (mp4, mov, mkv, webm), which keeps picture, subtitles,
    chapters and the other tracks of IN, or an m4a, m4b, mka, aac or wma.
    Sound in aac and wma gets up to 0.3 s longer: these do not store its length.

    Without OUT, the result of talk.wav is talk-denoised.wav beside it.

    With several INs, a folder (searched recursively) or a glob in quotes, OUT is a folder, made if
    needed, in which the tree of the inputs is mirrored; so it is if it exists or ends with "/".
    A file that fails does not stop the others; the failures are listed at the end.

    "-" is standard input or output: WAV, or bare PCM with --raw. Sound comes out 1.5 s after it
    went in, as the model studio hears ahead; with --model percepnet or lite, after 30 ms.

    A result appears under its name when it is complete, or not at all, whatever ends the program.
    """
    if force and skip_existing:
        raise click.UsageError("--force and --skip-existing contradict each other.")
    sources, target = sources_and_target(paths, output, suffix)
    if amount is not None and attenuation_limit_db is not None:
        raise click.UsageError("--amount and --attenuation-limit say the same in two ways; give one.")
    settings = {
        **choose(preset, amount, attenuation_limit_db, post_filter),
        "linked": not independent_channels,
        "force": force,
        "quality": quality,
        "keep_times": keep_times,
        "start_seconds": start_seconds,
        "duration_seconds": duration_seconds,
        "strict": strict,
        "loudness_lufs": loudness_lufs,
        "all_tracks": all_tracks,
    }
    if report == STANDARD_OUTPUT:
        if target == "-":
            raise click.UsageError("sound and report cannot both go to standard output.")
    elif report is not None:
        from percepnet_cli.batch import report as reports

        reports.check(report, replace=force or skip_existing)
    folder = means_folder(sources, target)
    if vad is not None and (folder or skip_existing or scheduler):
        raise click.UsageError("--vad takes one IN and one OUT, on this machine.")
    if dry_run:
        say_what_would_be_done(sources, target, folder, suffix, force, skip_existing)
        return
    if "-" in (*sources, target) or raw is not None:
        if folder or skip_existing or scheduler:
            raise click.UsageError("'-' and --raw take one IN and one OUT, on this machine.")
        refuse_terminals(sources[0], target)
    elif folder or skip_existing or scheduler:
        from percepnet_cli.parallel import pool

        if jobs != 1 and folder and not scheduler:
            pool.prepare("percepnet_cli.batch.preload")  # first of all: it takes its time, beside what follows
        with pool.uninterrupted():  # libraries have crashed when interrupted while they were being loaded
            import percepnet_cli.batch.report  # noqa: F401  (and all that this needs)
            from percepnet_cli.batch.inputs import Item, collect

        items = collect(sources, target, suffix) if folder else [Item(sources[0], target, 0)]
        _many(items, model, settings | {"skip_existing": skip_existing}, jobs, scheduler, report, quiet)
        return
    _one(sources[0], target, model, settings | {"raw": raw, "vad": vad}, report, quiet)


def _one(
    source: str, target: str, model: str | None, settings: dict[str, Any], report: Path | None, quiet: bool
) -> None:
    from percepnet_cli.cli.progress import one_file
    from percepnet_cli.file_denoiser import denoise_file

    begin = time.process_time()
    with one_file(target, quiet) as shown:
        try:
            done = denoise_file(source, target, model=model, **settings, progress=shown.show)
        except ValueError as error:
            raise click.ClickException(str(error)) from error
        cpu_seconds = time.process_time() - begin
        shown.finish(done)
    say_what_is_not_whole({source: done})
    if not quiet:
        say_what_is_missing({target: done}, settings["loudness_lufs"])
    if report is not None:
        from percepnet_cli.batch.inputs import Item
        from percepnet_cli.batch.run import DONE, Outcome
        from percepnet_cli.network.modelfile import load_file_model

        outcome = Outcome(Item(source, target, 0), DONE, done, cpu_seconds=cpu_seconds)
        write_report(report, [outcome], load_file_model(model), replace=settings["force"])


def _many(
    items: list[Item],
    model: str | None,
    settings: dict[str, Any],
    jobs: int | None,
    scheduler: str | None,
    report: Path | None,
    quiet: bool,
) -> None:
    from dataclasses import replace

    from percepnet_cli.batch import run as batch
    from percepnet_cli.cli.progress import BatchBar, in_red
    from percepnet_cli.network.modelfile import load_file_model
    from percepnet_cli.parallel.pool import available_cores

    loaded = load_file_model(model)
    outcomes: list[Outcome] = []
    bar = BatchBar(items, quiet)
    run = batch.run(items, batch.Settings(loaded, **settings), jobs or available_cores(), scheduler, bar.progress)
    try:
        for outcome in run:
            if outcome.error is not None:
                outcome = replace(outcome, error=as_options(outcome.error))
            outcomes.append(outcome)
            bar.finished(outcome)
    except OSError as error:
        raise click.ClickException(printable(os_sentence(error))) from error
    except KeyboardInterrupt:
        raise KeyboardInterrupt("" if quiet else bar.interrupted()) from None
    finally:
        run.close()
        bar.close()
        replace_report = settings["force"] or settings["skip_existing"]
        written = report is None or _report_is_written(report, outcomes, loaded, replace_report)
    failed = [outcome for outcome in outcomes if outcome.status == batch.FAILED]
    if not quiet:
        skipped = sum(outcome.status == batch.SKIPPED for outcome in outcomes)
        counts = f"{len(items) - len(failed) - skipped} files done, {skipped} there before, {len(failed)} failed"
        echo(f"{counts}; {bar.summary()}", err=True)
        say_what_is_missing({one.item.target: one.report for one in outcomes if one.report}, settings["loudness_lufs"])
    say_what_is_not_whole({one.item.source: one.report for one in outcomes if one.report})
    for outcome in failed:
        click.echo(in_red(f"Error: {printable(outcome.error or '')}"), err=True)
    if failed or not written:
        sys.exit(1)


def _report_is_written(path: Path, outcomes: list[Outcome], model: Model, replace: bool) -> bool:
    """Write the report; if that cannot be, say why: the list of failures must not be lost for it."""
    from percepnet_cli.cli.progress import in_red

    try:
        write_report(path, outcomes, model, replace)
    except PercepnetError as error:
        click.echo(in_red(f"Error: {printable(as_options(str(error)))}"), err=True)
        return False
    return True
