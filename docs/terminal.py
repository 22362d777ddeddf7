"""Film `percepnet live` on a terminal of 80 x 24, and put a picture of it on the page.

python docs/terminal.py        # needs what the tests of live need: PulseAudio, PortAudio, pyte

A PulseAudio daemon of its own plays examples/street.flac into a microphone; keys are pressed as a user would. The film
is docs/live.cast, which `asciinema play` shows; the picture stands in docs/live.md. tests/test_panel.py fails if the
panel has lines or keys that the film has not.
"""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

COLUMNS, LINES = 80, 24
SCRIPT = ((4.0, b" "), (2.0, b" "), (1.0, b"----"), (2.0, b"?"), (2.0, b"?"), (3.0, b"q"))
"""Seconds to wait, and what is typed then."""
PICTURE_AFTER = 4.0
FRAME_SECONDS = 0.35


def film() -> list[tuple[float, str]]:
    """Run a session in a terminal; return what it wrote, and when, in seconds from its first panel."""
    import fcntl
    import termios

    import pulse
    from test_live_pulse import street

    written: list[tuple[float, str]] = []
    with pulse.Server(room=pulse.CABLE) as server:
        player = server.play(street(), "hw")
        leader, follower = pty.openpty()
        fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
        command = [sys.executable, "-m", "percepnet_cli", "live", "--virtual-mic"]
        server.env |= {"TERM": "xterm-256color", "COLUMNS": str(COLUMNS), "LINES": str(LINES)}
        process = server.popen(command, stdin=follower, stdout=follower, stderr=follower, cwd=ROOT)
        os.close(follower)

        keys, begin, deadline = list(SCRIPT), None, time.monotonic() + 120
        text = b""
        while time.monotonic() < deadline:
            if select.select([leader], [], [], 0.02)[0]:
                try:
                    text += os.read(leader, 65536)
                except OSError:  # the program has ended
                    break
            now = time.monotonic()
            if begin is None and b"\x1b[H" in text:
                begin = now
            if text:
                written.append((0.0 if begin is None else now - begin, text.decode("utf-8", "replace")))
                text = b"" if begin is not None else text
                written = written if begin is not None else []
            if (
                begin is not None
                and keys
                and now - begin > sum(wait for wait, _ in SCRIPT[: len(SCRIPT) - len(keys) + 1])
            ):
                os.write(leader, keys.pop(0)[1])
        process.send_signal(signal.SIGINT)
        process.wait(timeout=20)
        player.kill()
        os.close(leader)
    return thinned(written)


def thinned(written: list[tuple[float, str]]) -> list[tuple[float, str]]:
    """Leave out whole frames that come sooner than FRAME_SECONDS after the last."""
    kept, last = [], -1.0
    for when, text in written:
        if text.startswith("\x1b[H") and when - last < FRAME_SECONDS:
            continue
        kept.append((when, text))
        last = when
    return kept


def picture(written: list[tuple[float, str]], seconds: float) -> list[str]:
    """Return the lines of the terminal so many seconds into the film, without blank ones at the end."""
    import pyte

    screen = pyte.Screen(COLUMNS, LINES)
    stream = pyte.Stream(screen)
    for when, text in written:
        if when <= seconds:
            stream.feed(text)
    return [line.rstrip() for line in screen.display]


def main() -> None:
    """Film, and write both."""
    written = film()
    header = {"version": 2, "width": COLUMNS, "height": LINES, "title": "percepnet live --virtual-mic"}
    lines = [json.dumps(header)] + [json.dumps([round(when, 2), "o", text]) for when, text in written]
    (ROOT / "docs" / "live.cast").write_text("\n".join(lines) + "\n", encoding="utf-8")

    page = ROOT / "docs" / "live.md"
    shown = "\n".join(picture(written, PICTURE_AFTER - 0.2)).replace("\n\n\n", "\n\n")
    while "\n\n\n" in shown:
        shown = shown.replace("\n\n\n", "\n\n")
    block = f"<!-- picture of the terminal -->\n```screen\n{shown.strip()}\n```\n<!-- end of the picture -->"
    text = re.sub(
        r"<!-- picture of the terminal -->.*?<!-- end of the picture -->",
        lambda _: block,
        page.read_text(encoding="utf-8"),
        flags=re.DOTALL,
    )
    page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    if subprocess.run(["which", "pulseaudio"], capture_output=True).returncode:
        raise SystemExit("pulseaudio is not installed")
    main()
