"""The documentation site: it builds without a warning, its links lead somewhere, it plays in a browser."""

from __future__ import annotations

import ast
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import browser
import numpy as np
import pytest
import soundfile
from javascript import in_browser
from signals import noise, snr_db, speech

ROOT = Path(__file__).resolve().parent.parent


def load(name):
    """Return a module of docs/site."""
    path = ROOT / "docs" / "site" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"site_{name}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site, built as `make docs` does."""
    pytest.importorskip("mkdocs")
    pytest.importorskip("mkdocstrings")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", str(folder)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    return folder


@pytest.mark.slow
def test_no_link_is_broken_and_nothing_comes_from_elsewhere(site):
    wrong, _ = load("check").check(site)
    assert wrong == []


def public_names():
    """Dotted names of all public modules, classes, functions and methods but those of the commands."""
    for path in sorted((ROOT / "percepnet_cli").rglob("*.py")):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        if ".cli" in module.removeprefix("percepnet_cli") or module.endswith("__main__"):
            continue
        yield module
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
                yield f"{module}.{node.name}"
                for member in node.body if isinstance(node, ast.ClassDef) else []:
                    if isinstance(member, ast.FunctionDef) and not member.name.startswith("_"):
                        yield f"{module}.{node.name}.{member.name}"


@pytest.mark.slow
def test_every_public_name_is_in_the_reference(site):
    pages = (site / "reference.html").read_text("utf-8") + (site / "internals.html").read_text("utf-8")
    names = list(public_names())
    assert len(names) > 300
    assert [name for name in names if f'id="{name}"' not in pages] == []


@pytest.mark.slow
def test_formulas_are_drawn(site):
    text = (site / "how.html").read_text("utf-8")
    written = (ROOT / "docs" / "how.md").read_text("utf-8").count("$$") // 2
    assert written > 5 and text.count('<svg role="img"') > written
    assert "arithmatex" not in text and "\\(" not in text


@pytest.fixture
def chromium():
    """The path of a browser."""
    program = browser.find_browser()
    if program is None:
        pytest.skip("no Chromium")
    return program


@pytest.mark.slow
def test_in_a_browser_everything_shows_and_plays(site, chromium, tmp_path):
    samples = load("samples")
    pages = sorted(path.name for path in site.glob("*.html") if path.name != "404.html")
    log = browser.visit(chromium, site, pages, tmp_path / "profile", widths=(1280, 390))

    assert log.refused == []
    versions, recordings = 1 + len(samples.OWN) + len(samples.PEERS), len(samples.RECORDINGS)

    for width in (1280, 390):
        listening = log.reports["/samples.html", width]
        assert len(listening["audio"]) == versions * recordings
        for player in listening["audio"]:
            assert player["duration"] > 5 and player["moved"] > 0.1, player
        # from each version to the next: it goes on where the one before was, alone
        assert len(listening["switches"]) == (versions - 1) * recordings
        assert len(log.reports["/index.html", width]["switches"]) == 1
        for switch in [*listening["switches"], *log.reports["/index.html", width]["switches"]]:
            assert switch["left"] > 1 and 0 <= switch["entered"] - switch["left"] < 1, switch
            assert (switch["playing"], switch["shown"], switch["pressed"]) == (1, 1, 1), switch

    pictures = [picture for report in log.reports.values() for picture in report["images"]]
    assert len(pictures) >= 2 * (10 + versions * recordings)
    assert [source for source, width in pictures if not width] == []

    for place, report in log.reports.items():
        assert report["overflow"] <= 0, place
        faults = {kind: report[kind] for kind in ("untold", "wide", "cut", "pale")}
        assert not any(faults.values()), (place, faults)


TRY = """
const frame = Object.assign(document.createElement("iframe"), {width: WIDTH, height: 844, src: "/try.html"});
frame.allow = "microphone; autoplay";
document.body.append(frame);
const wait = (ms) => new Promise((done) => setTimeout(done, ms));
const find = (name) => frame.contentDocument?.querySelector(name);
const until = async (test) => {
  for (let i = 0; i < 2400 && !test(); i++) await wait(25);
  if (!test()) throw new Error(`waited for ${test}; it says: ${find(".try-status")?.textContent}`);
};
const shown = (name) => until(() => find(".player-ready b")?.textContent === name && find(".try-bar").hidden);
const address = () => find(".try-download").href;
const downloaded = async () => new Float32Array((await (await fetch(address())).arrayBuffer()).slice(44));
await until(() => find(".try") && !find(".try").hidden);

// A file
const chosen = new DataTransfer();
chosen.items.add(new File([encodeWav([await read("noisy")], 48000)], "noisy.wav"));
find(".try-file").files = chosen.files;
find(".try-file").dispatchEvent(new Event("change"));
await shown("noisy.wav");
await write("after", await downloaded());
const saved = find(".try-download").download;

// Play, then switch
const [before, after] = frame.contentDocument.querySelectorAll(".player audio");
before.muted = after.muted = true;
find(".player-play").click();
await until(() => before.currentTime > 0.5);
const left = before.currentTime;
find(".player-choices button:last-child").click();
await until(() => after.currentTime > left && before.paused);
const entered = after.currentTime;
find(".player-play").click();
const images = [...frame.contentDocument.querySelectorAll(".player img")];
const colors = images.map((image) => {
  const context = new OffscreenCanvas(770, 220).getContext("2d");
  context.drawImage(image, 0, 0);
  return context.getImageData(0, 0, 770, 220).data.reduce((sum, value) => sum + value, 0) / (770 * 220);
});

// Some of the noise stays
const first = address();
find(".try-limit").value = "6";
find(".try-limit").dispatchEvent(new Event("change"));
await until(() => address() !== first);
await shown("noisy.wav");
await write("limited", await downloaded());

// The microphone
find(".try-live").click();
find(".try-microphone").click();
await until(() => /Recording: [2-9]/.test(find(".try-status").textContent));
find(".try-microphone").click();
await shown("microphone");
const recorded = Number(find(".player").dataset.seconds);

// No sound
const empty = new DataTransfer();
empty.items.add(new File(["nothing"], "text.txt"));
find(".try-file").files = empty.files;
find(".try-file").dispatchEvent(new Event("change"));
await until(() => /finds no sound/.test(find(".try-status").textContent));
const page = frame.contentDocument.documentElement;
return {saved, left, entered, colors, recorded, overflow: page.scrollWidth - frame.contentWindow.innerWidth};
"""


@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_denoises(site, chromium, tmp_path, width):
    from percepnet_cli import Denoiser

    if not (site / "assets" / "percepnet").exists():
        pytest.skip("no ziglang")
    rng = np.random.default_rng(11)
    clean = speech(48000 * 3, rng, f0_hz=120.0)[0]
    noisy = (clean + noise(len(clean), rng, 0.02)).astype(np.float32)
    flags = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    package, script = site / "assets" / "percepnet", TRY.replace("WIDTH", str(width))
    done = in_browser(package, tmp_path, script, flags=flags, site=site, noisy=noisy)

    assert snr_db(Denoiser("lite").denoise(noisy), done.written["after"]) > 45
    assert snr_db(Denoiser("lite", attenuation_limit_db=6).denoise(noisy), done.written["limited"]) > 45
    seen = done.value
    assert seen["saved"] == "noisy-denoised.wav" and seen["recorded"] >= 2
    assert 0 <= seen["entered"] - seen["left"] < 1
    assert seen["overflow"] <= 0

    # Less noise is a darker picture
    assert 255 < seen["colors"][1] < seen["colors"][0] - 5


@pytest.mark.slow
def test_the_search_works_from_the_disk_and_finds_pages_for_users_first(site, chromium, tmp_path):
    wanted = {
        "microphone": "live.html",
        "hollow": "troubleshooting.html",
        "train": "training.html",
        "comb filter": "how.html",
        "skip-existing": "commands.html",
        "model card": "models.html",
        "noise": "",
        "latency": "",
        "folder": "",
    }
    found = browser.search(chromium, site, list(wanted), tmp_path / "profile")
    for query, page in wanted.items():
        pages = list(dict.fromkeys(link.partition("?")[0].rpartition("/")[2] for link in found[query]))
        assert pages and pages[0] == (page or pages[0]), (query, pages)
        # internals and the log of experiments come last, copies of files not at all
        late = [page == "internals.html" or page.startswith("2026-") for page in pages]
        assert late == sorted(late), (query, pages)
        assert not any("/files/" in link for link in found[query])


@pytest.mark.slow
def test_pages_lead_to_the_next(site):
    text = (site / "samples.html").read_text("utf-8")
    assert 'class="md-footer__link md-footer__link--prev"' in text
    assert 'class="md-footer__link md-footer__link--next"' in text


@pytest.mark.slow
def test_the_browser_notices_what_is_wrong(chromium, tmp_path):
    site = tmp_path / "site"
    site.mkdir()
    (site / "bad.html").write_text(
        """<!doctype html><meta charset="utf-8"><body data-md-color-scheme="default">
        <style>[data-md-color-scheme=slate] b { color: #ccc }</style>
        <main><div class="md-content"><audio src="none.flac"></audio>
        <img src="http://elsewhere.invalid/a.png"><img src="none.png" alt="told">
        <p style="color: #bbb">pale</p><b>dark enough</b><p style="color: #bbb; visibility: hidden">not seen</p>
        <div class="broad" style="width: 2000px">broad</div>
        <pre class="long" style="overflow: auto; width: 10em">a line that is longer than its box is wide</pre>
        <div class="md-typeset__scrollwrap" style="overflow: auto; width: 5em">a_table_of_figures_scrolls</div>
        </div></main>"""
    )
    log = browser.visit(chromium, site, ["bad.html"], tmp_path / "profile", widths=(390,))
    report = log.reports["/bad.html", 390]

    assert log.refused and all("elsewhere.invalid" in url for url in log.refused)
    assert report["audio"][0]["moved"] == 0 and not report["audio"][0]["duration"]
    assert [width for _, width in report["images"]] == [0, 0]
    assert len(report["untold"]) == 1
    assert report["overflow"] > 1000
    assert [one for one in report["wide"] if "broad" in one] and not [one for one in report["wide"] if "figures" in one]
    assert [one for one in report["cut"] if "long" in one] and not [one for one in report["cut"] if "figures" in one]
    assert [one.partition(":")[0] for one in report["pale"]] == ["default", "slate", "slate"]


@pytest.mark.service
def test_versions_of_others_are_taken_from_their_folders(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    samples = load("samples")
    monkeypatch.delenv("PEERS", raising=False)
    for recording in samples.RECORDINGS:
        before, _ = soundfile.read(ROOT / "examples" / recording.file)
        found = samples.of_others(samples.stem(recording))
        assert [version.key for version in found] == list(samples.PEERS)
        assert all(version.rate == 48000 and len(version.samples) == len(before) for version in found)

    monkeypatch.setenv("PEERS", str(tmp_path / "empty"))
    assert samples.of_others("street") == []
    folder = tmp_path / "RNNoise 0.2"
    folder.mkdir()
    soundfile.write(folder / "street.wav", np.zeros(480), 48000)
    monkeypatch.setenv("PEERS", str(tmp_path))
    (version,) = samples.of_others("street")
    assert version.name == "RNNoise 0.2" and len(version.samples) == 480
    assert samples.of_others("waves") == []


def test_players_hold_what_a_page_asks_for(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    samples = load("samples")
    recording = samples.RECORDINGS[0]
    versions = [samples.Version(key, f"<{key}>", np.zeros(480, np.int16), 48000) for key in ("before", "after", "lite")]
    report = {"gain_reduction_db": 12.3, "speech_share": 0.456, "seconds": 0.01}
    monkeypatch.setattr(samples, "samples", lambda root: [samples.Sample(recording, versions, report)])
    one = samples.with_players("a <!-- player street --> b", tmp_path)
    assert one.count("<audio") == one.count("<img") == 2 and "&lt;after&gt;" in one and "<after>" not in one
    assert "noise lowered by 12 dB" in one and "46 %" in one
    assert samples.with_players("<!-- players -->", tmp_path).count("<audio") == 3
    assert samples.with_players("<!-- other -->", tmp_path) == "<!-- other -->"


def test_without_zig_the_page_says_what_is_missing(tmp_path, monkeypatch):
    trial = load("trial")
    monkeypatch.setattr(trial, "find_spec", lambda name: "there")
    assert "<script" in trial.with_tool(trial.MARK)
    monkeypatch.setattr(trial, "find_spec", lambda name: None)
    said = trial.with_tool(f"before {trial.MARK} after")
    assert "`pip install ziglang`" in said and "<script" not in said
    assert trial.files(tmp_path) == {}


def test_tables_of_text_are_told_from_those_of_figures():
    pytest.importorskip("mkdocs")
    hooks = load("hooks")
    head = "<table>\n<thead>\n<tr>{}</tr>\n</thead>"
    text, figure = '<th style="text-align: left;">', '<th style="text-align: right;">'
    assert 'class="text-table"' in hooks.with_text_tables(head.format(2 * text))
    assert "class" not in hooks.with_text_tables(head.format(text + figure))
    assert "class" not in hooks.with_text_tables(head.format(9 * text))


def test_a_formula_becomes_a_picture_that_can_be_read_aloud():
    pytest.importorskip("matplotlib")
    draw = load("formulas").draw
    small, large = draw(r"\frac{a}{b}", False), draw(r"\sum_k a_k < b", True)
    assert 'aria-label="\\frac{a}{b}"' in small and "vertical-align: -" in small
    assert "a_k &lt; b" in large and "display: block" in large
    assert small.count("<svg") == small.count("</svg>") == 1 and 'd="M' in small
    with pytest.raises(ValueError, match="Expected"):
        draw(r"\frac{a}", False)


@pytest.mark.parametrize(
    ("link", "fault"),
    [
        ('<a href="other.html#here">', None),
        ('<a href="https://example.org/">', None),
        ('<a href="#there">', "has no such anchor"),
        ('<a href="other.html#nowhere">', "has no such anchor"),
        ('<a href="missing.html">', "which is not there"),
        ('<a href="../outside.html">', "which is not there"),
        ('<img src="missing.png">', "which is not there"),
        ('<script src="https://example.org/a.js">', "loads https://example.org/a.js"),
        ('<link rel="stylesheet" href="//example.org/a.css">', "loads //example.org/a.css"),
    ],
)
def test_the_link_checker_finds(link, fault, tmp_path):
    site = tmp_path / "site"
    site.mkdir()
    (tmp_path / "outside.html").write_text("")
    (site / "index.html").write_text(link)
    (site / "other.html").write_text('<h1 id="here">')
    wrong, elsewhere = load("check").check(site)
    if fault is None:
        assert wrong == []
        assert elsewhere == ({"https://example.org/"} if "https" in link else set())
    else:
        assert len(wrong) == 1 and wrong[0].endswith(fault), wrong
