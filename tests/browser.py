"""The documentation site in a real browser, without hands: a server that asks every page what became of it.

Pages are served under a policy that allows nothing from elsewhere; the browser reports what it had to refuse.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")

PROBE = """
<script>
addEventListener("load", async () => {
  const wait = ms => new Promise(done => setTimeout(done, ms));
  const until = async test => { for (let i = 0; i < 200 && !test(); i++) await wait(25); };
  const audio = [];
  for (const player of document.querySelectorAll("audio")) {
    player.muted = true;
    await until(() => player.readyState >= 1);
    const start = player.currentTime;
    await player.play().catch(error => audio.error = String(error));
    await until(() => player.currentTime > 0.2);
    player.pause();
    audio.push({source: player.getAttribute("src"), duration: player.duration, moved: player.currentTime - start});
  }
  const images = [...document.images].map(image => [image.getAttribute("src"), image.naturalWidth]);
  const overflow = document.documentElement.scrollWidth - innerWidth;
  await fetch("/report", {method: "POST", body: JSON.stringify({page: location.pathname, audio, images, overflow})});
});
</script>
"""
POLICY = "default-src 'self' 'unsafe-inline' data: blob:; report-uri /refused"


def find_browser() -> str | None:
    """Return the path of a browser of the Chromium family, or None."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Handler(SimpleHTTPRequestHandler):
    """Serves the site with the probe in its pages; takes their reports."""

    def __init__(self, *arguments, log, **options):
        self.log = log
        super().__init__(*arguments, **options)

    def log_message(self, *arguments):
        """Say nothing."""

    def do_GET(self):
        path = Path(self.translate_path(self.path))
        if path.suffix != ".html" or not path.is_file():
            super().do_GET()
            return
        content = path.read_bytes() + PROBE.encode()
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
                self.log.reports[content["page"]] = content
            else:
                self.log.refused.append(content["csp-report"]["blocked-uri"])
            self.log.changed.notify_all()
        self.send_response(204)
        self.end_headers()


class Log:
    """What the pages said."""

    def __init__(self):
        self.changed = threading.Condition()
        self.reports, self.refused = {}, []


def visit(browser: str, site: Path, pages: list[str], profile: Path) -> Log:
    """Open pages of a site one after the other; return what they reported. Raises TimeoutError if one does not."""
    log = Log()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(site), log=log))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    command = [browser, "--headless=new", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
    command += [
        "--disable-component-update",
        "--autoplay-policy=no-user-gesture-required",
        f"--user-data-dir={profile}",
    ]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        command.append("--no-sandbox")
    try:
        for page in pages:
            url = f"http://127.0.0.1:{server.server_port}/{page}"
            with subprocess.Popen([*command, url], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
                try:
                    with log.changed:
                        if not log.changed.wait_for(lambda page=page: f"/{page}" in log.reports, timeout=60):
                            raise TimeoutError(f"{page} did not report")
                finally:
                    process.terminate()
    finally:
        server.shutdown()
        server.server_close()
    return log
