"""One stream of any sample rate through the denoiser, each clean frame under the number of its noisy one."""

from __future__ import annotations

import math

import numpy as np

from percepnet_cli.channel.stream import ChannelStream
from percepnet_cli.constants import HOP_SIZE, SAMPLE_RATE
from percepnet_cli.denoiser import Denoiser
from percepnet_cli.live.polyphase import Polyphase

BEGUN_SECONDS = 0.3
"""By then the first clean frames have come out, whatever the rate."""


class Chain:
    """Resample up, denoise, resample down; delays are taken out, not added up.

    Parameters
    ----------
    denoiser : Denoiser
        Fresh or reset.
    sample_rate : int
        Hz of the stream.
    lead : int
        Samples of silence at 48 kHz, 0..479, before the first frame: they shift the grid of hops.
    """

    def __init__(self, denoiser: Denoiser, sample_rate: int, lead: int = 0) -> None:
        self.denoiser = denoiser
        self.sample_rate = sample_rate
        self._upward = Polyphase(sample_rate, SAMPLE_RATE, denoiser.channels)
        self._downward = Polyphase(SAMPLE_RATE, sample_rate, denoiser.channels)
        self.lead = lead
        self.reset()

    def reset(self) -> None:
        """Forget the stream: the next frame is number 0."""
        self.denoiser.reset()
        self._upward.reset()
        self._downward.reset()
        self.denoiser.process(np.zeros((self.lead, self.denoiser.channels), np.float32))
        self._early = self.denoiser.latency + self.lead

    @property
    def only_channel(self) -> ChannelStream | None:
        """As ``Denoiser.only_channel``, if samples come to it as they are; None else."""
        return self.denoiser.only_channel if self.sample_rate == SAMPLE_RATE and not self.lead else None

    @property
    def is_early(self) -> bool:
        """Whether what comes out next still belongs to no frame."""
        return self._early > 0

    def process(self, block: np.ndarray) -> np.ndarray:
        """Take the next frames, float32 [n, channels]; return the clean frames that follow those returned before."""
        clean = self.denoiser.process(self._upward.process(block))
        kept = clean[self._early :]
        self._early -= len(clean) - len(kept)
        return self._downward.process(kept)

    def settled(self, frames_in: int) -> int:
        """Return how many clean frames are there once ``frames_in`` have come in since the beginning."""
        samples = (self._upward.settled(frames_in) + self.lead) // HOP_SIZE * HOP_SIZE
        return self._downward.settled(max(samples - self.denoiser.latency - self.lead, 0))

    def lag(self, block_frames: int, batch_frames: int = 1) -> int:
        """Return by how many frames the clean stream is behind at most.

        Frames come in blocks of a size and are processed when a multiple of ``batch_frames`` is there.
        """
        # After this many blocks, blocks, hops and batches have met in every way they can; then it begins anew.
        hop, block = HOP_SIZE * self.sample_rate, block_frames * SAMPLE_RATE
        meetings = math.lcm(hop // math.gcd(hop, block), batch_frames // math.gcd(batch_frames, block_frames))
        begun = math.ceil(BEGUN_SECONDS * self.sample_rate / block_frames)
        ends = range(block_frames, (begun + meetings + 1) * block_frames, block_frames)
        return max(end - self.settled(end // batch_frames * batch_frames) for end in ends)

    def fit(self, block_frames: int, batch_frames: int = 1) -> int:
        """Choose the lead with which the clean stream is least behind; return the lag, see there.

        What the resampler holds back would make every hop wait for another block of the device: a lead of
        as many samples lets blocks and hops end together again.
        """
        held_back = block_frames * SAMPLE_RATE // self.sample_rate - self._upward.settled(block_frames)
        lags = {}
        for self.lead in sorted({0, held_back % HOP_SIZE, (held_back + 1) % HOP_SIZE}):
            lags[self.lead] = self.lag(block_frames, batch_frames)
        self.lead = min(lags, key=lambda lead: lags[lead])
        self.reset()
        return lags[self.lead]

    def warm_up(self, block_frames: int, seconds: float = 0.5) -> None:
        """Run noise through, so that all is compiled, in memory and in cache; then forget it."""
        noise = np.random.default_rng(0).standard_normal((block_frames, self.denoiser.channels)).astype(np.float32)
        for _ in range(math.ceil(seconds * self.sample_rate / block_frames)):
            self.process(np.float32(0.01) * noise)
        _ = self.denoiser.speech_probability
        self.reset()
