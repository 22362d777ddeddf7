"""The page "Try it here": its denoiser, made by ``percepnet export wasm`` while the site is built, and its controls."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

MARK = "<!-- try -->"
MODEL = "lite"
FOLDER = "assets/percepnet"
FILES = ("index.js", "stream.js", "worklet.js", "percepnet.wasm")
"""What the page loads of the folder."""

CONTROLS = """
<div id="try" class="try" hidden>
<p>
<label class="md-button try-choose">Choose a recording<input type="file" class="try-file"
accept="audio/*,video/*"></label>
<button type="button" class="md-button try-microphone">Record the microphone</button>
<button type="button" class="md-button try-example" data-address="samples/before-street.flac">Take the example</button>
</p>
<p>Or drop a file here.</p>
<p><label>Take noise down by <select class="try-limit"><option value="">all</option>
<option value="24">at most 24 dB</option><option value="12">at most 12 dB</option>
<option value="6">at most 6 dB</option></select></label></p>
<p><label><input type="checkbox" class="try-live"> Hear the microphone while it records, with headphones</label></p>
<p class="try-status" role="status"></p>
<progress class="try-bar" max="1" value="0" aria-label="How much is done" hidden></progress>
<div class="try-result"></div>
</div>
<p id="try-note">This tool needs JavaScript, and it needs the site from a server. On your own machine
<code>python -m http.server --directory build/site</code> is one.</p>
<script type="module" src="assets/try.js"></script>
"""
MISSING = """
!!! note

    This copy of the site was built without the package `ziglang`, so the denoiser is not in it.
    `pip install ziglang`, then `make docs`, puts it in.
"""


def folder(root: Path) -> Path | None:
    """Return the folder that the export makes, made now if the sources have changed; None without zig."""
    if find_spec("ziglang") is None:
        return None
    digest = hashlib.sha256()
    for path in sorted((root / "percepnet_cli").rglob("*")):
        if path.is_file() and path.suffix != ".pyc":
            digest.update(path.read_bytes())
    digest.update((root / "models" / f"{MODEL}.safetensors").read_bytes())
    made = root / "build" / "wasm" / digest.hexdigest()[:16]
    if not all((made / name).is_file() for name in FILES):
        command = [sys.executable, "-m", "percepnet_cli", "export", "wasm", "--force", "--model", MODEL, str(made)]
        subprocess.run(command, cwd=root, check=True, stdout=subprocess.DEVNULL)
    return made


def files(root: Path) -> dict[str, bytes]:
    """Return the files of the denoiser by their places in the site; none without zig."""
    made = folder(root)
    return {} if made is None else {f"{FOLDER}/{name}": (made / name).read_bytes() for name in FILES}


def with_tool(markdown: str) -> str:
    """Put the controls where the page asks for them, or say why they are not there."""
    return markdown.replace(MARK, MISSING if find_spec("ziglang") is None else CONTROLS)
