"""What a live session says of itself."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

SILENCE_DB = -120.0


@dataclass
class Status:
    """Levels, voicing and load since the last look; counts since the start.

    Attributes
    ----------
    state : str
        "running", "resting" (the processor could not follow: audio passes) or "waiting" (for the device).
    seconds : float
        Audio that came in.
    input_db, output_db, input_peak_db, output_peak_db : float
        Mean and highest level, dB of full scale.
    reduction_db : float or None
        By how much the noise is lowered, over some seconds, in pauses and between the harmonics of the voice; None if
        there were none.
    voicing : float
        Pitch correlation, 0..1.
    speech : float
        Probability of speech, 0..1.
    gains : tuple of float
        What the network lets through in each of 34 bands, 0..1, in the newest hop.
    cpu_percent : float
        Of one core, the whole process.
    latency_ms : float or None
        Microphone to speaker: the sum of the three that follow; None while nothing runs.
    denoiser_ms, buffer_ms, device_ms : float, float, float or None
        The algorithm's delay; resampling and waiting for whole hops and portions; what the devices report.
    xruns : int
        Blocks that the device lost or repeated, by its own account.
    late_blocks, passed_ms : int, float
        Blocks for which the clean samples were not there in time, and how long the input passed instead.
    overloads : int
        How often the processor could not follow.
    reopened : int
        How often the device had gone and came back.
    bypass : bool
        Whether the input passes because it is wanted.
    attenuation_limit_db : float or None
        As set.
    post_filter, muted : bool
        As set.
    recording : str
        Names of the files that are being written, "" if none.
    """

    state: str
    seconds: float
    input_db: float
    output_db: float
    input_peak_db: float
    output_peak_db: float
    reduction_db: float | None
    voicing: float
    speech: float
    gains: tuple[float, ...]
    cpu_percent: float
    latency_ms: float | None
    denoiser_ms: float
    buffer_ms: float
    device_ms: float | None
    xruns: int
    late_blocks: int
    passed_ms: float
    overloads: int
    reopened: int
    bypass: bool
    attenuation_limit_db: float | None
    post_filter: bool
    muted: bool
    recording: str

    def json(self) -> dict[str, object]:
        """Return it as JSON values, rounded to hundredths."""
        values = asdict(self) | {"gains": [round(gain, 2) for gain in self.gains]}
        return {name: round(v, 2) if isinstance(v, float) else v for name, v in values.items()}


def decibels(energy: float, frames: int) -> float:
    """Return the level of a sum of squares over some frames, dB of full scale, at least SILENCE_DB."""
    return 10 * math.log10(max(energy / max(frames, 1), 10 ** (SILENCE_DB / 10)))


def summary(status: Status) -> str:
    """Return one paragraph about a session that has ended."""
    parts = [f"{status.seconds:.1f} s", f"xruns {status.xruns}", f"late blocks {status.late_blocks}"]
    if status.passed_ms:
        parts.append(f"passed through unprocessed {status.passed_ms:.0f} ms")
    if status.overloads:
        parts.append(f"the processor could not follow {status.overloads} times")
    if status.reopened:
        parts.append(f"device reopened {status.reopened} times")
    if status.latency_ms is not None:
        parts.append(f"latency {latency_text(status)}")
    return ", ".join(parts)


def latency_text(status: Status) -> str:
    """Return the latency and its parts."""
    if status.latency_ms is None or status.device_ms is None:
        return "-"
    return (
        f"{status.latency_ms:.1f} ms (denoiser {status.denoiser_ms:.0f}, buffers {status.buffer_ms:.1f}, "
        f"device {status.device_ms:.1f})"
    )
