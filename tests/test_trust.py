"""Numbers and memory that hostile or broken inputs bring: nothing is poisoned, nothing grows, nothing slows down."""

from __future__ import annotations

import ast
import re
import threading
import time
import weakref
from pathlib import Path

import numpy as np
import pytest
import soundfile

from percepnet_cli import denoiser as denoiser_module
from percepnet_cli.constants import HOP_SIZE
from percepnet_cli.denoiser import Denoiser
from percepnet_cli.file_denoiser import denoise_file
from percepnet_cli.metrics.blind import BlindMetrics
from percepnet_cli.network.modelfile import load_model

HOPS = 90


@pytest.fixture(scope="module")
def model():
    return load_model()


def speechlike(seed, hops=HOPS):
    """Noise whose level moves, float32 [hops * 480]."""
    rng = np.random.default_rng(seed)
    level = np.repeat(rng.uniform(0, 0.3, hops // 5 + 1), 5 * HOP_SIZE)[: hops * HOP_SIZE]
    return (rng.standard_normal(hops * HOP_SIZE) * level).astype(np.float32)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_counts_as_zero_and_poisons_nothing(model, value):
    clean = speechlike(1)
    bad = clean.copy()
    places = [0, 479, 480, 20 * HOP_SIZE + 7, *range(30 * HOP_SIZE, 32 * HOP_SIZE), len(bad) - 1]
    bad[places] = value
    clean[places] = 0
    assert np.array_equal(Denoiser(model).denoise(bad), Denoiser(model).denoise(clean))


@pytest.mark.parametrize("value", [1e20, np.finfo(np.float32).max, -np.finfo(np.float32).max])
def test_after_a_huge_sample_all_is_finite_and_soon_as_before(model, value):
    samples = speechlike(2, 400)
    shot = samples.copy()
    shot[10 * HOP_SIZE] = value
    denoiser = Denoiser(model)  # as a stream: denoise() refuses what is not scaled to +-1
    with np.errstate(all="ignore"):
        out = np.concatenate((denoiser.process(shot), denoiser.flush()))[denoiser.latency :]
    assert np.isfinite(out).all()
    before = Denoiser(model).denoise(samples)
    late = slice(300 * HOP_SIZE, None)
    assert np.sqrt(np.mean((out[late] - before[late]) ** 2)) < 0.3 * np.sqrt(np.mean(before[late] ** 2))


@pytest.mark.parametrize("value", [1e20, -3e38])
@pytest.mark.parametrize("place", [0, 5000, 9599])
def test_a_huge_sample_in_a_file_overflows_no_meter(tmp_path, value, place):
    """What is measured is finite, and nothing fails when the result has its name."""
    samples = speechlike(4, 20)
    samples[place] = value
    soundfile.write(tmp_path / "a.wav", samples, 48000, subtype="FLOAT")
    with np.errstate(all="ignore"):
        done = denoise_file(tmp_path / "a.wav", tmp_path / "b.wav", model="lite")
    assert soundfile.info(tmp_path / "b.wav").frames == len(samples)
    values = [value for value in vars(done.measures).values() if value is not None]
    assert values and np.isfinite(values).all()


@pytest.mark.parametrize("shape", [(9600, 1), (9600, 7), (100, 2)])
def test_meters_take_any_finite_samples(shape):
    largest = np.finfo(np.float32).max
    for before, after in ((largest, largest), (largest, 0), (0, largest), (1e-30, 1e-45), (1e15, 1e-15)):
        metrics = BlindMetrics(48000)
        metrics.add_input(np.full(shape, before, np.float32))
        metrics.add_output(np.full(shape, after, np.float32))
        assert all(value is None or np.isfinite(value) for value in vars(metrics.finish()).values())


def test_denoisers_in_threads_give_the_same_bits_as_alone(model):
    """32 streams of their own, on one model, cut in different places, all at once."""
    inputs = [speechlike(seed, 30) for seed in range(32)]
    alone = [Denoiser(model).denoise(samples) for samples in inputs]
    together = [None] * len(inputs)
    barrier = threading.Barrier(len(inputs))

    def work(number):
        denoiser, samples = Denoiser(model), inputs[number]
        barrier.wait()
        step = 100 + 997 * number
        parts = [denoiser.process(samples[start : start + step]) for start in range(0, len(samples), step)]
        together[number] = np.concatenate((*parts, denoiser.flush()))[denoiser.latency :]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(len(inputs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, samples in enumerate(together):
        assert np.array_equal(samples, alone[number]), number


def test_many_channels_work_in_short_blocks_and_give_the_same_bits(model):
    few = Denoiser(model, channels=2, linked=False)
    many = Denoiser(model, channels=40, linked=False)
    assert few._max_hops == 64 and many._max_hops == 25
    samples = np.stack([speechlike(seed, 70) for seed in range(2)], axis=1)
    out = many.denoise(np.tile(samples, 20))
    assert np.array_equal(out, np.tile(few.denoise(samples), 20))


@pytest.mark.service
@pytest.mark.parametrize("channels", [64, 256, 1024])
def test_memory_per_channel_is_bounded(model, channels):
    """Working space, without the weights: 100 MB for 16 channels, then 0.8 MB for each."""

    def held(thing, known):
        if id(thing) in known:
            return 0
        known.add(id(thing))
        if isinstance(thing, np.ndarray):
            return thing.nbytes if thing.base is None else held(thing.base, known)
        inner = thing if isinstance(thing, list | tuple) else getattr(thing, "__dict__", {}).values()
        return sum(held(one, known) for one in inner)

    denoiser = Denoiser(model, channels=channels, threads=1)
    one, two = (sum(held(c, k) for c in denoiser._channels[:n]) for n, k in ((1, set()), (2, set())))
    assert 20_000 < two - one < 100e6 / channels + 0.8e6


def test_a_reset_does_not_hold_old_and_new_channels(model, monkeypatch):
    """1024 channels would take twice the memory when their stream ends."""
    living, most = weakref.WeakSet(), []

    class Counted(denoiser_module.ChannelStream):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            living.add(self)
            most.append(len(living))

    monkeypatch.setattr(denoiser_module, "ChannelStream", Counted)
    denoiser = Denoiser(model, channels=5, threads=1)
    denoiser.process(np.zeros((480, 5), np.float32))
    denoiser.flush()
    assert len(most) == 10 and max(most) <= 6


@pytest.mark.alone
def test_a_fade_into_denormals_runs_as_fast_as_speech(model):
    """CPU time of the thread; the best of five each, so that other work on the machine hardly counts."""
    speech = speechlike(3, 300)
    fade = (speech * np.geomspace(1, 1e-45, len(speech))).astype(np.float32)
    tiny = np.full_like(speech, np.float32(1e-42))
    assert (np.abs(fade[fade != 0]).min() < np.finfo(np.float32).tiny) and (tiny != 0).all()

    def seconds(samples):
        times = []
        for _ in range(5):
            denoiser = Denoiser(model, threads=1)
            begin = time.thread_time()
            denoiser.process(samples)
            times.append(time.thread_time() - begin)
        return min(times)

    usual = seconds(speech)
    assert seconds(fade) < 1.5 * usual and seconds(tiny) < 1.5 * usual


@pytest.mark.service
def test_nothing_asks_for_the_time_of_day():
    """Clocks jump; durations come from clocks that do not. The sound server stamps so, and recordings are named so."""
    calendar = re.compile(
        r"time\.(time|time_ns|localtime|gmtime|strftime|ctime)|(datetime\.)?(datetime|date)\.(now|utcnow|today)"
    )
    package = Path(__file__).parent.parent / "percepnet_cli"
    asks, durations = set(), 0
    for path in package.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            durations += called in ("time.monotonic", "time.perf_counter")
            if isinstance(node, ast.ImportFrom):
                called = " ".join(f"{node.module}.{one.name}" for one in node.names if node.module == "time")
            if any(calendar.fullmatch(one) for one in called.split()):
                asks.add(path.relative_to(package).as_posix())
    assert durations > 10
    assert asks == {"live/pulseaudio.py", "live/recorder.py"}


def test_each_fault_of_the_docs_has_its_test():
    """A row without a test says why; a test that is named is run by ``make test``."""
    folder = Path(__file__).parent
    page = (folder.parent / "docs" / "scale.md").read_text("utf-8")
    table = page.partition("| fault | then | test |\n")[2].partition("\n\n")[0].splitlines()[1:]
    assert len(table) > 35
    for row in table:
        fault, _, tests = (cell.strip() for cell in row.strip("|").split(" | "))
        named = re.findall(r"`tests/(\w+\.py)::(\w+)`", tests)
        assert named or tests.startswith("none: "), fault
        for file, name in named:
            tree = ast.parse((folder / file).read_text("utf-8"))
            (test,) = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == name]
            assert not any(ast.unparse(mark) == "pytest.mark.slow" for mark in test.decorator_list), name
