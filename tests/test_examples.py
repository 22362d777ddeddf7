"""The example programs work."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from percepnet_cli import Denoiser
from percepnet_cli.audio.whole import read_mono

ROOT = Path(__file__).resolve().parents[1]


def exchange(port, samples, rng):
    """Send samples in chunks of odd sizes while receiving; return what came back."""
    received = []
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:

        def receive():
            while data := connection.recv(65536):
                received.append(data)

        receiver = threading.Thread(target=receive)
        receiver.start()
        data, start = samples.astype("<f4").tobytes(), 0
        while start < len(data):
            size = int(rng.integers(1, 9000))
            connection.sendall(data[start : start + size])
            start += size
        connection.shutdown(socket.SHUT_WR)
        receiver.join(timeout=60)
    return np.frombuffer(b"".join(received), "<f4")


@pytest.mark.service
def test_chunks_over_a_socket(rng):
    samples = read_mono(ROOT / "examples" / "street.flac")[: 48000 + 123]
    command = [sys.executable, "examples/socket_server.py"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as server:
        try:
            port = int(server.stdout.readline().rpartition(":")[2])
            one, other = exchange(port, samples, rng), exchange(port, samples[:1000], rng)
        finally:
            server.kill()
    denoiser = Denoiser()
    assert np.array_equal(one, np.concatenate((denoiser.process(samples), denoiser.flush())))
    assert np.array_equal(other, np.concatenate((denoiser.process(samples[:1000]), denoiser.flush())))
