"""Many shards of mixtures and targets, by many processes; what is whole is never made again."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from percepnet_cli import __version__
from percepnet_cli.constants import BAND_TIPS, HOP_SIZE, LOOKAHEAD_HOPS, NUM_FEATURES, SAMPLE_RATE
from percepnet_cli.training import shards
from percepnet_cli.training.corpus import Recording, find, split
from percepnet_cli.training.mixture import RECIPE, Recipe, Sources, draw
from percepnet_cli.training.targets import example

SEQUENCES_PER_SHARD = 64


@dataclass(frozen=True)
class Plan:
    """All that decides the content of every shard."""

    speech: tuple[Recording, ...]
    noise: tuple[Recording, ...]
    rooms: tuple[Recording, ...]
    part: str
    seed: int
    recipe: Recipe = RECIPE

    def description(self) -> dict[str, Any]:
        """Return what goes into the metadata of a shard; equal plans describe themselves equally."""
        return {
            "percepnet": __version__,
            "sample_rate": SAMPLE_RATE,
            "hop": HOP_SIZE,
            "lookahead_hops": LOOKAHEAD_HOPS,
            "features": NUM_FEATURES,
            "band_tips": list(BAND_TIPS),
            "part": self.part,
            "seed": self.seed,
            "recipe": json.loads(json.dumps(asdict(self.recipe))),
            "recordings": {
                name: {"count": len(group), "sha256": _digest(group)}
                for name, group in (("speech", self.speech), ("noise", self.noise), ("rooms", self.rooms))
            },
        }


def _digest(recordings: Sequence[Recording]) -> str:
    """Return a hash of the names, groups and bandwidths of recordings, not of where they lie."""
    common = os.path.commonpath([os.path.dirname(r.path) for r in recordings]) if recordings else ""
    rows = [(os.path.relpath(r.path, common), r.group, r.bandwidth_hz) for r in recordings]
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def make_plan(
    speech: Sequence[Path], noise: Sequence[Path], rooms: Sequence[Path], part: str, seed: int, recipe: Recipe
) -> Plan:
    """Collect the recordings of folders and lists and keep those of a part.

    Raises ValueError if a source holds nothing, or nothing is left of the speech or the noise.
    """
    parts = {}
    for name, sources in (("speech", speech), ("noise", noise), ("rooms", rooms)):
        found = [recording for source in sources for recording in find(source)]
        if name != "speech":  # whole files are kept apart, not the folders that hold them
            found = [Recording(r.path, r.path.rsplit(os.sep, 1)[-1], r.bandwidth_hz) for r in found]
        parts[name] = tuple(split(found, part))
        if not parts[name] and (found or name == "speech"):
            raise ValueError(f"none of the {len(found)} {name} recordings belongs to the part '{part}'")
    return Plan(parts["speech"], parts["noise"], parts["rooms"], part, seed, recipe)


def is_whole(path: Path, plan: Plan) -> bool:
    """Return whether a shard of this very plan is there. Raises ValueError for a shard of another plan."""
    if not path.exists():
        return False
    try:
        with safe_open(path, "numpy") as file:
            found = json.loads((file.metadata() or {}).get(shards.METADATA_KEY, "{}"))
    except (SafetensorError, json.JSONDecodeError, OSError):
        return False
    expected = plan.description()
    differs = [key for key, value in expected.items() if found.get(key) != value]
    if differs:
        raise ValueError(
            f"{path} was made from other settings ({', '.join(differs)}): choose another folder or remove it"
        )
    return True


_worker: tuple[Plan, Sources] | None = None


def _end_with_parent() -> None:
    """Leave when the parent is gone, however it went: nobody else would end this process."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _start_worker(plan: Plan) -> None:
    global _worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _worker = (plan, Sources.group(plan.speech, plan.noise, plan.rooms))


def _make_shard(index: int, path: str) -> set[str]:
    """Make a shard and return the recordings that this process could not read so far."""
    assert _worker is not None
    plan, sources = _worker
    rows: dict[str, list[np.ndarray]] = {}
    for sequence in range(SEQUENCES_PER_SHARD):
        # seeded by number, so that a shard does not depend on who made it, or when
        rng = np.random.default_rng((plan.seed, index, sequence))
        for name, array in vars(example(draw(sources, rng, plan.recipe), plan.recipe.attenuation)).items():
            rows.setdefault(name, []).append(array)
    arrays = {name: np.stack(parts) for name, parts in rows.items()}
    shards.write_shard(path, arrays, plan.description())
    return sources.library.unreadable


def generate(
    plan: Plan, folder: Path, hours: float, jobs: int, unreadable: set[str] | None = None
) -> Iterator[tuple[float, float]]:
    """Make the shards that are missing. Yields (hours of audio done, hours wanted) as they complete.

    folder: made if needed. hours: length of all mixtures together; jobs: processes; unreadable: gets the paths
    that could not be read and counted as silence. A shard appears whole or not at all. Raises ValueError if the
    folder holds shards of another plan; OSError if it cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shard_hours = SEQUENCES_PER_SHARD * plan.recipe.seconds / 3600
    count = max(1, round(hours / shard_hours))
    paths = [shards.shard_path(folder, index) for index in range(count)]
    missing = [index for index in range(count) if not is_whole(paths[index], plan)]
    done = count - len(missing)
    yield done * shard_hours, count * shard_hours
    if not missing:
        return
    pool = ProcessPoolExecutor(
        min(jobs, len(missing)), get_context("spawn"), initializer=_start_worker, initargs=(plan,)
    )
    try:
        futures = [pool.submit(_make_shard, index, str(paths[index])) for index in missing]
        for future in as_completed(futures):
            failed = future.result()
            if unreadable is not None:
                unreadable |= failed
            done += 1
            yield done * shard_hours, count * shard_hours
    except BrokenProcessPool:
        raise OSError("a worker process ended by itself (out of memory?); the same command goes on") from None
    except BaseException:
        for process in list(pool._processes.values()):  # unfinished shards are temporary files: nothing is lost
            process.terminate()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
