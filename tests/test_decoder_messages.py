"""What libmpg123 says by itself: held back, dropped where we say it, and passed on where we do not."""

from __future__ import annotations

import os
import threading

import pytest

from percepnet_cli.audio.decoder_messages import DecoderMessages, silence

ERROR = b"[src/layer3.c:1804] error: dequantization failed!\n"
SAID = b"Note: Trying to resync...\n" + ERROR


@pytest.fixture
def alone(monkeypatch):
    """No threads but this one; pytest may have some."""
    monkeypatch.setattr(threading, "enumerate", lambda: [threading.current_thread()])


@pytest.mark.parametrize(
    ("drop", "expected"), [(True, ""), (False, "[src/layer3.c:1804] error: dequantization failed!\n")]
)
def test_errors_are_passed_on_at_the_end_unless_they_are_dropped(alone, capfd, drop, expected):
    messages = DecoderMessages()
    for half in (SAID[:40], SAID[40:]):
        with messages.hold():
            os.write(2, half)
        assert capfd.readouterr().err == ""
    os.write(2, b"ours\n")
    messages.end(drop)
    messages.end(drop)
    assert capfd.readouterr().err == "ours\n" + ("" if drop else ERROR.decode())


def test_what_is_raised_gives_standard_error_back(alone, capfd):
    messages = DecoderMessages()
    with pytest.raises(ValueError, match="damage"), messages.hold():
        raise ValueError("damage")
    with silence():
        os.write(2, SAID)
    os.write(2, b"ours\n")
    messages.end(drop=False)
    assert capfd.readouterr().err == "ours\n"


@pytest.mark.parametrize(("name", "held"), [("user", False), ("percepnet end", True), ("tqdm_monitor", True)])
def test_other_threads_keep_standard_error(capfd, monkeypatch, name, held):
    threads = [threading.current_thread(), threading.Thread(name=name)]
    monkeypatch.setattr(threading, "enumerate", lambda: threads)
    messages = DecoderMessages()
    with messages.hold():
        os.write(2, b"a thread's\n")
    assert (capfd.readouterr().err == "") == held
    messages.end(drop=True)


def test_no_descriptor_is_left_open(alone):
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    messages = DecoderMessages()
    with messages.hold(), silence():
        pass
    messages.end(drop=True)
    assert before == (len(os.listdir("/proc/self/fd")) if before else 0)
