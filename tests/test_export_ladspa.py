"""The LADSPA plug-in: what it makes of sound is what Python makes of it, in any host and any block."""

from __future__ import annotations

import mmap
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import filter_chain
import ladspa_host
import numpy as np
import pytest
import soundfile
from click.testing import CliRunner
from signals import noise, snr_db, speech

from percepnet_cli import Denoiser, cli
from percepnet_cli.extras import missing

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(missing("ziglang")), reason="needs ziglang"),
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="runs what it makes for Linux"),
]

ROOT = Path(__file__).resolve().parent.parent
LATENCY, HOP = 1440, 480


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ladspa")
    result = CliRunner().invoke(cli.main, ["export", "ladspa", "--model", "lite", str(folder)])
    assert result.exit_code == 0, result.output + result.stderr
    return folder / "percepnet_ladspa.so"


@pytest.fixture(scope="module")
def plugins(library):
    return ladspa_host.descriptors(library)


@pytest.fixture(scope="module")
def noisy():
    """float32 [2, n]: two channels that differ in level and noise, and whole hops of them."""
    rng = np.random.default_rng(5)
    clean = speech(48000 * 2, rng, f0_hz=130.0)[0]
    return np.stack([level * clean + noise(len(clean), rng, 0.02) for level in (1.0, 0.4)]).astype(np.float32)


def expected(noisy, latency, **settings):
    """What Python makes of float32 [channels, n], so many samples late."""
    whole = Denoiser("lite", channels=len(noisy), **settings).process(noisy.T).T
    late = np.zeros_like(noisy)
    late[:, latency - LATENCY :] = whole[:, : noisy.shape[1] - (latency - LATENCY)]
    return late


def test_hosts_are_told_what_they_ask_for(plugins):
    assert list(plugins) == ["percepnet_mono", "percepnet_stereo"]
    descriptors = [plugin.contents for plugin in plugins.values()]
    assert [one.port_count for one in descriptors] == [6, 8]
    assert len({one.unique_id for one in descriptors}) == 2
    assert all(0x800000 <= one.unique_id < 0x1000000 for one in descriptors)
    assert all(b"lite" in one.name for one in descriptors)
    assert descriptors[0].port_names[3] == b"latency"


@pytest.mark.parametrize("rate", [8000, 44100, 47999, 96000])
def test_other_sample_rates_are_refused(plugins, rate):
    with pytest.raises(ValueError, match="refused"):
        ladspa_host.Plugin(plugins["percepnet_mono"], rate)


@pytest.mark.parametrize("label", ["percepnet_mono", "percepnet_stereo"])
@pytest.mark.parametrize(
    ("sizes", "latency"),
    [
        ([480], 1440),
        ([4800], 1440),
        ([960, 480, 2400], 1440),
        ([441], 1920),
        ([64], 1920),
        ([1024], 1920),
        ([8192], 1920),
        ([1, 479, 3000, 7], 1920),
    ],
)
def test_blocks_of_any_size_give_the_bits_of_python(plugins, noisy, label, sizes, latency):
    plugin = ladspa_host.Plugin(plugins[label])
    samples = noisy[: len(plugin.inputs)]
    for in_place in (False, True):
        plugin.descriptor.activate(plugin.handle)
        out = plugin.run_blocks(samples, sizes, in_place)
        assert plugin.latency == latency
        assert np.array_equal(out, expected(samples, latency))
    plugin.close()


@pytest.mark.parametrize("seed", range(3))
def test_blocks_of_random_sizes_give_the_bits_of_python(plugins, noisy, seed):
    rng = np.random.default_rng(seed)
    sizes = np.where(rng.random(500) < 0.8, rng.integers(1, 500, 500), rng.integers(1, 9000, 500)).tolist()
    plugin = ladspa_host.Plugin(plugins["percepnet_stereo"])
    out = plugin.run_blocks(noisy, [HOP + 1, *sizes])
    assert plugin.latency == 1920 and np.array_equal(out, expected(noisy, 1920))
    plugin.close()


def test_ten_minutes_take_no_more_memory(plugins, noisy):
    def resident_bytes():
        return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * mmap.PAGESIZE

    # The same arrays all the time, so that nothing but the plug-in could take more
    plugin = ladspa_host.Plugin(plugins["percepnet_stereo"])
    block = np.ascontiguousarray(noisy[:, :4800])
    for port, channel in zip(plugin.inputs + plugin.outputs, (0, 1, 0, 1), strict=True):
        plugin.connect(port, block[channel])

    def run_seconds(seconds):
        for turn in range(10 * seconds):
            block[:] = noisy[:, 4800 * (turn % 20) :][:, :4800]
            plugin.descriptor.run(plugin.handle, 4800)

    run_seconds(10)
    before = resident_bytes()
    run_seconds(600)
    assert resident_bytes() - before < 200_000
    plugin.close()


def test_a_block_of_another_size_costs_10_ms_from_there_on(plugins, noisy):
    """What came before stays where it is; 10 ms of silence, then all goes on."""
    plugin = ladspa_host.Plugin(plugins["percepnet_mono"])
    before, after = noisy[:1, : 100 * HOP], noisy[:1, 100 * HOP :]
    out = np.concatenate((plugin.run_blocks(before, [HOP]), plugin.run_blocks(after, [500, 480])), axis=1)
    assert plugin.latency == 1920
    whole = expected(noisy[:1], LATENCY)
    assert np.array_equal(out[:, : 100 * HOP], whole[:, : 100 * HOP])
    assert not out[:, 100 * HOP : 101 * HOP].any()
    assert np.array_equal(out[:, 101 * HOP :], whole[:, 100 * HOP : -HOP])

    # A host that begins anew begins with the shorter delay
    plugin.descriptor.activate(plugin.handle)
    assert np.array_equal(plugin.run_blocks(noisy[:1], [HOP]), whole) and plugin.latency == LATENCY
    plugin.close()


@pytest.mark.parametrize("label", ["percepnet_mono", "percepnet_stereo"])
def test_controls_do_what_options_do(plugins, noisy, label):
    plugin = ladspa_host.Plugin(plugins[label], **{"Attenuation limit": 9, "Post-filter": 1})
    samples = noisy[: len(plugin.inputs)]
    settings = {"attenuation_limit_db": 9, "post_filter": True}
    assert np.array_equal(plugin.run_blocks(samples, [HOP]), expected(samples, LATENCY, **settings))

    # Changed on the way, they count from the next hop on
    plugin.descriptor.activate(plugin.handle)
    plugin.set("Attenuation limit", 100)
    plugin.set("Post-filter", 0)
    plugin.run_blocks(samples[:, : 50 * HOP], [HOP])
    plugin.set("Attenuation limit", 3)
    denoiser = Denoiser("lite", channels=len(samples))
    denoiser.process(samples[:, : 50 * HOP].T)
    denoiser.attenuation_limit_db = 3
    out = plugin.run_blocks(samples[:, 50 * HOP :], [HOP])
    assert np.array_equal(out, denoiser.process(samples[:, 50 * HOP :].T).T)
    plugin.close()


@pytest.mark.parametrize(("sizes", "latency"), [([HOP], 1440), ([37], 1920), ([4000], 1920)])
def test_bypass_is_the_input_as_late_as_the_effect(plugins, noisy, sizes, latency):
    late = np.zeros_like(noisy)
    late[:, latency:] = noisy[:, :-latency]
    effect = expected(noisy, latency)

    plugin = ladspa_host.Plugin(plugins["percepnet_stereo"], Bypass=1)
    assert np.array_equal(plugin.run_blocks(noisy, sizes), late)

    # On the way it fades for 20 ms, from the first sample of a block on
    plugin.descriptor.activate(plugin.handle)
    plugin.set("Bypass", 0)
    change = 48000 // sizes[0] * sizes[0]
    out = [plugin.run_blocks(noisy[:, :change], sizes)]
    plugin.set("Bypass", 1)
    out.append(plugin.run_blocks(noisy[:, change:], sizes))
    out = np.concatenate(out, axis=1)
    wet = np.clip(1 - (np.arange(noisy.shape[1]) - change + 1) / 960, 0, 1)
    wet[:change] = 1
    assert np.array_equal(out[:, :change], effect[:, :change])
    assert np.array_equal(out[:, change + 960 :], late[:, change + 960 :])
    assert np.abs(out - (wet * effect + (1 - wet) * late)).max() < 1e-4
    plugin.close()


def test_instances_share_nothing(plugins, noisy):
    alone = ladspa_host.Plugin(plugins["percepnet_mono"])
    whole = [alone.run_blocks(samples[None], [HOP]) for samples in noisy if not alone.descriptor.activate(alone.handle)]
    one, two = (ladspa_host.Plugin(plugins["percepnet_mono"]) for _ in range(2))
    turns = [
        (one.run(noisy[:1, start : start + HOP]), two.run(noisy[1:, start : start + HOP]))
        for start in range(0, noisy.shape[1], HOP)
    ]
    for each, expected_out in zip(zip(*turns, strict=True), whole, strict=True):
        assert np.array_equal(np.concatenate(each, axis=1), expected_out)
    for plugin in (alone, one, two):
        plugin.close()


def test_silence_denormals_and_what_is_no_number_are_those_of_python(plugins, noisy):
    samples = noisy[:1].copy()
    samples[0, 9600:19200] = 0
    samples[0, 20000:20100] = np.nan
    samples[0, 21000] = np.inf
    samples[0, 24000:33600] = 1e-41
    samples[0, 40000:40010] = 1e30
    plugin = ladspa_host.Plugin(plugins["percepnet_mono"])
    out = plugin.run_blocks(samples, [HOP])
    assert np.isfinite(out).all() and np.array_equal(out, expected(samples, LATENCY))
    plugin.close()


def needs(*programs):
    absent = [name for name in programs if shutil.which(name) is None]
    return pytest.mark.skipif(bool(absent), reason=f"not installed: {' '.join(absent)}")


def run(library, *command):
    environment = os.environ | {"LADSPA_PATH": str(library.parent)}
    done = subprocess.run(list(map(str, command)), env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


@needs("listplugins", "analyseplugin")
def test_the_tools_of_ladspa_know_it(library):
    assert "percepnet_stereo" in run(library, "listplugins")
    shown = run(library, "analyseplugin", library)
    assert "Normal or Hard Real-Time" in shown
    assert '"Attenuation limit (dB, 100 is none)" input, control, 0 to 100, default 100' in shown
    assert '"latency" output, control, integer' in shown


@needs("sox")
def test_sox_gives_what_python_gives(library, noisy, tmp_path):
    soundfile.write(tmp_path / "noisy.wav", noisy[0], 48000, subtype="FLOAT")
    output = ["-b", 32, "-e", "floating-point", tmp_path / "clean.wav"]
    run(library, "sox", tmp_path / "noisy.wav", *output, "ladspa", "-l", "percepnet_ladspa", "percepnet_mono", 12, 0, 0)

    # -l makes up for the delay. sox has integers of 32 bits inside: what lies near a half is rounded the other way
    clean, _ = soundfile.read(tmp_path / "clean.wav", dtype="float32")
    whole = Denoiser("lite", attenuation_limit_db=12).denoise(noisy[0])
    assert len(clean) == len(whole)
    assert snr_db(whole[:-1920], clean[:-1920]) > 45


@needs("ffmpeg")
def test_ffmpeg_gives_what_python_gives(library, noisy, tmp_path):
    if "ladspa" not in run(library, "ffmpeg", "-v", "error", "-filters"):
        pytest.skip("this ffmpeg was built without LADSPA")
    soundfile.write(tmp_path / "noisy.wav", noisy.T, 48000, subtype="FLOAT")
    effect = f"ladspa=file={library}:plugin=percepnet_stereo:controls=c0=12"
    command = ["ffmpeg", "-v", "error", "-i", tmp_path / "noisy.wav", "-af", effect, "-c:a", "pcm_f32le"]
    run(library, *command, tmp_path / "clean.wav")
    clean, _ = soundfile.read(tmp_path / "clean.wav", dtype="float32")
    assert np.array_equal(clean.T, expected(noisy, 1920, attenuation_limit_db=12))


@pytest.mark.alone
@pytest.mark.skipif(filter_chain.missing() is not None, reason=str(filter_chain.missing()))
def test_the_recipe_for_pipewire_makes_a_microphone(library, noisy, tmp_path):
    """What docs/live.md says, with a sink's monitor in the place of a microphone; both are recorded side by side."""
    (recipe,) = re.findall(r"^```\n(context\.modules.*?)^```", (ROOT / "docs/live.md").read_text("utf-8"), re.M | re.S)
    recipe = recipe.replace("/home/you/.ladspa/percepnet_ladspa.so", str(library)).replace("= 100 }", "= 12 }")
    hears = f"target.object = {filter_chain.SINK}  stream.capture.sink = true"
    recipe = recipe.replace("node.passive = true", f"node.passive = true  {hears}")

    server = filter_chain.Server()
    (server.folder / ".config/pipewire/pipewire.conf.d").mkdir(parents=True)
    (server.folder / ".config/pipewire/pipewire.conf.d/percepnet.conf").write_text(recipe)
    soundfile.write(server.folder / "noisy.wav", noisy[0], 48000, subtype="FLOAT")
    with server:
        # Left is what the chain hears, right what it gives
        command = ["pw-cat", "-r", "--target", "0", "--channels", "2", "--format", "f32"]
        recorder = server.popen(*command, "-P", "{ node.name = recorder }", "both.wav")
        server.wait(lambda: "recorder:input_FR" in server.run("pw-link", "-i"))
        server.run("pw-link", f"{filter_chain.SINK}:monitor_MONO", "recorder:input_FL")
        server.run("pw-link", "percepnet_source:capture_MONO", "recorder:input_FR")
        server.wait(lambda: "percepnet_source:capture_MONO" in server.links())

        server.run("pw-cat", "-p", "--target", filter_chain.SINK, "noisy.wav")
        recorder.send_signal(signal.SIGINT)
        recorder.wait(10)
        both, _ = soundfile.read(server.folder / "both.wav", dtype="float32")

    heard, given = both.T
    assert np.abs(heard).max() > 0.1

    # Hops begin where a block of PipeWire did, of 32 samples or a multiple
    def same_parts(phase):
        samples = np.concatenate((np.zeros(phase, np.float32), heard))[None]
        effect = expected(samples, 1920, attenuation_limit_db=12)[0, phase:]
        parts = [slice(start, start + 4800) for start in range(0, len(heard) - 4800, 4800)]
        loud = [part for part in parts if np.abs(effect[part]).max() > 0.01]
        return np.mean([snr_db(effect[part], given[part]) > 45 for part in loud])

    # On an overloaded machine a part may be missing on one side: most have to be there, at one delay
    assert max(same_parts(phase) for phase in range(0, HOP, 32)) > 0.7
