"""Measure the recordings, keep what is fit for training, write the tables; or lay out a corpus by its tables.

    python models/corpus/measure.py OUT --shared DIR           # measure all, write the tables here and into OUT
    python models/corpus/measure.py OUT --shared DIR --link    # take the tables as they are

OUT holds debian/ and repositories/ (fetch.py) and rooms/ (rooms.py). Afterwards it also holds shared/ (a link to
DIR), pieces/ (30 s each of long noises and of music) and speech.tsv, noise.tsv, music.tsv, rooms.tsv, held_out.tsv,
whose paths start at OUT. Measures are kept in OUT/measures.tsv, so another choice takes seconds.

What voices.tsv and the rows of sources.tsv with another split than ``train`` name goes into held_out.tsv alone: the
recordings of pairs.py. What duplicates.tsv names goes nowhere.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import re
import shutil
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import soundfile as sf
from fetch import DECODED, folder_of, matching, read_sources
from tqdm import tqdm

from percepnet_cli.audio.whole import read_mono
from percepnet_cli.constants import HOP_SIZE, LOOKAHEAD_HOPS, SAMPLE_RATE
from percepnet_cli.errors import AudioError
from percepnet_cli.signal_path import analyze_signal
from percepnet_cli.training.data.corpus import BANDWIDTH_RANGE_DB

HERE = Path(__file__).resolve().parent
VOICES = HERE / "voices.tsv"
DUPLICATES = HERE / "duplicates.tsv"
KINDS = ("speech", "noise", "music")
COLUMNS = ["path", "collection", "speaker", "kind", "license", "seconds", "bandwidth_hz", "p95_p5_db"]
HELD_OUT_COLUMNS = ["split", "use", "path", "collection", "speaker", "seconds", "bandwidth_hz", "p95_p5_db"]

HELD_OUT = re.compile(
    r"klettres:(en_GB|uk)$|hedgewars:(Singer|British|Classic|Default|HillBilly|Mobster|Pirate|Robot|Russian|Surfer)$"
    r"|gcompris:(el:|it:Gabriella Agrusti|hu:somlai|pt_BR:Marcos|af:)|vctk:|vx:"
    r"|libri:(1334|2836|3235|5456|5778|6209|7113|7517|8095|831)$|libritts:\?"
)
"""Speakers of dev36 and voices that may be the same persons: in no table. Those of pairs.py: voices.tsv."""

SHARED_LICENSE = "licence"
"""The column of the tables in SHARED, which are older than this spelling."""
LICENSE_NAMES = {
    "http://www.art4apps.org/ Creative Common License BY-SA": "CC BY-SA (art4apps.org)",
    "Smart4Kids.com Creative Common License BY-SA": "CC BY-SA (Smart4Kids.com)",
    "per clip CC0 / CC BY / Sampling+ (karolpiczak/ESC-10)": "CC0 / CC BY / Sampling+ by clip",
    "Apache-2.0 (repo licence; recordings not named)": "Apache-2.0 (repository)",
    "BSD-like CMU (an4/LICENSE)": "BSD-like (CMU)",
}

LOWEST_RATE_HZ = 8000
"""Below it nothing is read by ``train-targets`` either."""
SPEAKER_MINUTES = 10.0
SHARED_LEFT = {"kerstin"}
"""Shared collections that sources.tsv has in full, before their encoding."""
SHARED_UTTERANCES = {"audio_cmn": "words", "nato_spell": "words", "google_speakerid": "words", "gcompris": ""}
WORD_S = 2.0
"""Of collections that hold both, clips from here on are sentences."""

PIECE_S = 30.0
LONG_S = 45.0
"""Longer noises are cut: a piece is read quickly, and a long ambience counts for more than a click."""
PIECES = {"noise": 8, "music": 1}

SPEECH_SECONDS = 0.4
SPEECH_P95_P5_DB = 30.0
SPEECH_DEPTH_DB = 26.0
TIGHT_P95_P5_DB = 18.0
TIGHT_DEPTH_DB = 30.0
"""Words cut tightly hold no pause to tell the floor from; more depth is asked of them instead."""
SPEECH_CLIPPED = 0.002
NOISE_LOUDEST_DBFS = -60.0
NOISE_SPEECHLIKE = 0.2
"""95 % of speech lies above 0.26, but so do engines, drums and animals: see ``Candidate.pitched``."""
SHORT_S = 1.2
SHORT_PER_FOLDER = 40
SHORT_PER_SOURCE = 70
"""Short sounds are drawn in runs from their folder, so a few stand for many."""


@dataclass(frozen=True)
class Candidate:
    """A recording that might be taken."""

    path: str
    kind: str
    source: str
    speaker: str
    license: str
    pitched: bool = False
    """Known by its name to have a pitch without being a voice: engines, animals, drums."""
    split: str = "train"
    utterances: str = ""
    """``words``, ``sentences``, or neither where a collection holds both."""
    minutes: float = SPEAKER_MINUTES
    """At most this of the speaker; more where a collection does not tell its many speakers apart."""


@dataclass(frozen=True)
class Measures:
    """What is measured of one recording; all levels in dB, relative to full scale unless a difference."""

    path: str
    seconds: float = 0.0
    active_s: float = 0.0
    """Frames of 20 ms within 30 dB of the 95th percentile."""
    bandwidth_hz: float = 0.0
    p95: float = -120.0
    p5: float = -120.0
    depth: float = 0.0
    """Range between the 95th and the 10th percentile within active frames, mean over bands up to the bandwidth:
    what fills the gaps between harmonics and syllables. Gated pauses and tight cuts do not hide it."""
    clipped: float = 0.0
    """Share of samples within 3 % of the peak; below -1 dBFS less a third of those within 10 %."""
    speechlike: float = 0.0
    """Share of active hops with a strong pitch between 75 and 450 Hz that moves as in speech; of noises that are not
    known to have a pitch."""


def main() -> None:
    """Measure and choose, or lay out."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--shared", type=Path, required=True, help="folder with speech.tsv, noise.tsv and rooms.tsv")
    parser.add_argument("--link", action="store_true", help="do not measure: lay out what the tables here name")
    arguments = parser.parse_args()
    out: Path = arguments.out.resolve()
    link = out / "shared"
    if not link.exists():
        link.symlink_to(arguments.shared.resolve(), target_is_directory=True)

    if arguments.link:
        lay_out(out)
        return

    found = list(shared_candidates(out)) + list(source_candidates(out))
    found = apart(piece for candidate in tqdm(found, "cut", unit="file") for piece in cut(out, candidate))
    measured = measure_all(out, found)
    held_out = [c for c in found if c.split != "train"]
    found = [c for c in found if c.split == "train"]
    speech, why = choose_speech([c for c in found if c.kind == "speech"], measured)
    noise, why_noise = choose_noise([c for c in found if c.kind == "noise"], measured)
    music, why_music = choose_noise([c for c in found if c.kind == "music"], measured)
    write_tables(out, {"speech": speech, "noise": noise, "music": music}, measured)
    write_held_out(out, held_out, measured)
    for name, reasons in (("speech", why), ("noise", why_noise), ("music", why_music)):
        print(name, "left out:", dict(reasons.most_common()))


def read_table(path: Path) -> list[dict[str, str]]:
    """Return the rows of a table."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def shared_candidates(out: Path) -> Iterable[Candidate]:
    """List the shared recordings."""
    for kind in ("speech", "noise"):
        for row in read_table(out / "shared" / f"{kind}.tsv"):
            if row["source"] in SHARED_LEFT:
                continue
            speaker = re.sub(r"\s*[<(].*|\s+- \S+@.*", "", row.get("speaker", ""))  # no addresses
            license = LICENSE_NAMES.get(row[SHARED_LICENSE], row[SHARED_LICENSE])
            utterances = SHARED_UTTERANCES.get(row["source"], "sentences")
            yield Candidate("shared/" + row["path"], kind, row["source"], speaker, license, True, "train", utterances)


def source_candidates(out: Path) -> Iterable[Candidate]:
    """List what the patterns of sources.tsv match."""
    for row in read_sources():
        folder = folder_of(out, row["package"])
        if not folder.is_dir():
            sys.exit(f"{folder} is missing: run fetch.py")

        places = {}
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            name = path.relative_to(folder).as_posix()
            decoded = path.suffix == ".flac" and Path(path.stem).suffix.lower() in DECODED
            places[name.removesuffix(".flac") if decoded else name] = path.relative_to(out).as_posix()

        for name, match in matching(row, places):
            yield Candidate(
                places[name],
                row["kind"],
                row["package"],
                match.expand(row["speaker"]),
                row["license"],
                bool(row["pitched"] and re.search(row["pitched"], name, re.IGNORECASE)),
                row["split"],
                row["utterances"],
                float(row["minutes"] or SPEAKER_MINUTES),
            )


def apart(found: Iterable[Candidate]) -> list[Candidate]:
    """Give the recordings of the voices of voices.tsv to their split, leave out what duplicates.tsv names."""
    splits = {row["speaker"]: row["split"] for row in read_table(VOICES)}
    twice = {whole(row["path"]) for row in read_table(DUPLICATES)}
    kept = [c for c in found if whole(c.path) not in twice]
    return [replace(c, split=splits.get(c.speaker, c.split)) if c.speaker else c for c in kept]


def whole(path: str) -> str:
    """Return what all pieces of one file have in common; of another recording, its path."""
    return path.rsplit("/", 2)[0] if path.startswith("pieces/") else path


def cut(out: Path, candidate: Candidate) -> list[Candidate]:
    """Cut a long noise into pieces that are spread over it, decode what libsndfile cannot read; return what to use.

    The pieces keep the file's name, each in a folder of its own: recordings are split by file name, so all
    pieces fall into the same split.
    """
    if candidate.kind not in PIECES:
        return [candidate]
    source = out / candidate.path
    try:
        with sf.SoundFile(source) as file:
            length_s = file.frames / file.samplerate
    except sf.LibsndfileError:
        return []
    if length_s <= LONG_S and readable(source):
        return [candidate]
    count = max(1, min(PIECES[candidate.kind], int(length_s // PIECE_S)))
    found = []
    for index in range(count):
        place = f"pieces/{candidate.path}/{index}/{source.stem}.flac"
        start_s = max(0.0, (index + 0.5) * length_s / count - PIECE_S / 2)
        cut_piece(source, out / place, start_s)
        found.append(replace(candidate, path=place))
    return found


def readable(path: Path) -> bool:
    """Return whether libsndfile can decode an Opus file; 1.2.2 stops at the large packets of loud noises."""
    try:
        return path.suffix != ".opus" or len(sf.read(path)[0]) > 0
    except sf.LibsndfileError:
        return False


def cut_piece(source: Path, target: Path, start_s: float) -> None:
    """Write a piece as mono FLAC, unless it is there."""
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_suffix(".part")
    if source.suffix == ".opus":  # nor does libsndfile find every place in one
        place = ["-ss", f"{start_s:.3f}", "-t", f"{PIECE_S}", "-i", source]
        command = ["ffmpeg", "-nostdin", "-loglevel", "error", "-y", *place, "-ac", "1", "-f", "flac", partial]
        subprocess.run(command, check=True)
    else:
        with sf.SoundFile(source) as file:
            rate = file.samplerate
            file.seek(int(start_s * rate))
            samples = file.read(int(PIECE_S * rate), dtype="float32", always_2d=True).mean(axis=1)
        samples /= max(1.0, float(np.abs(samples).max(initial=0)))
        sf.write(partial, samples, rate, subtype="PCM_16", format="FLAC")
    partial.replace(target)


def measure_all(out: Path, found: Iterable[Candidate]) -> dict[str, Measures]:
    """Measure what has not been measured, keep it in a file, return everything by path."""
    store = out / "measures.tsv"
    names = [field.name for field in fields(Measures)]
    measured: dict[str, Measures] = {}
    if store.exists():
        for row in read_table(store):
            measured[row["path"]] = Measures(row["path"], *(float(row[name]) for name in names[1:]))
    else:
        store.write_text("\t".join(names) + "\n", encoding="utf-8")
    missing = [c for c in found if c.path not in measured]
    with store.open("a", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        for candidate in tqdm(missing, "measure", unit="file", disable=not missing):
            one = measure(out, candidate)
            measured[one.path] = one
            writer.writerow([f"{v:.5g}" if isinstance(v, float) else v for v in asdict(one).values()])
            file.flush()
    return measured


def measure(out: Path, candidate: Candidate) -> Measures:
    """Measure one recording at its own rate; one that cannot be read has no seconds."""
    try:
        samples, rate = sf.read(out / candidate.path, dtype="float32", always_2d=True)
    except sf.LibsndfileError:
        return Measures(candidate.path)

    if rate < LOWEST_RATE_HZ:
        return Measures(candidate.path)
    mono = samples.mean(axis=1)
    size = round(rate / 50)
    count = len(mono) // size
    peak = float(np.abs(mono).max(initial=0))
    if count < 4 or peak == 0:
        return Measures(candidate.path, len(mono) / rate)
    frames = mono[: count * size].reshape(count, size)
    energy_db = 10 * np.log10(np.mean(np.square(frames), axis=1) + 1e-12)
    p95, p5 = np.percentile(energy_db, (95, 5))
    active = energy_db > p95 - 30
    power = np.square(np.abs(np.fft.rfft(frames * np.hanning(size).astype(np.float32), axis=1)))
    bandwidth = bandwidth_hz(power, rate)
    loud = np.abs(mono)
    near, nearer = np.mean(loud > 0.9 * peak), np.mean(loud > 0.97 * peak)
    clipped = nearer if peak > 0.89 else max(0.0, nearer - near / 3)
    return Measures(
        candidate.path,
        len(mono) / rate,
        float(active.sum() / 50),
        bandwidth,
        float(p95),
        float(p5),
        depth_db(power[energy_db > p95 - 40], bandwidth),
        float(clipped),
        speechlike(out / candidate.path) if candidate.kind == "noise" and not candidate.pitched else 0.0,
    )


def bandwidth_hz(power: np.ndarray, rate: int) -> float:
    """Return where the content ends, Hz: ``corpus.measure_bandwidth`` at any rate. power: [frames, bins of 50 Hz]."""
    total = power.sum(axis=1)
    mean = power[total >= np.median(total)].mean(axis=0)
    smooth = np.convolve(mean, np.full(10, 0.1), "same")
    reach = np.flatnonzero(smooth > smooth.max() * 10 ** (-BANDWIDTH_RANGE_DB / 10))
    return float(min(reach[-1] * 50, rate / 2, SAMPLE_RATE / 2)) if len(reach) else 0.0


def depth_db(power: np.ndarray, bandwidth: float) -> float:
    """Return the mean range of the band levels, dB. power: [active frames, bins of 50 Hz]."""
    top = min(bandwidth, 12000) * 0.8
    edges = np.unique(np.geomspace(150, max(top, 1000), 13).astype(int) // 50)
    if len(power) < 8:
        return 0.0
    levels = np.stack([power[:, a:b].sum(axis=1) for a, b in pairwise(edges)])
    high, low = np.percentile(10 * np.log10(levels + 1e-14), (95, 10), axis=1)
    return float(np.mean(high - low))


def speechlike(path: Path) -> float:
    """Return the share of active hops in the first 10 s whose pitch is strong and moves as in speech."""
    try:
        samples = read_mono(path)[: 10 * SAMPLE_RATE]
    except AudioError:
        return 0.0

    hops = len(samples) // HOP_SIZE
    if hops < 10:
        return 0.0
    samples = samples[: hops * HOP_SIZE]
    level = float(np.sqrt(np.square(samples.reshape(hops, HOP_SIZE)).mean(axis=1).max()))
    if level == 0:
        return 0.0

    # Windows that lie in the recording, with what they look ahead to
    seen = analyze_signal(samples * np.float32(0.1 / level))
    inside = slice(hops - LOOKAHEAD_HOPS)
    correlation, period, energy = seen.correlation[inside], seen.period[inside], seen.E[inside].sum(axis=1)

    active = energy > energy.max() * 1e-3
    pitch = np.log2(SAMPLE_RATE / period)
    voiced = (correlation > 0.6) & (pitch > np.log2(75)) & (pitch < np.log2(450)) & active
    step = np.abs(np.diff(pitch, prepend=pitch[0]))
    glide = voiced & np.roll(voiced, 1) & (step > 0.002) & (step < 0.08)  # neither steady tones nor jumps
    return float(glide.sum() / max(active.sum(), 20))


def order(path: str) -> str:
    """Return a key that shuffles the same way everywhere."""
    return hashlib.sha256(path.encode()).hexdigest()


def choose_speech(found: list[Candidate], measured: dict[str, Measures]) -> tuple[list[Candidate], Counter[str]]:
    """Keep clean recordings, the deepest first until a speaker has his minutes. Returns them and what was left out."""
    why: Counter[str] = Counter()
    speakers: dict[str, list[Candidate]] = defaultdict(list)
    for candidate in found:
        reason = speech_fault(candidate, measured[candidate.path])
        if reason:
            why[reason] += 1
        else:
            speakers[candidate.speaker].append(candidate)
    kept = []
    for candidates in speakers.values():
        seconds = 0.0
        for candidate in sorted(candidates, key=lambda c: -measured[c.path].depth):
            if seconds > 60 * candidate.minutes:
                why["speaker has enough"] += 1
                continue
            seconds += measured[candidate.path].seconds
            kept.append(candidate)
    return sorted(kept, key=lambda c: c.path), why


def speech_fault(candidate: Candidate, one: Measures) -> str:
    """Return why a recording is not fit as a target, or an empty string."""
    if HELD_OUT.match(candidate.speaker):
        return "held out"
    if candidate.license == "unlisted":
        return "no license named"
    if one.seconds == 0:
        return "damaged"
    if one.active_s < SPEECH_SECONDS:
        return "short"
    if one.clipped > SPEECH_CLIPPED:
        return "clipped"
    if one.depth < SPEECH_DEPTH_DB:
        return "noise under the voice"
    tight = one.active_s > 0.8 * one.seconds and one.depth > TIGHT_DEPTH_DB
    if one.p95 - one.p5 < (TIGHT_P95_P5_DB if tight else SPEECH_P95_P5_DB):
        return "noisy pauses"
    return ""


def choose_noise(found: list[Candidate], measured: dict[str, Measures]) -> tuple[list[Candidate], Counter[str]]:
    """Keep what sounds and holds no voice; of short sounds some from each folder."""
    why: Counter[str] = Counter()
    kept = []
    short: Counter[str] = Counter()
    for candidate in sorted(found, key=lambda c: order(c.path)):
        one = measured[candidate.path]
        folder = candidate.path.rpartition("/")[0]
        if one.seconds < 0.05 or one.p95 < NOISE_LOUDEST_DBFS:
            why["silent or damaged"] += 1
        elif one.speechlike > NOISE_SPEECHLIKE and not candidate.pitched:
            why["like speech"] += 1
        elif one.seconds < SHORT_S and (
            short[folder] >= SHORT_PER_FOLDER or short[candidate.source] >= SHORT_PER_SOURCE
        ):
            why["enough short ones"] += 1
        else:
            if one.seconds < SHORT_S:
                short.update((folder, candidate.source))
            kept.append(candidate)
    return sorted(kept, key=lambda c: c.path), why


def write_tables(out: Path, chosen: dict[str, list[Candidate]], measured: dict[str, Measures]) -> None:
    """Write the tables beside this file and into OUT."""
    for name, candidates in chosen.items():
        rows = [row_of(candidate, measured[candidate.path]) for candidate in candidates]
        write_table(out, name, [c for c in COLUMNS if name == "speech" or c not in ("speaker", "kind")], rows)
    rooms = []
    for place, folder, source, license in (
        ("shared/rooms.tsv", "shared", "Voxengo", "royalty-free for any use"),
        ("rooms/rooms.tsv", "rooms", "simulated", "the project's"),
    ):
        for row in read_table(out / place):
            path = f"{folder}/{row['path']}"
            rooms.append({"path": path, "collection": source, "license": license, "rt60_s": row["rt60_s"]})
    write_table(out, "rooms", ["path", "collection", "license", "rt60_s"], rooms)


def row_of(candidate: Candidate, one: Measures) -> dict[str, str]:
    """Return the row of a table."""
    return {
        "path": candidate.path,
        "collection": candidate.source,
        "speaker": candidate.speaker,
        "kind": candidate.utterances or ("words" if one.seconds < WORD_S else "sentences"),
        "license": candidate.license,
        "seconds": f"{one.seconds:.1f}",
        "bandwidth_hz": f"{one.bandwidth_hz:.0f}",
        "p95_p5_db": f"{one.p95 - one.p5:.1f}",
    }


def write_held_out(out: Path, candidates: list[Candidate], measured: dict[str, Measures]) -> None:
    """Write the table of what the pairs for choosing and closing are made of, by the thresholds of training."""
    rows = []
    for candidate in sorted(candidates, key=lambda c: (c.split, c.kind, c.path)):
        one = measured[candidate.path]
        fault = speech_fault(candidate, one) if candidate.kind == "speech" else one.p95 < NOISE_LOUDEST_DBFS
        if not fault and one.seconds >= 0.05:
            rows.append(row_of(candidate, one) | {"split": candidate.split, "use": candidate.kind})
    write_table(out, "held_out", HELD_OUT_COLUMNS, rows)


def write_table(out: Path, name: str, columns: list[str], rows: list[dict[str, str]]) -> None:
    """Write one table, twice."""
    path = HERE / f"{name}.tsv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, delimiter="\t", lineterminator="\n", extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    shutil.copyfile(path, out / path.name)
    print(f"{path.name}: {len(rows)} recordings, {sum(float(r.get('seconds', 0)) for r in rows) / 3600:.2f} h")


def lay_out(out: Path) -> None:
    """Cut the pieces that the tables name, copy the tables, tell what is missing."""
    missing = 0
    for name in (*KINDS, "held_out", "rooms"):
        table = HERE / f"{name}.tsv"
        for row in tqdm(read_table(table), name, unit="file"):
            if row["path"].startswith("pieces/"):
                source = Path(row["path"]).relative_to("pieces").parents[1].as_posix()
                if (out / source).exists():
                    cut(out, Candidate(source, row.get("use", name), row["collection"], "", ""))
            missing += not (out / row["path"]).exists()
        shutil.copyfile(table, out / table.name)
    if missing:
        sys.exit(f"{missing} recordings are missing")


if __name__ == "__main__":
    main()
