"""Many files: by processes of this machine, or by a cluster."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from multiprocessing import parent_process
from pathlib import Path
from typing import Any

from percepnet_cli.batch.inputs import Item, collect
from percepnet_cli.dsp.presets import choose
from percepnet_cli.errors import AudioError
from percepnet_cli.file_denoiser import FileReport, denoise_file
from percepnet_cli.network.modelfile import Model, load_file_model
from percepnet_cli.parallel import runner
from percepnet_cli.parallel.runner import Done
from percepnet_cli.storage import atomic, remote
from percepnet_cli.storage.target import exists_sentence

Progress = Callable[[Item, float], object]
"""Gets an item and how far it is, 0..1."""

DONE, SKIPPED, FAILED = "done", "skipped", "failed"


@dataclass(frozen=True)
class Settings:
    """What is the same for all files of a batch: what ``denoise_file`` takes, and what to do with earlier results."""

    model: Model
    post_filter: float | None = None
    attenuation_limit_db: float | None = None
    linked: bool = True
    force: bool = False
    skip_existing: bool = False
    quality: float | None = None
    keep_times: bool = False
    start_seconds: float = 0.0
    duration_seconds: float | None = None
    strict: bool = False
    loudness_lufs: float | None = None
    all_tracks: bool = False

    def of_each_file(self) -> dict[str, Any]:
        """Return the options of ``denoise_file``."""
        names = (field.name for field in fields(self) if field.name not in ("force", "skip_existing"))
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True)
class Outcome:
    """What became of one file of a batch."""

    item: Item
    status: str
    """``done``, ``skipped`` (the target was there) or ``failed``."""
    report: FileReport | None = None
    """Of what is done."""
    error: str | None = None
    """One sentence, of what failed."""
    cpu_seconds: float | None = None
    """Of what is done."""


def do_item(settings: Settings, item: Item, progress: Callable[[float], object] = lambda share: None) -> Outcome:
    """Denoise one file of a batch. progress: gets how far it is, 0..1. Raises as ``denoise_file`` and the store do."""
    begin = time.process_time()
    if settings.keep_times and (remote.is_url(item.source) or remote.is_url(item.target)):
        raise AudioError(f"{item.source} -> {item.target}: only local files have times that could be kept")
    with remote.stored(item.target) as target, remote.fetched(item.source) as source:
        report = denoise_file(
            source,
            target,
            **settings.of_each_file(),
            force=settings.force or item.again,
            threads=None if parent_process() is None else 1,  # a process among others keeps to its core
            progress=lambda done, total: progress(done / total if total else 0.0),
        )
    return Outcome(item, DONE, report, cpu_seconds=time.process_time() - begin)


def _given_out_again(item: Item) -> Item:
    """Return the task for an item whose process died: maybe after its file was whole and before that was known."""
    return replace(item, again=True)


def run(
    items: Sequence[Item],
    settings: Settings,
    jobs: int = 1,
    scheduler: str | None = None,
    progress: Progress | None = None,
) -> Generator[Outcome, None, None]:
    """Denoise files; yield an outcome for each as they come.

    Results are whole files or none, whatever ends the run. Leaving the iterator early stops the work at once.

    Parameters
    ----------
    items : sequence of Item
        From ``inputs.collect``.
    settings : Settings
        For all of them.
    jobs : int
        Processes; with 1, this one does the work.
    scheduler : str or None
        Address of a Dask scheduler whose workers shall do the work instead.
    progress : callable or None
        Gets an item and how far it is, 0..1, now and then.

    Raises
    ------
    OSError
        If processes cannot be started.
    ClusterError
        If the cluster cannot be used.
    """
    # What is there already is left alone or refused before anything begins
    checked = settings.skip_existing or not settings.force
    there = remote.existing([item.target for item in items]) if checked else set()
    waiting = []
    for item in items:
        if item.target not in there:
            waiting.append(item)
        elif settings.skip_existing:
            yield Outcome(item, SKIPPED)
        else:
            yield Outcome(item, FAILED, error=exists_sentence(remote.local(item.target)))

    # Parts of files that an interrupted run left behind
    targets = [Path(remote.local(item.target)) for item in waiting if not remote.is_url(item.target)]
    atomic.remove_all_leftovers(targets)

    progressed = None if progress is None else (lambda number, share: progress(waiting[number], share))

    results = runner.run(
        do_item,
        settings,
        waiting,
        jobs,
        scheduler,
        progressed,
        label=lambda item: str(item.source),
        again=_given_out_again,
    )
    try:
        for result in results:
            item = waiting[result.number]
            yield result.result if isinstance(result, Done) else Outcome(item, FAILED, error=result.reason)
    finally:
        results.close()
        # Also of files that are done: a process may have died over them before another one did them
        atomic.remove_all_leftovers(targets)


def denoise_files(
    sources: Iterable[str | Path],
    folder: str | Path,
    *,
    model: Model | str | Path | None = None,
    post_filter: float | None = None,
    attenuation_limit_db: float | None = None,
    amount: float | None = None,
    preset: str | None = None,
    linked: bool = True,
    force: bool = False,
    keep_times: bool = False,
    start_seconds: float = 0.0,
    duration_seconds: float | None = None,
    loudness_lufs: float | None = None,
    all_tracks: bool = False,
    skip_existing: bool = False,
    strict: bool = False,
    suffix: str | None = None,
    jobs: int = 1,
    scheduler: str | None = None,
) -> list[Outcome]:
    """Denoise files, folders and globs into a folder.

    A file that fails does not keep the others from being done; look at the outcomes. With ``jobs`` above 1, processes
    are started: a script must then have its work under ``if __name__ == "__main__":``.

    Parameters
    ----------
    sources : iterable of str or Path
        Files, folders (searched recursively, their tree is mirrored), globs, or URLs that fsspec knows.
    folder : str or Path
        Where the results go; made if needed.
    model, post_filter, attenuation_limit_db, amount, preset, linked, force, strict
        See ``denoise_file``.
    keep_times, start_seconds, duration_seconds, loudness_lufs, all_tracks
        See ``denoise_file``.
    skip_existing : bool
        Leave out what has a result already: an interrupted run goes on.
    suffix : str or None
        Extension of the results, such as ".flac"; None keeps the inputs' own.
    jobs : int
        Processes.
    scheduler : str or None
        Address of a Dask scheduler to work on instead.

    Returns
    -------
    list of Outcome
        In the order of the inputs.

    Raises
    ------
    AudioError
        If a folder or glob holds no sound files, or two results would have the same name.
    ModelError
        If the model cannot be loaded.

    Examples
    --------
    >>> from percepnet_cli import denoise_files
    >>> outcomes = denoise_files(["examples/street.flac"], "clean", suffix=".wav", jobs=1)
    >>> [(outcome.status, outcome.item.target) for outcome in outcomes]
    [('done', 'clean/street.wav')]
    >>> round(outcomes[0].report.measures.input_level_db)
    -25
    """
    items = collect(map(str, sources), str(folder), suffix)
    settings = Settings(
        load_file_model(model),
        **choose(preset, amount, attenuation_limit_db, post_filter),
        linked=linked,
        force=force,
        skip_existing=skip_existing,
        keep_times=keep_times,
        start_seconds=start_seconds,
        duration_seconds=duration_seconds,
        loudness_lufs=loudness_lufs,
        all_tracks=all_tracks,
        strict=strict,
    )
    outcomes = {outcome.item: outcome for outcome in run(items, settings, jobs, scheduler)}
    return [outcomes[item] for item in items]
