"""The documentation site in a real browser, without hands: a server that asks every page what became of it.

Pages are served under a policy that allows nothing from elsewhere; the browser reports what it had to refuse. They are
shown one after the other in a frame, as wide as a desktop's or a phone's window.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")

PROBE = f"<script>{(Path(__file__).parent / 'browser_probe.js').read_text('utf-8')}</script>"
POLICY = "default-src 'self' 'unsafe-inline' 'wasm-unsafe-eval' data: blob:; report-uri /refused"

DRIVER = """
<!doctype html><title>driver</title><iframe id="frame" allow="autoplay" style="border: 0"></iframe>
<script>
(async () => {
  const frame = document.getElementById("frame");
  for (const [page, width] of VISITS) {
    frame.width = width;
    frame.height = 844;
    frame.src = `/${page}`;
    for (;;) {
      const seen = await (await fetch(`/seen/${width}/${page}`)).json();
      if (seen) break;
      await new Promise(done => setTimeout(done, 50));
    }
  }
})();
</script>
"""

SEARCH = """
<script>
addEventListener("load", async () => {
  const wait = ms => new Promise(done => setTimeout(done, ms));
  const input = document.querySelector(".md-search__input");
  const found = {};
  for (const query of QUERIES) {
    const results = () => [...document.querySelectorAll(".md-search-result__link")];
    const links = () => results().map(link => link.getAttribute("href"));
    input.focus();
    input.value = query;
    input.dispatchEvent(new KeyboardEvent("keyup"));
    for (let i = 0; i < 400 && !links().length; i++) await wait(25);
    await wait(200);
    found[query] = links();
    input.form.reset();
    input.dispatchEvent(new KeyboardEvent("keyup"));
    for (let i = 0; i < 80 && links().length; i++) await wait(25);
  }
  await fetch("ADDRESS/search", {method: "POST", mode: "no-cors", body: JSON.stringify(found)});
});
</script>
"""


def find_browser() -> str | None:
    """Return the path of a browser of the Chromium family, or None."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Log:
    """What the pages said."""

    def __init__(self):
        self.changed = threading.Condition()
        self.reports, self.refused = {}, []
        """Reports by (path, width); addresses that the browser refused."""
        self.found = None
        """What a search gave: addresses by query."""


class Handler(SimpleHTTPRequestHandler):
    """Serves the site with the probe in its pages; takes their reports."""

    def __init__(self, *arguments, log, visits, **options):
        self.log, self.visits = log, visits
        super().__init__(*arguments, **options)

    def log_message(self, *arguments):
        """Say nothing."""

    def do_GET(self):
        path = Path(self.translate_path(self.path))
        if self.path == "/driver":
            self.answer(DRIVER.replace("VISITS", json.dumps(self.visits)).encode())
        elif self.path.startswith("/seen/"):
            width, _, page = self.path.removeprefix("/seen/").partition("/")
            self.answer(json.dumps((f"/{page}", int(width)) in self.log.reports).encode())
        elif path.suffix == ".html" and path.is_file():
            self.answer(path.read_bytes() + PROBE.encode())
        else:
            super().do_GET()

    def answer(self, content):
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Security-Policy", POLICY)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_POST(self):
        content = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.log.changed:
            if self.path == "/report":
                self.log.reports[content["page"], content["width"]] = content
            elif self.path == "/search":
                self.log.found = content
            else:
                self.log.refused.append(content["csp-report"]["blocked-uri"])
            self.log.changed.notify_all()
        self.send_response(204)
        self.end_headers()


@contextmanager
def served(site: Path, log: Log, visits: list[tuple[str, int]]) -> Iterator[str]:
    """Serve a site while the block runs; yield the address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(site), log=log, visits=visits))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def shown(browser: str, url: str, profile: Path, flags: Sequence[str] = ()) -> Iterator[subprocess.Popen]:
    """Show a page in a browser without a window while the block runs; yield its process. flags: more options."""
    command = [browser, "--headless=new", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
    command += [
        "--disable-component-update",
        "--autoplay-policy=no-user-gesture-required",
        f"--user-data-dir={profile}",
    ]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        command.append("--no-sandbox")
    with subprocess.Popen([*command, *flags, url], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.terminate()


def visit(browser: str, site: Path, pages: list[str], profile: Path, widths: tuple[int, ...] = (1280,)) -> Log:
    """Show pages of a site one after the other; return what they reported. Raises TimeoutError if one does not."""
    log = Log()
    visits = [(page, width) for width in widths for page in pages]
    with served(site, log, visits) as address, shown(browser, f"{address}/driver", profile), log.changed:
        for page, width in visits:
            if not log.changed.wait_for(lambda key=(f"/{page}", width): key in log.reports, timeout=120):
                raise TimeoutError(f"{page} did not report at a width of {width}")
    return log


def search(browser: str, site: Path, queries: list[str], profile: Path) -> dict[str, list[str]]:
    """Open a site from the disk and search; return the addresses found by query. Raises TimeoutError."""
    log = Log()
    page = site / "search-from-disk.html"
    with served(site, log, []) as address:
        script = SEARCH.replace("QUERIES", json.dumps(queries)).replace("ADDRESS", address)
        page.write_text((site / "index.html").read_text("utf-8") + script, "utf-8")
        try:
            with shown(browser, page.as_uri(), profile), log.changed:
                if not log.changed.wait_for(lambda: log.found is not None, timeout=120):
                    raise TimeoutError("the search did not report")
        finally:
            page.unlink()
    return log.found
