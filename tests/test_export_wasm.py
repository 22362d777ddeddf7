"""The folder for web pages: JavaScript makes of a recording what Python makes of it, in Node and in a browser."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import browser
import numpy as np
import pytest
from click.testing import CliRunner
from javascript import in_browser, in_node
from signals import noise, noisy_speech, snr_db, speech

from percepnet_cli import cli
from percepnet_cli.version import __version__

ROOT = Path(__file__).resolve().parent.parent
needs_zig = pytest.mark.skipif(find_spec("ziglang") is None, reason="needs ziglang")
needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="needs Node")
needs_browser = pytest.mark.skipif(browser.find_browser() is None, reason="needs Chromium")


def test_wasm_has_no_target(tmp_path):
    result = CliRunner().invoke(cli.main, ["export", "wasm", "--target", "aarch64-macos", str(tmp_path / "out")])
    assert result.exit_code == 2 and "takes no --target" in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_folder_with_files_of_the_same_names_is_kept(tmp_path):
    (tmp_path / "README.md").write_text("mine")
    result = CliRunner().invoke(cli.main, ["export", "wasm", str(tmp_path)])
    assert result.exit_code == 1 and "use --force to" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"]


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """The folder, made by the command."""
    folder = tmp_path_factory.mktemp("wasm") / "percepnet"
    result = CliRunner().invoke(cli.main, ["export", "wasm", "--model", "lite", str(folder)])
    assert result.exit_code == 0, result.output + result.stderr
    return folder


@pytest.fixture(params=[pytest.param("node", marks=needs_node), pytest.param("browser", marks=needs_browser)])
def run(request, package, tmp_path):
    """A function that runs a script: see ``javascript``."""
    return partial({"node": in_node, "browser": in_browser}[request.param], package, tmp_path)


@pytest.fixture
def run_in_browser(package, tmp_path):
    if browser.find_browser() is None:
        pytest.skip("no Chromium")
    return partial(in_browser, package, tmp_path)


@pytest.fixture(scope="module")
def noisy():
    return noisy_speech()


@needs_zig
@pytest.mark.slow
def test_the_folder_is_whole(package):
    content = json.loads((package / "package.json").read_text("utf-8"))
    assert content["version"] == __version__ and content["main"] == "index.js"
    names = {path.name for path in package.iterdir()}
    assert names == {*content["files"], "package.json"}

    # Everything that the code offers is described, and nothing else
    described = (package / "index.d.ts").read_text("utf-8")
    for name in ("load", "encodeWav", "SAMPLE_RATE", "HOP", "processInto", "createWorkletNode"):
        assert f"{name}(" in described or f"const {name}:" in described
    assert (package / "percepnet.wasm").stat().st_size < 2_000_000


@needs_zig
@pytest.mark.slow
def test_it_does_what_python_does(run, noisy):
    from percepnet_cli import Denoiser

    done = run(
        """
        const percepnet = await load(wasm), shares = [];
        const options = {onProgress: (share) => shares.push(share)};
        await write("whole", await percepnet.denoise(await read("noisy"), options));
        await write("limited", await percepnet.denoise(await read("noisy"), {attenuationLimitDb: 6}));
        await write("hour", await percepnet.denoise(new Float32Array(0)));
        return shares;
        """,
        noisy=noisy,
    )
    whole, limited = done.written["whole"], done.written["limited"]
    assert len(whole) == len(noisy) and len(done.written["hour"]) == 0
    assert done.value == sorted(done.value) and done.value[-1] == 1 and len(done.value) > 3

    assert np.array_equal(Denoiser("lite").denoise(noisy), whole)
    assert np.array_equal(Denoiser("lite", attenuation_limit_db=6).denoise(noisy), limited)


@needs_zig
@pytest.mark.slow
def test_blocks_of_any_size_give_the_same_bits_and_streams_share_nothing(run, noisy):
    rng = np.random.default_rng(6)
    sizes = np.concatenate([[1, 479, 480, 481, 4800, 4801, 9600, 0], rng.integers(0, 3000, 200)])
    done = run(
        """
        const percepnet = await load(wasm), noisy = await read("noisy"), sizes = await read("sizes");
        const [one, other, whole] = [{}, {}, {wholeHops: true}].map((options) => percepnet.createStream(options));
        const join = (parts) => {
          const all = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0));
          let place = 0;
          for (const part of parts) { all.set(part, place); place += part.length; }
          return all;
        };
        const parts = [];
        for (let place = 0, i = 0; place < noisy.length; place += sizes[i++ % sizes.length]) {
          const block = noisy.subarray(place, place + sizes[i % sizes.length]);
          parts.push(one.process(block));
          other.processInto(block.map((sample) => 1 - sample), block.slice());
        }
        await write("cut", join([...parts, one.flush()]));

        // After its end a stream begins anew, after a reset too
        await write("again", join([one.process(noisy), one.flush()]));
        other.reset();
        await write("reset", join([other.process(noisy), other.flush()]));
        const hops = noisy.subarray(0, 480 * 300);
        await write("hops", join([whole.process(hops), whole.flush()]));
        await write("denoised", await percepnet.denoise(noisy));
        await write("hops-denoised", await percepnet.denoise(hops));
        return [one.latency, whole.latency];
        """,
        noisy=noisy,
        sizes=sizes,
    )
    assert done.value == [1920, 1440]
    expected = done.written["denoised"]
    for name in ("cut", "again", "reset"):
        assert len(done.written[name]) == len(noisy) + 1920
        assert not done.written[name][:480].any()
        assert np.array_equal(done.written[name][1920:], expected), name
    assert np.array_equal(done.written["hops"][1440:], done.written["hops-denoised"])


@needs_zig
@pytest.mark.slow
def test_streams_that_come_and_go_take_no_more_memory_and_errors_are_named(run, noisy):
    done = run(
        """
        const bytes = typeof wasm === "string" ? await (await fetch(wasm)).arrayBuffer() : wasm;
        const module = await WebAssembly.compile(bytes);
        const percepnet = await load(module), errors = [];
        const caught = async (call) => {
          try { await call(); } catch (error) { errors.push(`${error.name}: ${error.message}`); }
        };
        const closed = percepnet.createStream();
        closed.close();
        closed.close();
        await caught(() => closed.process(new Float32Array(1)));
        await caught(() => percepnet.createStream({attenuationLimitDb: -1}));
        await caught(() => percepnet.createStream().processInto(new Float32Array(2), new Float32Array(1)));
        await caught(() => percepnet.createWorkletNode({sampleRate: 44100}));
        const stopped = AbortSignal.abort(new Error("enough"));
        await caught(() => percepnet.denoise(new Float32Array(9), {signal: stopped}));

        // A bare instance, to look at its memory
        const {exports} = await WebAssembly.instantiate(module);
        const sizes = [];
        for (let i = 0; i < 300; i++) {
          const streams = [exports.percepnet_create(), exports.percepnet_create()];
          const room = exports.malloc(100 + 16 * (i % 3));
          if (![...streams, room].every(Boolean)) throw new Error("no memory");
          exports.free(room);
          streams.forEach(exports.percepnet_destroy);
          sizes.push(exports.memory.buffer.byteLength);
        }
        const imports = WebAssembly.Module.imports(module);
        return {errors, imports, sizes, huge: exports.malloc(-1 >>> 0)};
        """,
    )
    assert done.value["imports"] == [] and done.value["huge"] == 0
    assert len(set(done.value["sizes"][3:])) == 1
    assert done.value["errors"] == [
        "Error: the stream is closed",
        "RangeError: an attenuation limit is a number of decibels, 0 or more",
        "RangeError: the output is shorter than the input",
        "RangeError: the audio context has 44100 Hz; make it with {sampleRate: 48000}",
        "Error: enough",
    ]


@needs_zig
@pytest.mark.slow
def test_ten_minutes_take_no_more_memory(run, noisy):
    done = run(
        """
        const bytes = typeof wasm === "string" ? await (await fetch(wasm)).arrayBuffer() : wasm;
        const {instance: {exports}} = await WebAssembly.instantiate(bytes);
        const noisy = await read("noisy"), stream = exports.percepnet_create(), place = exports.malloc(4 * 4800);
        const runSeconds = (seconds) => {
          for (let i = 0; i < 10 * seconds; i++) {
            const start = 4800 * (i % 40);
            new Float32Array(exports.memory.buffer, place, 4800).set(noisy.subarray(start, start + 4800));
            exports.percepnet_process(stream, place, place, 4800);
          }
          return exports.memory.buffer.byteLength;
        };
        return [runSeconds(1), runSeconds(600)];
        """,
        noisy=noisy,
    )
    assert done.value[0] == done.value[1] > 0


@needs_zig
@pytest.mark.slow
def test_silence_and_broken_samples_are_as_in_python(run):
    from percepnet_cli import Denoiser

    samples = np.zeros(48000, np.float32)
    samples[20000:20100] = 1e-40
    script = "await write('out', await (await load(wasm)).denoise(await read('x')));"
    assert not run(script, x=samples).written["out"].any()

    samples = noise(48000, np.random.default_rng(7), 0.1).astype(np.float32)
    samples[[9000, 30000]] = np.nan, np.inf
    out = run(script, x=samples).written["out"]
    assert np.isfinite(out).all() and np.array_equal(Denoiser("lite").denoise(samples), out)


@needs_zig
@needs_node
@pytest.mark.slow
def test_without_a_browser_other_rates_are_refused(package, tmp_path):
    script = """
    const percepnet = await load(wasm);
    return await percepnet.denoise(new Float32Array(441), {sampleRate: 44100}).catch(({message}) => message);
    """
    assert "without a browser there is no resampler" in in_node(package, tmp_path, script).value


@needs_zig
@needs_node
@pytest.mark.slow
def test_powers_are_right_to_the_last_bit_but_one(tmp_path):
    zig = [sys.executable, "-m", "ziglang"]
    source = ROOT / "percepnet_cli" / "export" / "freestanding.c"
    options = ["-target", "wasm32-wasi", "-O3", "-mbulk-memory", "-c"]
    subprocess.run([*zig, "cc", *options, source, "-o", "math.o"], cwd=tmp_path, check=True, timeout=100)
    link = [*zig, "wasm-ld", "--no-entry", "--export=pow", "math.o", "-o", "math.wasm"]
    subprocess.run(link, cwd=tmp_path, check=True, timeout=100)

    rng = np.random.default_rng(8)
    x = np.concatenate(([0, 1, -1, -20, -50, 50, -400, 400], rng.uniform(-30, 30, 5000)))
    with np.errstate(over="ignore"):
        y = np.power(10.0, x)
    x.tofile(tmp_path / "x")
    script = """
    const fs = require("fs");
    const {pow} = new WebAssembly.Instance(new WebAssembly.Module(fs.readFileSync("math.wasm"))).exports;
    const x = new Float64Array(new Uint8Array(fs.readFileSync("x")).buffer);
    fs.writeFileSync("y", new Uint8Array(x.map((x) => pow(10, x)).buffer));
    """
    subprocess.run(["node", "-e", script], cwd=tmp_path, check=True, timeout=100)
    got = np.fromfile(tmp_path / "y", np.float64)

    # As floats, which is what they become
    with np.errstate(over="ignore"):
        y, got = y.astype(np.float32), got.astype(np.float32)
    finite = np.isfinite(y)
    assert np.array_equal(got[~finite], y[~finite])
    assert (np.abs(got[finite] - y[finite]) <= np.spacing(np.abs(y[finite]))).all()


@needs_zig
@pytest.mark.slow
def test_the_worklet_gives_the_bits_of_a_stream(run_in_browser, noisy):
    done = run_in_browser(
        """
        const percepnet = await load(), noisy = await read("noisy");
        const context = new OfflineAudioContext(1, noisy.length, SAMPLE_RATE);
        const node = await percepnet.createWorkletNode(context);
        const other = await percepnet.createWorkletNode(context, {attenuationLimitDb: 3});
        const buffer = new AudioBuffer({length: noisy.length, sampleRate: 48000});
        buffer.copyToChannel(noisy, 0);
        const source = new AudioBufferSourceNode(context, {buffer});
        source.connect(node).connect(context.destination);
        source.connect(other);
        source.start();
        await write("worklet", (await context.startRendering()).getChannelData(0));
        await write("stream", percepnet.createStream().process(noisy));
        return node.latency;
        """,
        noisy=noisy,
    )

    assert done.value == 1920
    assert done.written["stream"].any() and np.array_equal(done.written["worklet"], done.written["stream"])


@needs_zig
@pytest.mark.slow
@pytest.mark.parametrize("rate", [8000, 44100, 96000])
def test_the_browser_resamples_there_and_back(run_in_browser, rate):
    from percepnet_cli import Denoiser
    from percepnet_cli.audio.resample import resample

    rng = np.random.default_rng(9)
    clean = speech(48000 * 3, rng, f0_hz=110.0)[0]
    noisy = (clean + noise(len(clean), rng, 0.01)).astype(np.float32)
    given = resample(noisy[:, None], 48000, rate)[:, 0].astype(np.float32)
    script = f"await write('out', await (await load()).denoise(await read('given'), {{sampleRate: {rate}}}));"
    out = run_in_browser(script, given=given).written["out"]
    assert len(out) == len(given)

    # Another resampler, the same speech in the same place
    expected = Denoiser("lite").denoise(given, rate)
    middle = slice(rate // 10, -rate // 10)
    assert snr_db(expected[middle], out[middle]) > 20


ATTEMPTS = 3


@needs_zig
@pytest.mark.slow
def test_in_real_time_no_quantum_is_dropped_for_a_minute(run_in_browser, noisy):
    quanta = 60 * 48000 // 128
    script = """
    const percepnet = await load(), noisy = await read("noisy"), context = new AudioContext({sampleRate: 48000});
    const recorder = `registerProcessor("recorder", class extends AudioWorkletProcessor {
      process([[given], [made]]) {
        this.port.postMessage({given: given?.slice(), made: made?.slice(), frame: currentFrame});
        return true;
      }
    })`;
    await context.audioWorklet.addModule(URL.createObjectURL(new Blob([recorder], {type: "text/javascript"})));
    const end = new AudioWorkletNode(context, "recorder", {numberOfInputs: 2});
    const buffer = new AudioBuffer({length: noisy.length, sampleRate: 48000});
    buffer.copyToChannel(noisy, 0);
    const source = new AudioBufferSourceNode(context, {buffer, loop: true});
    source.connect(end, 0, 0);
    source.start();
    await context.resume();

    // Everything from the first quantum that comes out of the denoiser
    const silence = new Float32Array(128), past = [];
    const node = await percepnet.createWorkletNode(context);
    let began = 0;
    const heard = new Promise((resolve) => {
      end.port.onmessage = ({data}) => {
        if (!began && data.made?.some(Boolean)) began = performance.now();
        past.push(data);
        if (began && past.length >= QUANTA + 2000) resolve();
      };
    });
    source.connect(node).connect(end, 0, 1);
    end.connect(context.destination);
    await heard;
    const seconds = (performance.now() - began) / 1000;
    await context.close();

    const join = (name) => {
      const all = new Float32Array(128 * past.length);
      past.forEach((data, i) => all.set(data[name] ?? silence, 128 * i));
      return all;
    };
    const [given, made] = [join("given"), join("made")];

    // The node began with some quantum before it was first heard: the one from which a stream makes the same
    const loud = Math.floor(made.findIndex(Boolean) / 128) * 128;
    const makes = (first, samples) => percepnet.createStream().process(given.slice(first, first + samples));
    let first = loud;
    const fits = () => makes(first, 48000).every((sample, i) => sample === made[first + i]);
    while (first > loud - 4800 && !fits()) first -= 128;
    await write("made", made.slice(first));
    await write("expected", makes(first, given.length));
    const since = past.slice(first / 128);
    await write("frames", Float32Array.from(since, ({frame}) => (frame - since[0].frame) / 128));
    return seconds;
    """
    for _ in range(ATTEMPTS):
        done = run_in_browser(script.replace("QUANTA", str(quanta)), noisy=noisy)
        made, expected, frames = (done.written[name] for name in ("made", "expected", "frames"))

        # On a busy machine the node may hear silence before it is joined to the source: no quantum fits then
        if np.array_equal(made[:48000], expected[:48000]):
            break
    assert len(made) > 128 * quanta
    assert np.array_equal(frames, np.arange(len(frames)))
    assert np.array_equal(made, expected)

    # The clock of the page agrees: what the audio thread misses would come late
    assert done.value < (len(made) / 48000) * 1.01 + 1
