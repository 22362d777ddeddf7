"""Many shards of mixtures and targets, by many processes; what is whole is never made again."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from percepnet_cli.constants import BAND_CENTERS, HOP_SIZE, LOOKAHEAD_HOPS, NUM_FEATURES, SAMPLE_RATE
from percepnet_cli.errors import PercepnetError
from percepnet_cli.parallel import runner
from percepnet_cli.parallel.runner import Failed
from percepnet_cli.storage import remote, untrusted
from percepnet_cli.storage.target import make_folder
from percepnet_cli.training.data import shard_file
from percepnet_cli.training.data.corpus import Faults, Library, Recording, find, select_split
from percepnet_cli.training.data.mixture import Mixture, SourcePool, draw
from percepnet_cli.training.data.recipe import RECIPE, Recipe
from percepnet_cli.training.data.sources import Sources
from percepnet_cli.training.data.targets import Sharing, example
from percepnet_cli.training.data.teachers import teach
from percepnet_cli.version import __version__

SEQUENCES_PER_SHARD = 64


@dataclass(frozen=True)
class Plan:
    """All that decides the content of every shard."""

    speech: tuple[Recording, ...]
    noise: tuple[Recording, ...]
    rirs: tuple[Recording, ...]
    split: str
    seed: int
    recipe: Recipe = RECIPE
    teachers: tuple[str, ...] = ()
    """Commands, see ``training/teachers.py``."""
    audio_cache: str | None = None
    """Folder of decoded recordings, see ``Library``; decides on nothing."""

    def __hash__(self) -> int:
        """Return a hash of the plan's outline: that of all recordings takes as long as half a mixture."""
        return hash((len(self.speech), len(self.noise), len(self.rirs), self.split, self.seed, self.recipe))

    def description(self) -> dict[str, Any]:
        """Return what goes into the metadata of a shard; equal plans describe themselves equally."""
        distillation = {"teachers": list(self.teachers)} if self.teachers else {}
        return distillation | {
            "percepnet": __version__,
            "sample_rate": SAMPLE_RATE,
            "hop": HOP_SIZE,
            "lookahead_hops": LOOKAHEAD_HOPS,
            "features": NUM_FEATURES,
            "band_tips": list(BAND_CENTERS),
            "split": self.split,
            "seed": self.seed,
            "recipe": json.loads(json.dumps(asdict(self.recipe))),
            "recordings": {
                name: {"count": len(group), "sha256": _digest(group)}
                for name, group in (("speech", self.speech), ("noise", self.noise), ("rir", self.rirs))
            },
        }


def _digest(recordings: Sequence[Recording]) -> str:
    """Return a hash of the names of recordings and of what their tables say, not of where they lie."""
    common = os.path.commonpath([os.path.dirname(r.path) for r in recordings]) if recordings else ""
    rows = [
        (os.path.relpath(r.path, common), r.group, r.bandwidth_hz, r.seconds, r.collection, r.kind) for r in recordings
    ]
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def make_plan(
    speech: Sequence[Path | str],
    noise: Sequence[Path | str],
    rir: Sequence[Path | str],
    split: str,
    seed: int,
    recipe: Recipe,
    teachers: Sequence[str] = (),
    audio_cache: str | None = None,
    music: Sequence[Path | str] = (),
) -> Plan:
    """Collect the recordings of folders and lists and keep those of a split.

    audio_cache: see ``Library``. music: noise that is played by itself, of the kind ``music``.

    Raises ValueError if a source holds nothing, or nothing is left of the speech or the noise.
    """
    groups = {}
    for name, sources in (("speech", speech), ("noise", noise), ("rir", rir)):
        found = [recording for source in sources for recording in find(source)]
        if name == "noise":
            found += [replace(recording, kind="music") for source in music for recording in find(source)]
        if name != "speech":  # whole files are held out, not the folders that hold them
            found = [replace(r, group=r.path.rsplit(os.sep, 1)[-1]) for r in found]
        groups[name] = tuple(select_split(found, split))
        if not groups[name] and (found or name == "speech"):
            raise ValueError(f"none of the {len(found)} {name} recordings belongs to the split '{split}'")
    return Plan(groups["speech"], groups["noise"], groups["rir"], split, seed, recipe, tuple(teachers), audio_cache)


def is_whole(place: str, plan: Plan) -> bool:
    """Return whether a shard of this very plan is there. Raises ValueError for a shard of another plan."""
    if not remote.exists(place):
        return False
    try:
        found = _read_description(place)
    except (SafetensorError, ValueError, TypeError, AttributeError, OSError):
        return False
    expected = plan.description()
    differs = [key for key, value in expected.items() if found.get(key) != value]
    if differs:
        raise ValueError(
            f"{place} was made from other settings ({', '.join(differs)}): choose another folder or remove it"
        )
    return True


def _read_description(place: str) -> dict[str, Any]:
    """Return what a shard says of itself. Raises SafetensorError, ValueError, AttributeError or OSError."""
    if not remote.is_url(place):
        with safe_open(remote.local(place), "numpy") as file:
            metadata = file.metadata()
    else:  # a store shows whole objects only: the header will do
        length, size = int.from_bytes(remote.read_start(place, 8), "little"), remote.size(place)
        metadata = untrusted.parse(remote.read_start(place, 8 + min(length, size))[8:]).get("__metadata__")
    return shard_file.read_description(metadata)


@lru_cache(maxsize=1)
def _description(plan: Plan) -> dict[str, Any]:
    """Return the description of a plan, made once: it takes as long as some mixtures."""
    return plan.description()


@lru_cache(maxsize=1)
def _sources(plan: Plan) -> Sources:
    """Return the recordings of a plan, kept by each process from shard to shard."""
    return Sources(plan.speech, plan.noise, plan.rirs, plan.recipe, Library(folder=plan.audio_cache))


def _mixtures(plan: Plan, index: int) -> Iterator[Mixture]:
    """Draw the mixtures of a shard, each when it is asked for: together they take 200 MB."""
    sources = _sources(plan)
    # seeded by number, so that a shard does not depend on who made it, or when
    pool = SourcePool(sources, plan.recipe, plan.seed, index)
    for sequence in range(SEQUENCES_PER_SHARD):
        rng = np.random.default_rng((plan.seed, index, sequence))
        voice = pool.voice(sequence // plan.recipe.reuse)
        noise = pool.noise(sequence % (SEQUENCES_PER_SHARD // plan.recipe.reuse))
        yield draw(sources, rng, plan.recipe, voice, noise)


def _make_shard(plan: Plan, task: tuple[int, str], progress: object = None) -> Faults:
    """Make a shard (number, path or URL); return what was wrong with recordings that this process has read so far."""
    index, place = task
    mixtures: Iterable[Mixture] = _mixtures(plan, index)
    results: list[list[np.ndarray]] = []
    if plan.teachers:  # they hear all of them at once
        mixtures = list(mixtures)
        results = teach(plan.teachers, [mixture.noisy for mixture in mixtures])
    rows: dict[str, list[np.ndarray]] = {}
    sharing = Sharing()
    for mixture, *enhanced in zip(mixtures, *results, strict=True):
        made = example(mixture, plan.recipe.attenuation, enhanced, sharing.analyze(mixture))
        for name, array in vars(made).items():
            if array is not None:
                rows.setdefault(name, []).append(array)
    arrays = {name: np.stack(parts) for name, parts in rows.items()}
    with remote.stored(place) as path:
        shard_file.write_shard(path, arrays, _description(plan))
    return _sources(plan).library.faults


def generate(
    plan: Plan,
    folder: Path | str,
    hours: float,
    jobs: int,
    faults: Faults | None = None,
    scheduler: str | None = None,
) -> Iterator[tuple[float, float]]:
    """Make the shards that are missing. Yields (hours of audio done, hours wanted) as they complete.

    folder: made if needed, path or URL. hours: length of all mixtures together; jobs: processes; faults: gets what
    is wrong with recordings that were used or left out; scheduler: address of a Dask scheduler that does it instead.
    A shard appears whole or not at all. Raises ValueError if the folder holds shards of another plan; PercepnetError
    if the folder cannot be made, or a shard, a store or a cluster fails.
    """
    folder = str(folder)
    if not remote.is_url(folder):
        make_folder(Path(remote.local(folder)))

    # What is to be there, and what of it is missing
    shard_hours = SEQUENCES_PER_SHARD * plan.recipe.seconds / 3600
    count = max(1, round(hours / shard_hours))
    places = [remote.join(folder, shard_file.shard_path("", index).name) for index in range(count)]
    missing = [(index, places[index]) for index in range(count) if not is_whole(places[index], plan)]
    done = count - len(missing)
    yield done * shard_hours, count * shard_hours
    if not missing:
        return

    with closing(runner.run(_make_shard, plan, missing, jobs, scheduler, label=lambda task: task[1])) as results:
        for made in results:
            if isinstance(made, Failed):
                again = "" if made.expected else "; the same command goes on"
                raise PercepnetError(f"{made.reason}{again}")
            if faults is not None:
                faults.add(made.result)
            done += 1
            yield done * shard_hours, count * shard_hours
