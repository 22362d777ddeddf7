"""Which recording is drawn, and how often: no collection, speaker or folder floods the mixtures.

A collection is what was published together (column ``collection`` of a table; without it all recordings are one).
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from pathlib import PurePath
from typing import Any

import numpy as np

from percepnet_cli.errors import AudioError
from percepnet_cli.training.data.corpus import Library, Recording

NARROW_HZ = 8200.0
"""Recordings that reach no farther count as narrow: those of telephones and of 16 kHz."""
USUAL_SPEECH_S = 4.0
USUAL_NOISE_S = 5.0
"""Taken for the length of a recording that no table gives."""
LONGEST_NOISE_S = 30.0
"""Length beyond which a noise is drawn no more often."""
LONGEST_SPEAKER_S = 400.0
"""Length beyond which a speaker is drawn no more often."""
TRIES = 50
"""Recordings of one speaker or folder that are tried before another is taken, if they cannot be read."""


class Draw:
    """Recordings in groups (the speakers of speech, the folders of noise), each with its chance.

    Parameters
    ----------
    recordings
        What there is.
    groups
        The group of each; groups are kept in their sorted order.
    chance
        How often each is drawn, float64 [recordings], 0 or more; need not sum to 1.
    """

    def __init__(self, recordings: Sequence[Recording], groups: Sequence[Hashable], chance: np.ndarray) -> None:
        members: dict[Hashable, list[int]] = {}
        for index, group in enumerate(groups):
            members.setdefault(group, []).append(index)
        names = sorted(members, key=repr)
        self.recordings = recordings
        self.chance = chance / chance.sum() if len(chance) else chance
        """float64 [recordings], sums to 1."""
        self.groups = [[recordings[index] for index in members[name]] for name in names]
        self._reach = np.cumsum([self.chance[members[name]].sum() for name in names])
        self._reach_within = [np.cumsum(self.chance[members[name]]) for name in names]

    def __len__(self) -> int:
        return len(self.groups)

    def group(self, rng: np.random.Generator) -> int:
        """Draw a group; return its number."""
        return _pick(self._reach, rng)

    def several(self, count: int, rng: np.random.Generator) -> list[int]:
        """Draw different groups, as far as there are enough; return their numbers."""
        drawn: list[int] = []
        for _ in range(TRIES * count):
            group = self.group(rng)
            if group not in drawn or len(drawn) >= len(self.groups):
                drawn.append(group)
            if len(drawn) == count:
                return drawn
        return drawn + [self.group(rng) for _ in range(count - len(drawn))]

    def within(self, group: int, rng: np.random.Generator) -> Recording:
        """Draw a recording of a group."""
        return self.groups[group][_pick(self._reach_within[group], rng)]

    def readable(
        self, library: Library, rng: np.random.Generator, group: int | None = None, size: int | None = None
    ) -> tuple[Recording, np.ndarray, int]:
        """Draw until there is sound; what can be read never depends on what was read before.

        group: its number, if it is given; should none of it be readable, another is drawn. size: samples that are
        wanted at most. Returns the recording, its samples, float32 [n] with n > 0, and its group. Raises
        AudioError if nothing was found.
        """
        for attempt in range(TRIES * TRIES):
            if group is None or (attempt and attempt % TRIES == 0):
                group = self.group(rng)
            recording = self.within(group, rng)
            samples = library.samples(recording, size, rng)
            if len(samples):
                return recording, samples, group
        raise AudioError(f"none of {len(self.recordings)} recordings can be read, {recording.path} for one")


def _pick(reach: np.ndarray, rng: np.random.Generator) -> int:
    """Draw a number by its chance. reach: float64 [n], sums of the chances so far."""
    return min(int(np.searchsorted(reach, rng.random() * reach[-1], side="right")), len(reach) - 1)


def _shares(keys: Sequence[Hashable], weights: Mapping[Any, float]) -> np.ndarray:
    """Return the chance of each key's group, given the groups' weights. float64 [keys]."""
    total = sum(weights.values())
    return np.array([weights[key] / total for key in keys])


def speech_draw(recordings: Sequence[Recording], words_share: float, narrow_share: float) -> Draw:
    """Draw a collection, then a speaker of it, then one of the speaker's recordings.

    A collection weighs as much as the third root of its length times its number of speakers: neither one voice with
    many hours nor many with one word each prevails. A speaker weighs as much as the root of the length, of 400 s at
    most. Then single words, and narrow recordings, are drawn less often, so
    that they are at most a share of what is drawn each. (A share of 1 lets them be.)
    """
    speakers = [(r.collection, r.group) for r in recordings]
    counts: dict[tuple[str, str], int] = {}
    lengths: dict[tuple[str, str], float] = {}
    for speaker, recording in zip(speakers, recordings, strict=True):
        counts[speaker] = counts.get(speaker, 0) + 1
        lengths[speaker] = lengths.get(speaker, 0.0) + (recording.seconds or USUAL_SPEECH_S)

    collections: dict[str, float] = {}
    for name in {r.collection for r in recordings}:
        voices = [length for (collection, _), length in lengths.items() if collection == name]
        collections[name] = float(np.cbrt(sum(voices) * len(voices)))
    by_speaker = {speaker: float(np.sqrt(min(length, LONGEST_SPEAKER_S))) for speaker, length in lengths.items()}
    within: dict[str, float] = {}
    for (name, _), weight in by_speaker.items():
        within[name] = within.get(name, 0.0) + weight

    chance = _shares([r.collection for r in recordings], collections) if recordings else np.zeros(0)
    chance *= [by_speaker[s] / within[s[0]] / counts[s] for s in speakers]
    words = np.array([r.kind == "words" for r in recordings], bool)
    narrow = np.array([r.bandwidth_hz is not None and r.bandwidth_hz <= NARROW_HZ for r in recordings], bool)
    return Draw(recordings, speakers, cap(chance, ((words, words_share), (narrow, narrow_share))))


def cap(chance: np.ndarray, limits: Sequence[tuple[np.ndarray, float]]) -> np.ndarray:
    """Lower the chances of some, so that each set has at most its share of the whole.

    chance: float64 [n]; limits: which belong to a set, bool [n], and the set's share. Sets may overlap. Where nothing
    lies outside of all limited sets, there is nothing to prefer: the chances stay. Returns float64 [n], summing to 1.
    """
    if not len(chance):
        return chance
    limits = [(members, share) for members, share in limits if share < 1]
    free = np.ones(len(chance), bool)
    for members, _ in limits:
        free &= ~members
    chance = chance / chance.sum()
    if not chance[free].sum() > 0:
        return chance

    # each step can raise the share of another set, by less and less
    for _ in range(100):
        for members, share in limits:
            inside = chance[members].sum()
            outside = chance.sum() - inside
            if inside > share * chance.sum():
                chance = np.where(members, chance * (share * outside / (1 - share) / inside), chance)
    return chance / chance.sum()


def noise_draw(recordings: Sequence[Recording]) -> Draw:
    """Draw a collection, then a folder of it, then a recording of the folder, each by the root of its length.

    Recordings count as 30 s at most, and as 5 s if no table says how long they are.
    """
    seconds = np.array([min(r.seconds or USUAL_NOISE_S, LONGEST_NOISE_S) for r in recordings])
    folders = [(r.collection, str(PurePath(r.path).parent)) for r in recordings]
    collections: dict[str, float] = {}
    lengths: dict[tuple[str, str], float] = {}
    roots: dict[tuple[str, str], float] = {}
    for folder, length in zip(folders, seconds, strict=True):
        collections[folder[0]] = collections.get(folder[0], 0.0) + length
        lengths[folder] = lengths.get(folder, 0.0) + length
        roots[folder] = roots.get(folder, 0.0) + np.sqrt(length)

    by_collection = {name: float(np.sqrt(length)) for name, length in collections.items()}
    by_folder = {folder: float(np.sqrt(length)) for folder, length in lengths.items()}
    within: dict[str, float] = {}
    for (name, _), weight in by_folder.items():
        within[name] = within.get(name, 0.0) + weight
    chance = _shares([r.collection for r in recordings], by_collection) if recordings else np.zeros(0)
    chance *= [by_folder[f] / within[f[0]] for f in folders]
    chance *= [np.sqrt(length) / roots[f] for f, length in zip(folders, seconds, strict=True)]
    return Draw(recordings, folders, chance)
