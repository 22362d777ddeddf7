"""Make the pairs for choosing and for closing: 48 each, of voices and noises that no training sees.

    python models/corpus/rooms.py OUT/rooms_held_out --count 24 --seed 20241
    python models/corpus/pairs.py OUT              # make them, compare them with pairs.tsv
    python models/corpus/pairs.py OUT --write      # make them anew and write pairs.tsv

OUT is as measure.py leaves it. The pairs are OUT/choosing/{noisy,clean}/*.flac and OUT/closing/{noisy,clean}/*.flac,
8 s each, 48 kHz, 16 bits, mono. Everything is drawn from one seed. The halves share no voice and no recording; of the
collections they share the babies (other phones) and the music (other tracks).

Levels are those of active frames: mean power of the frames of 20 ms within 30 dB of the loudest. The SNR is that of
the speech, with its reverberation, to the noise without the added transients. With a room the target is the speech
through the first 20 ms of the response.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import re
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
import soundfile as sf

from percepnet_cli.audio.whole import read_mono
from percepnet_cli.constants import SAMPLE_RATE

HERE = Path(__file__).resolve().parent
PAIRS = HERE / "pairs.tsv"
SEED = 18
SPLITS = ("choosing", "closing")
LENGTH = 8 * SAMPLE_RATE
FRAME = SAMPLE_RATE // 50

COUNTS = {
    "typing": 5,
    "fan": 3,
    "cafe": 4,
    "street": 4,
    "vehicle": 5,
    "weather": 5,
    "water": 2,
    "animal": 4,
    "harmonic": 5,
    "household": 4,
    "baby": 3,
    "music": 2,
    "babble": 2,
}
"""Mixtures of each kind in a half."""
KINDS = {
    "choosing": {
        "typing": r"Keystroke-Datasets/",
        "fan": r"/ac_room",
        "cafe": r"/(cafe_murmur|library_quiet|temple_soft)",
        "street": r"/(city_soft|park_city|bus_ride|harbor_night)",
        "vehicle": r"/(metro_cabin|jet_airliner|train_ride|train_steam)|_(car_motor|motorbike|vehicle_motor|airplane)",
        "weather": r"/(rain_|desert_wind|snow_wind|wind_trees|winter_storm|thunder_storm)",
        "water": r"/(fountain_plaza|creek_rocks|ocean_shore|waterfall)",
        "animal": r"_(dog_bark|puppy|cat_meow|rooster|crow_|goose|parrot_0|lamb|goat|seagull_)"
        r"|/(seagulls|cicadas|frogs)",
        "harmonic": r"_(doorbell|bicycle_bell|bicycle_horn|vehicle_horn|train_whistle|church_bells|whistle|loon|piano)",
        "household": r"_(door_|clock_tick|chalk_write|zipper|pencil|shears|compressor|scrape|coin)",
        "baby": r"donateacry",
        "music": r"/music/",
        "transient": r"_(door_close|door_knock|balloon_pop|coin|shears)",
    },
    "closing": {
        "typing": r"/profiles/",
        "fan": r"/humming/|/dryer",
        "cafe": r"/(coffee|supermarket|playground)",
        "street": r"/highway|/engine_working|/rear_beeper",
        "vehicle": r"/(air-plane|train)\.|/windshield|/engine_",
        "weather": r"/(rain|rain-on-tent|storm|leaves)\.|/weather/[^/]*(rain|snow|thunderstorm)",
        "water": r"/(waterfall|waves|stream-water|drops)\.",
        "animal": r"/(birds-tree|night)\.|/clear_night|/weather_sunny_(spring|summer)",
        "harmonic": r"/(alarm|beep|chime|bling|scale)\d|/(alarm|car_alarm|police_siren|church_bells|horn_medium)\.",
        "household": r"/washing-machine|/(close|open)_(door|curtain|window|safe)|_(ceramic|glass)"
        r"|/tool/(hacksaw|shovel|axe)",
        "baby": r"donateacry",
        "music": r"/music/",
        "transient": r"/(smash_fail_|door_smash|click|close_door|close_car)",
    },
}
"""Where the noises of a kind lie, and the sounds that are put right before an onset."""
GAPS_S = {"typing": (0.02, 0.25), "harmonic": (0.1, 1.5), "animal": (0.1, 1.5), "household": (0.1, 1.2)}
"""Between short sounds that are joined; others follow each other at once."""
LAYERS = {"typing": 3}
"""Recordings of one key each are laid over each other."""

SNR_DB = (-5.0, 20.0)
BABBLE_SNR_DB = (0.0, 6.0)
LEVEL_DBFS = (-45.0, -18.0)
PEAK = 0.97
"""Mixtures that would be louder are brought to a lower level, and the table says so."""
VOICES = 5
"""Of a babble."""
CHANGE_DB = (8.0, 16.0)
"""Change of the speaker's level within a recording."""
TRANSIENT_PEAK = (1.0, 2.5)
"""Peak of an added transient, relative to the speech."""
TRANSIENT_LEAD_S = (0.06, 0.14)
"""From the peak of a transient to the onset."""
EARLY_S = 0.02


@dataclass(frozen=True)
class Pair:
    """A row of pairs.tsv."""

    split: str
    file: str
    speaker: str
    bandwidth_hz: str
    """Of the speech."""
    kind: str
    noise: str
    """Recordings, by their places below OUT; several voices by name."""
    snr_db: str
    level_dbfs: str
    room: str
    changes: str
    """``level``: of the speaker, ``transient``: before an onset."""
    noisy_sha256: str
    """Of the 16-bit samples, little-endian."""
    clean_sha256: str


def active_level(samples: np.ndarray) -> float:
    """Return the root mean square of the active frames, at least 1e-9."""
    frames = samples[: len(samples) // FRAME * FRAME].reshape(-1, FRAME)
    power = np.square(frames).mean(axis=1)
    return float(np.sqrt(power[power >= power.max() * 1e-3].mean()) + 1e-9)


def read(out: Path, place: str) -> np.ndarray:
    """Return a recording at 48 kHz, float64, without offset."""
    samples = read_mono(out / place).astype(np.float64)
    return samples - samples.mean()


def draw_speech(out: Path, rows: Sequence[dict[str, str]], rng: np.random.Generator) -> np.ndarray:
    """Return 8 s of one voice: its recordings at one level, with pauses. Begins with a pause."""
    pieces = [np.zeros(int(rng.uniform(0.3, 0.8) * SAMPLE_RATE))]
    order = [rows[i] for i in rng.permutation(len(rows))]
    while sum(map(len, pieces)) < LENGTH:
        row = order.pop(0)
        order.append(row)
        samples = read(out, row["path"])
        pieces.append(samples / active_level(samples))
        pieces.append(np.zeros(int(rng.uniform(0.15, 0.5) * SAMPLE_RATE)))
    return np.concatenate(pieces)[:LENGTH]


def draw_noise(
    out: Path, rows: Sequence[dict[str, str]], kind: str, rng: np.random.Generator
) -> tuple[np.ndarray, list[str]]:
    """Return 8 s of noise and the recordings in it: a part of a long one, or short ones of one folder in a row."""
    chosen = rows[rng.integers(len(rows))]
    samples = read(out, chosen["path"])
    if len(samples) >= LENGTH:
        start = int(rng.integers(len(samples) - LENGTH + 1))
        return samples[start : start + LENGTH], [chosen["path"]]
    folder = chosen["path"].rpartition("/")[0]
    near = [row for row in rows if row["path"].rpartition("/")[0] == folder]
    names = [chosen["path"]]
    pieces = [samples / active_level(samples)]
    while sum(map(len, pieces)) < LENGTH:
        low, high = GAPS_S.get(kind, (0.0, 0.1))
        pieces.append(np.zeros(int(rng.uniform(low, high) * SAMPLE_RATE)))
        # mostly the same sound again, as a bell or a dog does
        place = names[-1] if kind != "typing" and rng.random() < 0.6 else near[rng.integers(len(near))]["path"]
        samples = read(out, place)
        pieces.append(samples / active_level(samples) * 10 ** (rng.uniform(-6, 0) / 20))
        names.append(place)
    return np.concatenate(pieces)[:LENGTH], list(dict.fromkeys(names))


def onsets(speech: np.ndarray) -> np.ndarray:
    """Return the samples at which speech begins after at least 0.2 s of pause."""
    power = np.square(speech[: len(speech) // FRAME * FRAME].reshape(-1, FRAME)).mean(axis=1)
    active = power > power.max() * 1e-3
    pause = 10
    starts = [i for i in range(pause, len(active)) if active[i] and not active[i - pause : i].any()]
    return np.array(starts, dtype=int) * FRAME


def add_transients(
    out: Path, speech: np.ndarray, rows: Sequence[dict[str, str]], rng: np.random.Generator
) -> np.ndarray:
    """Return short sounds whose peaks come shortly before the onsets of the speech."""
    clicks = np.zeros(LENGTH)
    for onset in onsets(speech):
        samples = read(out, rows[rng.integers(len(rows))]["path"])[: SAMPLE_RATE // 2]
        peak = int(np.abs(samples).argmax())
        gain = rng.uniform(*TRANSIENT_PEAK) * np.abs(speech).max() / max(np.abs(samples).max(), 1e-9)
        start = int(onset - rng.uniform(*TRANSIENT_LEAD_S) * SAMPLE_RATE) - peak
        begin, end = max(start, 0), min(start + len(samples), LENGTH)
        if end > begin:
            clicks[begin:end] += gain * samples[begin - start : end - start]
    return clicks


def convolve(samples: np.ndarray, response: np.ndarray) -> np.ndarray:
    """Return the first 8 s of a convolution."""
    size = 1 << (len(samples) + len(response) - 1).bit_length()
    return np.fft.irfft(np.fft.rfft(samples, size) * np.fft.rfft(response, size), size)[:LENGTH]


def reverberate(speech: np.ndarray, response: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the speech in a room, aligned to its direct sound, and what of it comes within 20 ms of that."""
    direct = int(np.abs(response).argmax())
    response = response[direct:] / np.abs(response[direct])
    early = response.copy()
    early[int(EARLY_S * SAMPLE_RATE) :] = 0
    return convolve(speech, response), convolve(speech, early)


def change_level(speech: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the speech, at a higher or lower level from some moment on."""
    change_db = rng.uniform(*CHANGE_DB) * rng.choice((-1, 1))
    at, ramp = rng.uniform(3, 5) * SAMPLE_RATE, 0.3 * SAMPLE_RATE
    course = np.clip((np.arange(LENGTH) - at) / ramp, 0, 1)
    return speech * 10 ** (change_db * course / 20)


def make_half(out: Path, split: str, rows: list[dict[str, str]]) -> list[Pair]:
    """Write the pairs of a half. Returns their rows."""
    rng = np.random.default_rng((SEED, SPLITS.index(split)))
    voices: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        if row["use"] == "speech":
            voices.setdefault(row["speaker"], []).append(row)
    noises = [row for row in rows if row["use"] != "speech"]
    rooms = sorted((out / "rooms_held_out").glob("*.flac"))[SPLITS.index(split) :: 2]

    # The conditions of all mixtures, each spread evenly and drawn apart from the others.
    plan = rng.permutation([kind for kind, count in COUNTS.items() for _ in range(count)])
    count = len(plan)
    names = sorted(voices)
    speakers = [name for _ in range(count // len(names) + 1) for name in rng.permutation(names)][:count]
    snrs = rng.permutation(np.linspace(*SNR_DB, count))
    levels = rng.permutation(np.linspace(*LEVEL_DBFS, count))

    for folder in ("noisy", "clean"):
        (out / split / folder).mkdir(parents=True, exist_ok=True)
    pairs = []
    for index, (kind, speaker) in enumerate(zip(plan, speakers, strict=True)):
        speech = draw_speech(out, voices[speaker], rng)
        changes = []
        if index % 6 == 1:
            speech = change_level(speech, rng)
            changes.append("level")
        room, target = "", speech
        if index % 4 == 3:
            response = rooms[(index // 4) % len(rooms)]
            room = response.stem
            speech, target = reverberate(speech, sf.read(response)[0])

        snr_db = float(snrs[index])
        if kind == "babble":
            snr_db = float(rng.uniform(*BABBLE_SNR_DB))
            others = [str(name) for name in rng.permutation([n for n in names if n != speaker])[:VOICES]]
            noise = np.sum([draw_speech(out, voices[name], rng) for name in others], axis=0)
            used = others
        else:
            found = [row for row in noises if re.search(KINDS[split][kind], row["path"])]
            layers = [draw_noise(out, found, kind, rng) for _ in range(LAYERS.get(kind, 1))]
            noise = np.sum([samples for samples, _ in layers], axis=0)
            used = [name for _, found_names in layers for name in found_names]
        noise *= active_level(speech) / active_level(noise) * 10 ** (-snr_db / 20)
        if index % 6 == 4:
            clicks = [row for row in noises if re.search(KINDS[split]["transient"], row["path"])]
            noise = noise + add_transients(out, speech, clicks, rng)
            changes.append("transient")

        noisy = speech + noise
        gain = 10 ** (float(levels[index]) / 20) / np.sqrt(np.square(noisy).mean())
        gain = min(gain, PEAK / max(np.abs(noisy).max(), np.abs(target).max()))
        label = re.sub(r"[^0-9A-Za-z]+", "_", speaker)
        name = f"{index:02d}_{kind}_{label}_{snr_db:+.0f}dB.flac"
        pairs.append(
            Pair(
                split,
                name,
                speaker,
                min((row["bandwidth_hz"] for row in voices[speaker]), key=float),
                str(kind),
                " ".join(used).replace("repositories/", ""),
                f"{snr_db:.1f}",
                f"{20 * np.log10(gain * np.sqrt(np.square(noisy).mean())):.1f}",
                room,
                " ".join(changes),
                write(out / split / "noisy" / name, gain * noisy),
                write(out / split / "clean" / name, gain * target),
            )
        )
    return pairs


def write(path: Path, samples: np.ndarray) -> str:
    """Write a file of 16 bits. Returns the hash of its samples."""
    pcm = np.round(samples * 32768).astype("<i2")
    sf.write(path, pcm, SAMPLE_RATE, subtype="PCM_16")
    return hashlib.sha256(pcm.tobytes()).hexdigest()


def main() -> None:
    """Make the pairs; compare them with the table, or write it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--write", action="store_true", help="write pairs.tsv instead of comparing")
    arguments = parser.parse_args()
    out: Path = arguments.out

    for needed in (out / "held_out.tsv", out / "rooms_held_out" / "rooms.tsv"):
        if not needed.is_file():
            parser.error(f"{needed} is missing")

    with (out / "held_out.tsv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    pairs = [pair for split in SPLITS for pair in make_half(out, split, [r for r in rows if r["split"] == split])]
    made = [asdict(pair) for pair in pairs]

    if arguments.write:
        with PAIRS.open("w", encoding="utf-8", newline="") as file:
            names = [field.name for field in fields(Pair)]
            writer = csv.DictWriter(file, names, delimiter="\t", lineterminator="\n")
            writer.writeheader()
            writer.writerows(made)
        return

    with PAIRS.open(encoding="utf-8", newline="") as file:
        known = list(csv.DictReader(file, delimiter="\t"))
    different = [row["file"] for row, other in zip(known, made, strict=True) if row != other]
    if different:
        sys.exit(f"{len(different)} of {len(known)} differ from {PAIRS.name}: {', '.join(different)}")
    print(f"{len(known)} pairs, all as in {PAIRS.name}")


if __name__ == "__main__":
    main()
