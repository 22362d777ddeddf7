"""The folder of ``percepnet export wasm`` under Node and in a browser: the same scripts for both.

A script is the body of an async function. It knows ``load``, ``HOP``, ``SAMPLE_RATE`` and ``encodeWav`` of the folder,
``wasm``, where its bytes are, ``read(name)``, which returns a Float32Array that the test gave, and ``write(name,
samples)``, which hands one back; what it returns goes through JSON.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import browser
import numpy as np


class Done(NamedTuple):
    """What a script returned, and the arrays that it wrote."""

    value: Any
    written: dict[str, np.ndarray]


Run = Callable[..., Done]
"""(script, arrays that it may read, by name) to what it did."""

IN_NODE = """
import { readFile, writeFile } from "node:fs/promises";
import * as module from FOLDER;
const { load, HOP, SAMPLE_RATE, encodeWav } = module;
const wasm = await readFile(WASM);
const read = async (name) => new Float32Array(new Uint8Array(await readFile(name)).buffer);
const write = (name, samples) =>
  writeFile(name + ".out", new Uint8Array(samples.buffer, samples.byteOffset, samples.byteLength));
const value = await (async () => { SCRIPT })();
console.log(JSON.stringify(value ?? null));
"""

IN_BROWSER = """<!doctype html><meta charset="utf-8"><title>script</title><script type="module">
import * as module from "/package/index.js";
const { load, HOP, SAMPLE_RATE, encodeWav } = module;
const wasm = "/package/percepnet.wasm";
const read = async (name) => new Float32Array(await (await fetch(`/read/${name}`)).arrayBuffer());
const write = (name, samples) => fetch(`/written/${name}`, {method: "POST", body: samples});
try {
  const value = await (async () => { SCRIPT })();
  await fetch("/done", {method: "POST", body: JSON.stringify({value: value ?? null})});
} catch (error) {
  await fetch("/done", {method: "POST", body: JSON.stringify({error: `${error} ${error.stack}`})});
}
</script>"""


def in_node(package: Path, work: Path, script: str, **arrays: np.ndarray) -> Done:
    """Run a script under Node. package: the folder; work: for files."""
    for name, array in arrays.items():
        (work / name).write_bytes(np.asarray(array, np.float32).tobytes())
    places = {"FOLDER": package / "index.js", "WASM": package / "percepnet.wasm"}
    text = IN_NODE.replace("SCRIPT", script)
    for name, place in places.items():
        text = text.replace(name, json.dumps(str(place)))
    command = [shutil.which("node"), "--input-type=module", "-e", text]
    done = subprocess.run(command, cwd=work, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    written = {path.stem: np.fromfile(path, np.float32) for path in work.glob("*.out")}
    return Done(json.loads(done.stdout), written)


class Answers(SimpleHTTPRequestHandler):
    """Serves the folder, a site, a page with the script and its arrays; takes what the script hands back."""

    def __init__(self, *arguments, state, **options):
        self.state = state
        super().__init__(*arguments, **options)

    def log_message(self, *arguments):
        """Say nothing."""

    def translate_path(self, path):
        """Return the file for an address."""
        place = Path(path.partition("?")[0].lstrip("/"))
        return str(self.state.package / place.name if place.parts[:1] == ("package",) else self.state.site / place)

    def do_GET(self):
        if self.path == "/":
            self.answer("text/html; charset=utf-8", IN_BROWSER.replace("SCRIPT", self.state.script).encode())
        elif self.path.startswith("/read/"):
            array = self.state.arrays[self.path.removeprefix("/read/")]
            self.answer("application/octet-stream", np.asarray(array, np.float32).tobytes())
        else:
            super().do_GET()

    def answer(self, kind, content):
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_POST(self):
        content = self.rfile.read(int(self.headers["Content-Length"]))
        with self.state.changed:
            if self.path == "/done":
                self.state.done = json.loads(content)
            else:
                self.state.written[self.path.removeprefix("/written/")] = np.frombuffer(content, np.float32)
            self.state.changed.notify_all()
        self.send_response(204)
        self.end_headers()


class State:
    """What a script gets and what it has done."""

    def __init__(self, package: Path, site: Path, script: str, arrays: dict[str, np.ndarray]) -> None:
        self.changed = threading.Condition()
        self.package, self.site, self.script, self.arrays = package, site, script, arrays
        self.written: dict[str, np.ndarray] = {}
        self.done: dict[str, Any] | None = None


@contextmanager
def running(
    package: Path, work: Path, script: str, flags: Sequence[str] = (), site: Path | None = None, **arrays: np.ndarray
) -> Iterator[tuple[State, subprocess.Popen]]:
    """Run a script in a browser while the block runs; yield what it does and the browser's process.

    flags: more options of the browser; site: a folder whose files are there, too.
    """
    state = State(package, site or package, script, arrays)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Answers, state=state))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}/"
    try:
        with browser.shown(browser.find_browser(), address, work / "profile", flags) as process:
            yield state, process
    finally:
        server.shutdown()
        server.server_close()


def wait(state: State, seconds: float) -> Done:
    """Return what a script has done when it is through. Raises TimeoutError."""
    with state.changed:
        if not state.changed.wait_for(lambda: state.done is not None, timeout=seconds):
            raise TimeoutError("the script does not come to its end")
    assert "error" not in state.done, state.done["error"]
    return Done(state.done["value"], state.written)


def in_browser(package: Path, work: Path, script: str, **more: Any) -> Done:
    """Run a script in a browser. package: the folder; work: for its profile; more: as ``running`` takes it."""
    with running(package, work, script, **more) as (state, _):
        return wait(state, 300)
