"""Denoise chunks that arrive over a socket: every connection is a stream of its own, all share one model.

python examples/socket_server.py [PORT]      # prints the port; 0 or none: a free one

A client sends mono float32 samples at 48 kHz, little-endian, in chunks of any length, and gets them back clean and
1440 samples (30 ms) later. When it has sent all (shutdown of its sending side), it gets the rest.
"""

from __future__ import annotations

import socketserver
import sys

import numpy as np

from percepnet_cli import Denoiser, load_model

MODEL = load_model()
SAMPLE = np.dtype("<f4")


class Stream(socketserver.BaseRequestHandler):
    """One client."""

    def handle(self) -> None:
        """Answer until the client has sent all."""
        denoiser = Denoiser(MODEL)
        odd = b""
        while data := self.request.recv(65536):
            data = odd + data
            whole = len(data) - len(data) % SAMPLE.itemsize  # a chunk may end in the middle of a sample
            odd = data[whole:]
            clean = denoiser.process(np.frombuffer(data[:whole], SAMPLE))
            self.request.sendall(clean.astype(SAMPLE).tobytes())
        self.request.sendall(denoiser.flush().astype(SAMPLE).tobytes())


class Server(socketserver.ThreadingTCPServer):
    """A thread per client."""

    allow_reuse_address = True
    daemon_threads = True


if __name__ == "__main__":
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 0
    with Server(("127.0.0.1", port), Stream) as server:
        print(f"listening on 127.0.0.1:{server.server_address[1]}", flush=True)
        server.serve_forever()
