"""Simulate rooms: image method and ray tracing, 48 kHz, from seeds; one FLAC file a room and a table of them.

    pip install pyroomacoustics soundfile        # in an environment of its own
    python models/corpus/rooms.py OUT/rooms

Room i depends on the seed and i alone: a run that was stopped goes on, and more rooms can be added later.
"""

from __future__ import annotations

import argparse
import csv
import time
from pathlib import Path

import numpy as np
import pyroomacoustics as pra
import soundfile as sf

SAMPLE_RATE = 48000
SEED = 20240
SMALLEST_M = (2.0, 2.0, 2.2)
LARGEST_M = (10.0, 8.0, 4.0)
RT60_S = (0.15, 0.8)
DISTANCE_M = (0.3, 4.0)
WALL_M = 0.25
"""Sources and microphones keep this distance from the walls."""
IMAGE_ORDER = 4
"""Reflections up to this order are images, later ones are rays: pure images of a box flutter and cost the cube."""
BANDS_HZ = [125, 250, 500, 1000, 2000, 4000, 8000]
LEAD_SAMPLES = 48
"""What is kept before the direct sound."""
PEAK = 0.9


def draw_room(rng: np.random.Generator) -> tuple[pra.ShoeBox, np.ndarray]:
    """Draw a box, its walls, a source and a microphone. Returns the room and its size, m."""
    size = rng.uniform(SMALLEST_M, LARGEST_M)
    volume = size.prod()
    areas = np.repeat([size[1] * size[2], size[0] * size[2], size[0] * size[1]], 2)
    longest_s = min(RT60_S[1], 0.25 + volume**0.5 / 12)  # no small room rings for long
    rt60_s = rng.uniform(RT60_S[0], longest_s)
    mean_absorption = 1 - np.exp(-0.161 * volume / (areas.sum() * rt60_s))  # Eyring

    walls = rng.gamma(1.5, 1.0, 6)  # few walls do most of it: a carpet, curtains, a bookcase
    walls *= areas.sum() / (walls * areas).sum()
    tilt = rng.normal(0.08, 0.12, 6)[:, None] * np.arange(-3, 4)  # curtains swallow treble, panels bass
    absorption = mean_absorption * walls[:, None] * np.exp(tilt + rng.normal(0, 0.15, (6, len(BANDS_HZ))))
    absorption = np.clip(absorption, 0.01, 0.95)
    scattering = rng.uniform(0.05, 0.5, 6)
    names = ("west", "east", "south", "north", "floor", "ceiling")
    materials = {
        name: pra.Material(
            {"coeffs": absorption[wall].tolist(), "center_freqs": BANDS_HZ},
            {"coeffs": [float(scattering[wall])] * len(BANDS_HZ), "center_freqs": BANDS_HZ},
        )
        for wall, name in enumerate(names)
    }
    room = pra.ShoeBox(
        size,
        fs=SAMPLE_RATE,
        materials=materials,
        max_order=IMAGE_ORDER,
        ray_tracing=True,
        air_absorption=True,
        temperature=float(rng.uniform(17, 27)),
        humidity=float(rng.uniform(30, 65)),
    )
    room.set_ray_tracing(n_rays=10000, receiver_radius=0.3, hist_bin_size=0.004, energy_thres=1e-6)
    source, microphone = draw_positions(size, rng)
    room.add_source(source)
    room.add_microphone(microphone)
    return room, size


def draw_positions(size: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw a source and a microphone whose distance is uniform in the logarithm, as far as the room is large."""
    while True:
        distance = np.exp(rng.uniform(*np.log(DISTANCE_M)))
        source = rng.uniform(WALL_M, size - WALL_M)
        direction = rng.standard_normal(3) * (1, 1, 0.4)  # mostly at similar heights
        microphone = source + distance * direction / np.linalg.norm(direction)
        if np.all(microphone >= WALL_M) and np.all(microphone <= size - WALL_M):
            return source, microphone


def measured_rt60(response: np.ndarray) -> float:
    """Return the reverberation time from the decay between -5 and -25 dB (T20), s."""
    decay = np.cumsum(np.square(response[::-1], dtype=np.float64))[::-1]
    decay_db = 10 * np.log10(decay / decay[0] + 1e-12)
    start, end = np.searchsorted(-decay_db, (5, 25))
    return float((end - start) / SAMPLE_RATE * 3)


def trim(response: np.ndarray) -> np.ndarray:
    """Start shortly before the direct sound, end where 60 dB of the energy have decayed, with a fade of 20 ms."""
    peak = np.abs(response).max()
    direct = int(np.flatnonzero(np.abs(response) > 0.3 * peak)[0])
    response = response[max(0, direct - LEAD_SAMPLES) :]
    decay = np.cumsum(np.square(response[::-1], dtype=np.float64))[::-1]
    end = int(np.searchsorted(-decay, -decay[0] * 1e-6))
    response = response[: max(end, SAMPLE_RATE // 20)].copy()
    fade = np.linspace(1, 0, SAMPLE_RATE // 50)
    response[-len(fade) :] *= fade
    return response * (PEAK / np.abs(response).max())


def main() -> None:
    """Simulate the rooms that are missing and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--minutes", type=float, default=25.0, help="stop after this")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    pra.constants.set("num_threads", 1)

    begin = time.monotonic()
    columns = ("path", "rt60_s", "seconds", "size_m", "distance_m", "direct_to_reverberant_db")
    rows = []
    for index in range(arguments.count):
        if time.monotonic() - begin > 60 * arguments.minutes:
            break
        rng = np.random.default_rng((arguments.seed, index))
        pra.random.seed(numpy=arguments.seed + index, libroom=arguments.seed + index)
        room, size = draw_room(rng)
        path = arguments.out / f"room{index:03d}.flac"
        if not path.exists():
            room.compute_rir()
            partial = path.with_suffix(".part")
            sf.write(partial, trim(room.rir[0][0]), SAMPLE_RATE, subtype="PCM_16", format="FLAC")
            partial.replace(path)
        response = sf.read(path)[0]
        direct = int(np.argmax(np.abs(response)))
        early = np.square(response[: direct + SAMPLE_RATE // 400]).sum()
        ratio_db = 10 * np.log10(early / np.square(response[direct + SAMPLE_RATE // 400 :]).sum())
        distance = np.linalg.norm(room.sources[0].position - room.mic_array.R[:, 0])
        rows.append(
            (
                path.name,
                f"{measured_rt60(response):.2f}",
                f"{len(response) / SAMPLE_RATE:.2f}",
                "x".join(f"{side:.1f}" for side in size),
                f"{distance:.2f}",
                f"{ratio_db:.1f}",
            )
        )
        print(index, *rows[-1], f"{time.monotonic() - begin:.0f} s", flush=True)

    with (arguments.out / "rooms.tsv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)


if __name__ == "__main__":
    main()
