"""Sound through pipes: the same samples as from files, however they trickle in, and sentences for what is not sound."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from percepnet_cli.audio import pipes
from percepnet_cli.audio.formats import Layout
from percepnet_cli.audio.pipes import PipeReader, PipeWriter, RawFormat, wav_header
from percepnet_cli.audio.samples import ENCODINGS, decode, encode
from percepnet_cli.constants import BIDIRECTIONAL_BLOCK_HOPS
from percepnet_cli.errors import AudioError
from percepnet_cli.network.modelfile import load_file_model

ROOT = Path(__file__).resolve().parents[1]
LITTLE = [name for name in ENCODINGS if name != "s8" and not name.endswith("be")]


class Trickle(io.BytesIO):
    """A pipe that gives as many bytes at a time as it is told to."""

    def __init__(self, content: bytes, sizes: list[int]) -> None:
        super().__init__(content)
        self._sizes = iter(sizes)

    def read1(self, size=-1):
        return super().read1(min(size, next(self._sizes, size)))


def wav_of(samples, rate=48000, container="WAV", **kind) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=container, **kind)
    return file.getvalue()


def read_pipe(content: bytes, sizes=(), block=1000, raw=None) -> tuple[np.ndarray, PipeReader]:
    with PipeReader(Trickle(content, list(sizes)), "pipe", raw) as reader:
        blocks = list(reader.blocks(block))
    assert all(0 < len(part) <= block and part.flags.c_contiguous for part in blocks)
    return np.concatenate([np.zeros((0, reader.channels), np.float32), *blocks]), reader


@pytest.mark.parametrize("name", LITTLE)
@pytest.mark.parametrize("channels", [1, 3])
def test_samples_are_those_of_libsndfile(name, channels, rng):
    subtype = ENCODINGS[name][0]
    samples = np.clip(0.6 * rng.standard_normal((5000, channels)), -1, 1).astype(np.float32)
    content = wav_of(samples, 44100, subtype=subtype)
    found, reader = read_pipe(content)
    assert (reader.sample_rate, reader.channels, reader.frames, reader.subtype) == (44100, channels, 5000, subtype)
    expected = soundfile.read(io.BytesIO(content), dtype="float32", always_2d=True)[0]
    np.testing.assert_array_equal(found, expected)
    if subtype in ("FLOAT", "DOUBLE"):
        assert encode(samples, name) == content[content.index(b"data") + 8 :]


@pytest.mark.parametrize("name", [name for name in ENCODINGS if name[0] != "f"])
def test_integers_are_the_nearest(name, rng):
    scale = 2.0 ** (int("".join(filter(str.isdecimal, name))) - 1)
    samples = np.append(rng.uniform(-1.1, 1.1, 5000), [0.49 / scale, -0.49 / scale, 1.0, -1.0]).astype(np.float32)
    expected = np.clip(np.round(samples.astype(np.float64) * scale), -scale, scale - 1) / scale
    np.testing.assert_array_equal(decode(encode(samples, name), name), expected.astype(np.float32))


@pytest.mark.parametrize("name", ENCODINGS)
def test_what_is_encoded_comes_back(name, rng):
    samples = np.append(rng.uniform(-1, 1, 999), [1.0, -1.0, 2.0, -3.0, 0.0]).astype(np.float32)
    step = {"8": 2**-7, "1": 2**-15}.get(name[1], 2**-22)
    expected = samples if name[0] == "f" else np.clip(samples, -1, 1)
    np.testing.assert_allclose(decode(encode(samples, name), name), expected, atol=1.01 * step)  # +1 is clipped


@settings(max_examples=60, deadline=None)
@given(
    name=st.sampled_from(LITTLE),
    channels=st.integers(1, 4),
    frames=st.integers(0, 300),
    sizes=st.lists(st.integers(1, 50), max_size=40),
    block=st.integers(1, 200),
    known=st.booleans(),
)
def test_trickling_changes_nothing(name, channels, frames, sizes, block, known):
    raw = RawFormat(16000, channels, name)
    data = np.random.default_rng(frames).bytes(frames * raw.frame_bytes)
    if name[0] == "f":
        data = encode(np.random.default_rng(frames).standard_normal(frames * channels).astype(np.float32), name)
    expected = decode(data, name).reshape(-1, channels)
    size = len(data) if known and data else pipes.UNKNOWN_SIZE
    trailer = b"LIST\4\0\0\0abcd" if size != pipes.UNKNOWN_SIZE else b""
    found, reader = read_pipe(wav_header(raw, size) + data + trailer, sizes, block)
    np.testing.assert_array_equal(found, expected)
    assert reader.frames == (frames if known and data else None)
    bare, _ = read_pipe(data + b"\0" * (raw.frame_bytes - 1), sizes, block, raw)  # a frame that is not whole
    np.testing.assert_array_equal(bare, expected)


@pytest.mark.parametrize("size", [0, 0x7FFFF000, 0xFFFFFFFF])
def test_a_length_that_is_none_means_all_that_comes(size):
    raw = RawFormat(8000, 1, "s16le")
    content = wav_header(raw, 100)[:-4] + struct.pack("<I", size) + bytes(2000)
    samples, reader = read_pipe(content)
    assert (len(samples), reader.frames) == (1000, None)


def test_rf64_has_its_length_elsewhere(rng):
    samples = rng.uniform(-1, 1, (700, 2)).astype(np.float32)
    found, reader = read_pipe(wav_of(samples, container="RF64", subtype="FLOAT"))
    assert reader.frames == 700
    np.testing.assert_array_equal(found, samples)


def test_nan_becomes_silence():
    samples = np.array([0.5, np.nan, np.inf, -np.inf], np.float32)
    found, _ = read_pipe(wav_header(RawFormat(48000, 1, "f32le"), 16) + samples.tobytes())
    assert found[:, 0].tolist() == [0.5, 0, 0, 0]


GOOD = wav_header(RawFormat(48000, 1, "s16le"), 100)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "pipe is empty"),
        (b"RIFF", "pipe ends before its first sample"),
        (GOOD[:30], "pipe ends before its first sample"),
        (b"fLaC" + bytes(100), "pipe is not a WAV, and --raw does not describe it"),
        (GOOD[:12] + GOOD[36:], "without a description"),
        (GOOD.replace(b"fmt \x10", b"fmt \x02"), "damaged header"),
        (GOOD.replace(b"\1\0\1\0", b"\2\0\1\0"), "a kind .format 2, 16 bits. that cannot be read from a pipe"),
        (GOOD.replace(b"\1\0\1\0", b"\1\0\0\0"), "damaged header"),
        (wav_header(RawFormat(7999, 1, "s16le"), 100), "pipe has a sample rate of 7999 Hz"),
    ],
)
def test_what_cannot_be_read(content, sentence):
    with pytest.raises(AudioError, match=sentence):
        PipeReader(io.BytesIO(content), "pipe")


@pytest.mark.parametrize("text", ["", "48000", "48000:1", "a:1:s16le", "48000:-1:s16le", "48000:0:s16", "48000:1:s17"])
def test_what_describes_no_samples(text):
    with pytest.raises(ValueError, match=r"is not RATE|is none of|channels"):
        RawFormat.parse(text)


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "FLOAT", "VORBIS"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("frames", [101, None])
def test_what_is_written_is_a_wav(subtype, channels, frames, rng):
    samples = rng.uniform(-1, 1, (101, channels)).astype(np.float32)
    file = io.BytesIO()
    with PipeWriter(file, Layout(22050, channels, frames, "FLAC", subtype)) as writer:
        writer.write(samples[:50])
        writer.write(samples[50:])
    content = file.getvalue()
    read, rate = soundfile.read(io.BytesIO(content), dtype="float32", always_2d=True)
    info = soundfile.info(io.BytesIO(content))
    assert (rate, read.shape) == (22050, samples.shape)
    assert info.subtype == ("PCM_16" if subtype == "VORBIS" else subtype)
    np.testing.assert_allclose(read, samples, atol=0.008 if subtype == "PCM_U8" else 1e-4)
    if frames:
        assert int.from_bytes(content[4:8], "little") == len(content) - 8
        assert len(content) % 2 == 0
    else:
        assert content[4:8] == b"\xff" * 4


def test_a_length_beyond_4_gib_is_left_open():
    header = wav_header(RawFormat(48000, 8, "f32le"), 5 * 2**30)
    assert header[4:8] == header[-4:] == b"\xff" * 4


def percepnet(*arguments, **streams):
    return subprocess.Popen([sys.executable, "-m", "percepnet_cli", "denoise", *map(str, arguments)], **streams)


@pytest.mark.service
@pytest.mark.parametrize(("model", "raw"), [(None, None), ("percepnet", "48000:1:s16le")])
def test_output_starts_before_the_input_ends_and_is_that_of_a_file(tmp_path, model, raw):
    samples, _ = soundfile.read(ROOT / "examples" / "street.flac", dtype="int16")
    soundfile.write(tmp_path / "in.wav", samples[:192000], 48000)
    options = ["--model", model] if model else []
    assert percepnet(tmp_path / "in.wav", tmp_path / "out.wav", "--quiet", *options).wait() == 0

    data = samples[:192000].tobytes()
    network = load_file_model(model)
    block = 480 * (BIDIRECTIONAL_BLOCK_HOPS if network.latency_hops else 1)  # one may be incomplete
    sent = 2 * (network.latency_samples + block + 48000)
    options += ["--raw", raw] if raw else []
    head = b"" if raw else wav_header(RawFormat(48000, 1, "s16le"), pipes.UNKNOWN_SIZE)

    with percepnet(*options, "-", "-", "--quiet", stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        sender = threading.Thread(target=lambda: (process.stdin.write(head + data[:sent]), process.stdin.flush()))
        sender.start()  # a pipe holds less than that, in either direction
        early = b""
        while len(early) < len(head) + 2 * 48000:  # would wait for ever if nothing came before the end
            early += os.read(process.stdout.fileno(), 65536)
        sender.join()
        rest, _ = process.communicate(data[sent:])
    assert process.returncode == 0
    found = np.frombuffer((early + rest)[len(head) :], np.int16)
    np.testing.assert_array_equal(found, soundfile.read(tmp_path / "out.wav", dtype="int16")[0])


@pytest.mark.service
def test_whom_nobody_reads_ends_without_noise(tmp_path):
    script = f"'{sys.executable}' -m percepnet_cli denoise examples/street.flac - | head -c 100 >/dev/null"
    done = subprocess.run(["bash", "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.stderr == ""


def test_a_pipe_that_is_no_sound_is_one_sentence():
    with percepnet("-", "x.wav", stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        _, messages = process.communicate("only words, no sound\n")
    assert process.returncode == 1
    assert messages.startswith("Error: standard input is not a WAV") and messages.count("\n") == 1
