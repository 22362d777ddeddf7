"""How much sound waits in a sound server's output: the rule, against a server that is played by a few lines."""

from __future__ import annotations

import numpy as np
import pytest

from percepnet_cli.live import distance
from percepnet_cli.live.distance import Distance

BLOCK = 0.01


class Output:
    """An output that plays what is written to it, block by block, and looks at itself ten times per second.

    begins: when the server begins to take sound; drift: by how much its clock is faster than the input's;
    late: gives for the time of a block by how much the computer delays it, seconds.
    """

    def __init__(self, begins=0.0, drift=0.0, late=lambda now: 0.0, fixed=None):
        self.rule = Distance(BLOCK, fixed)
        self.begins, self.drift, self.late = begins, drift, late
        self.written, self.insert, self.drop, self.gaps, self.now = self.rule.wanted + BLOCK, 0.0, 0, 0, 0.0
        self.rng = np.random.default_rng(7)
        self.gap_times, self.waits, self.is_dry = [], [], False

    def waiting(self, now):
        return self.written - max(now - self.begins, 0.0) * (1 + self.drift)

    def run(self, seconds):
        """Let that much input come in."""
        for _ in range(round(seconds / BLOCK)):
            self.now += BLOCK
            self.write(self.now + self.late(self.now))
            if round(self.now / BLOCK) % (2 if not self.rule.settled else 10) == 0:
                self.look(self.now + self.rng.uniform(0, BLOCK))

    def write(self, when):
        if self.waiting(when) < 0 and not self.is_dry:
            self.gaps += 1
            self.gap_times.append(when)
        self.is_dry = self.waiting(when) < 0
        self.written += self.insert
        self.insert = 0.0
        if self.drop:
            self.drop -= 1
        else:
            self.written += BLOCK

    def look(self, now):
        self.waits.append(self.waiting(now))
        more, fewer_blocks = self.rule.correct(now, self.waits[-1], self.gaps)
        self.insert += more
        self.drop += fewer_blocks


@pytest.mark.parametrize("begins", [0.0, 0.5, 2.0])
def test_a_server_that_begins_late_leaves_no_latency(begins):
    output = Output(begins=begins)
    output.run(begins + 2)
    assert output.rule.settled
    assert distance.START_SECONDS < output.waits[-1] < distance.START_SECONDS + 3 * BLOCK
    assert output.gaps == 0


@pytest.mark.parametrize("drift", [-2e-4, 2e-4])
def test_clocks_that_drift_apart_are_heard_in_no_gap(drift):
    output = Output(drift=drift)
    output.run(600)
    assert output.gaps <= 1
    assert max(output.waits[20:]) < distance.START_SECONDS + 4 * BLOCK


def test_a_pause_of_the_input_is_made_good_at_once():
    output = Output()
    output.run(5)
    output.written -= 0.5  # nothing came for so long
    output.run(2)
    assert distance.START_SECONDS < output.waits[-1] < distance.START_SECONDS + 3 * BLOCK


def test_after_an_overload_the_latency_comes_down_again():
    rng = np.random.default_rng(1)
    output = Output(late=lambda now: rng.uniform(0.0, 0.12) if 10 < now < 40 else 0.0)
    output.run(45)
    grown = output.rule.wanted
    assert grown > 0.04
    output.run(6 * distance.CALM_SECONDS)
    assert output.rule.wanted == distance.START_SECONDS
    assert output.waits[-1] < distance.START_SECONDS + 3 * BLOCK
    assert max(output.gap_times) < 40


def test_a_computer_that_is_always_late_is_tried_ever_less_often():
    """Once in 45 s a block comes 60 ms late: the distance grows until that does no harm, and stays."""
    output = Output(late=lambda now: 0.06 if now % 45 < BLOCK else 0.0)
    output.run(3600)
    early, later = np.histogram(output.gap_times, bins=[0, 900, 3600])[0]
    assert early < 16 and later < 10


def test_a_fixed_distance_stays():
    output = Output(late=lambda now: 0.1 if now % 5 < BLOCK else 0.0, fixed=0.05)
    output.run(120)
    assert output.gaps > 10 and output.rule.wanted == 0.05
    assert min(output.waits[50:]) > 0.05 - BLOCK
