"""WAV files and their kin: rounding, sizes that are wrong, and what stands beside the samples."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
from rewritten import rewrite
from signals import tone

from percepnet_cli.audio import chunks, riff
from percepnet_cli.audio.files import open_reader, open_writer
from percepnet_cli.audio.formats import ENCODINGS, Layout
from percepnet_cli.errors import AudioError
from percepnet_cli.version import __version__


def make(path: Path, samples: np.ndarray, rate: int = 48000, **kind: str) -> Path:
    soundfile.write(path, samples, rate, **kind)
    return path


def read(path: Path) -> np.ndarray:
    with open_reader(path) as reader:
        blocks = [np.zeros((0, reader.channels), np.float32), *reader.blocks(4096)]
        samples = np.concatenate(blocks)
        assert reader.frames == len(samples)
    return samples


def chunk(kind: bytes, content: bytes) -> bytes:
    return kind + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)


def wave_of(*parts: bytes, form: bytes = b"RIFF") -> bytes:
    body = b"WAVE" + b"".join(parts)
    return form + struct.pack("<I", len(body)) + body


def all_chunks(path: Path) -> list[tuple[bytes, bytes]]:
    content = path.read_bytes()
    with path.open("rb") as file:
        return [(one.kind, content[one.start : one.start + one.size]) for one in riff.walk(file, 12, len(content))]


PCM16 = struct.pack("<HHIIHH", 1, 1, 48000, 96000, 2, 16)


# --- rounding ------------------------------------------------------------------------------------


INTEGERS = [
    (container, subtype)
    for container, subtypes in ENCODINGS.items()
    for subtype in sorted(subtypes)
    if subtype.startswith(("PCM", "ALAC"))
]


@pytest.mark.parametrize(("container", "subtype"), INTEGERS)
def test_what_is_below_half_a_step_is_silence(tmp_path, container, subtype):
    bits = 8 if subtype[-1] in "8" else int(subtype[-2:])
    suffix = {"WAVEX": "wav", "OGG": "ogg"}.get(container, container.lower())
    like = Layout(48000, 2, 1000, container, subtype)
    rng = np.random.default_rng(0)
    samples = rng.uniform(-0.49, 0.49, (1000, 2)).astype(np.float32) * 2.0 ** (1 - bits)
    samples[500:] = rng.uniform(-0.99, 0.99, (500, 2))
    with open_writer(tmp_path / f"a.{suffix}", like=like) as writer:
        writer.write(samples)
    found = soundfile.read(tmp_path / f"a.{suffix}", dtype="float64")[0]
    assert not found[:500].any()
    error = found[500:] - samples[500:]
    assert np.abs(error).max() <= 1.001 * 2.0**-bits + 2.0**-30
    assert abs(error.mean()) < 0.1 * 2.0**-bits + 2.0**-30


@pytest.mark.parametrize("subtype", ["ULAW", "ALAW"])
def test_companded_samples_are_the_nearest(tmp_path, subtype):
    samples = np.linspace(-1, 1, 20001).astype(np.float32)[:, None]
    with open_writer(tmp_path / "a.wav", like=Layout(8000, 1, len(samples), "WAV", subtype)) as writer:
        writer.write(samples)
    found = soundfile.read(tmp_path / "a.wav", always_2d=True)[0]
    make(tmp_path / "all.wav", np.linspace(-1, 1, 65536), 8000, subtype=subtype)
    levels = np.unique(soundfile.read(tmp_path / "all.wav")[0])
    nearest = np.abs(samples - levels[None]).min(axis=1)
    np.testing.assert_allclose(np.abs(found - samples)[:, 0], nearest, atol=1e-7)


# --- sizes ---------------------------------------------------------------------------------------


def test_rf64_of_a_recorder_that_died(tmp_path):
    samples = (tone(440, 30000) * 32767).astype("<i2")
    for large in (0, 12345):  # what ds64 says of the samples: nothing, or what was true earlier
        ds64 = chunk(b"ds64", struct.pack("<QQQI", 0, large * 2, 0, 0))
        data = b"data" + struct.pack("<I", riff.UNKNOWN_SIZE) + samples.tobytes()
        path = tmp_path / f"{large}.wav"
        path.write_bytes(wave_of(ds64, chunk(b"fmt ", PCM16), data, form=b"RF64"))
        assert np.array_equal(read(path)[:, 0], samples / np.float32(32768))
        assert np.array_equal(read(rewrite(path, tmp_path / "out.wav"))[:, 0], samples / np.float32(32768))


@pytest.mark.parametrize("declared", [0, 2000, 20000, 20001])
@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT", "ULAW"])
def test_wav_whose_size_is_of_an_earlier_moment(tmp_path, declared, subtype):
    path = make(tmp_path / "a.wav", np.stack([tone(440, 30000), tone(330, 30000)], 1), subtype=subtype)
    expected = read(path)
    content = bytearray(path.read_bytes())
    at = content.index(b"data") + 4
    content[at : at + 4] = struct.pack("<I", declared)
    content[4:8] = struct.pack("<I", at - 4 + declared)
    path.write_bytes(content)
    np.testing.assert_array_equal(read(path), expected)


def test_what_follows_the_samples_is_no_sound(tmp_path):
    samples = (tone(440, 5000) * 32767).astype("<i2")
    plain = wave_of(chunk(b"fmt ", PCM16), chunk(b"data", samples.tobytes()))
    tail = (b"", b"\0", bytes(500_000), b"ID3" + bytes(20_000), b"TAG" + bytes(125), chunk(b"iXML", b"<x/>" * 10**5))
    for number, rest in enumerate(tail):
        path = tmp_path / f"{number}.wav"
        path.write_bytes(plain + rest)
        assert np.array_equal(read(path)[:, 0], samples / np.float32(32768)), number


def test_two_wavs_in_one_file_are_not_cut_in_silence(tmp_path):
    path = make(tmp_path / "a.wav", tone(440, 48000), subtype="PCM_16")
    path.write_bytes(2 * path.read_bytes())
    with pytest.raises(AudioError, match=r"a.wav is more than one WAV"):
        open_reader(path)


def test_a_compressed_wav_that_goes_on_is_refused(tmp_path):
    path = make(tmp_path / "a.wav", tone(440, 48000), subtype="MS_ADPCM")
    content = bytearray(path.read_bytes())
    at = content.index(b"data") + 4
    content[at : at + 4] = struct.pack("<I", 4096)
    path.write_bytes(content)
    with pytest.raises(AudioError, match="goes on after the samples that its header declares"):
        open_reader(path)


def test_a_long_wav_becomes_an_rf64(tmp_path, monkeypatch):
    from percepnet_cli.audio import wav

    monkeypatch.setattr(wav, "NARROW_LIMIT", 10_000)
    samples = tone(440, 8000)[:, None]
    with open_writer(tmp_path / "a.wav", like=Layout(48000, 1, None, "WAV", "PCM_24")) as writer:
        writer.write(samples)
    assert soundfile.info(tmp_path / "a.wav").format == "RF64"
    np.testing.assert_allclose(read(tmp_path / "a.wav"), samples, atol=2.0**-23)
    with (
        pytest.raises(AudioError, match="passed 4 GiB"),
        open_writer(tmp_path / "b.wav", like=Layout(48000, 1, 8000, "WAV", "PCM_24")) as writer,
    ):
        writer.write(samples)
    assert not (tmp_path / "b.wav").exists()


# --- chunks --------------------------------------------------------------------------------------


BEXT = b"Interview".ljust(602, b"\0") + b"A=PCM,F=48000,W=16,M=mono,T=Recorder\r\n\0\0"
BEFORE = [(b"bext", BEXT), (b"iXML", b"<BWFXML/>\n"), (b"axml", b"<ebu/>"), (b"id3 ", b"ID3\x03\0\0\0\0\0\0")]
AFTER = [
    (b"cue ", struct.pack("<IIIIIII", 1, 1, 48, 0x61746164, 0, 0, 48)),
    (b"LIST", b"adtl" + chunk(b"labl", struct.pack("<I", 1) + "Größe\0".encode("latin-1"))),
    (b"smpl", bytes(36)),
    (b"LIST", b"INFO" + chunk(b"INAM", b"name\0")),
]


@pytest.mark.parametrize("form", [b"RIFF", b"RF64"])
def test_chunks_stay_byte_for_byte(tmp_path, form):
    data = (tone(440, 4801) * 32767).astype("<i2").tobytes()
    ds64 = [chunk(b"ds64", struct.pack("<QQQI", 0, len(data), 4801, 0))] if form == b"RF64" else []
    samples = chunk(b"data", data)
    if ds64:
        samples = b"data" + struct.pack("<I", riff.UNKNOWN_SIZE) + data
    source = tmp_path / "in.wav"
    content = [*ds64, *(chunk(*one) for one in BEFORE), chunk(b"fmt ", PCM16), samples]
    source.write_bytes(wave_of(*content, *(chunk(*one) for one in AFTER), form=form))
    target = rewrite(source, tmp_path / "out.wav")
    line = f"A=PCM,F=48000,W=16,M=mono,T=percepnet {__version__}\r\n".encode()
    expected = [(b"bext", BEXT.rstrip(b"\0") + line), *BEFORE[1:], (b"fmt ", PCM16)]

    assert target.read_bytes()[:4] == form
    found = [one for one in all_chunks(target) if one[0] not in (b"ds64", b"data")]

    if form == b"RF64":
        kept = chunks.read(target, "PCM_16")
        found = [*kept.before, (b"fmt ", kept.format), *kept.after]

    assert found == expected + AFTER
    assert np.array_equal(read(target), read(source))
    assert chunks.read(target, "PCM_16").kinds == [
        "bext", "iXML", "axml", "id3", "cue", "LIST/adtl", "smpl", "LIST/INFO",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "tail",
    [
        struct.pack("<IH", 0x60F, 1) + bytes.fromhex("000000001000800000aa00389b71"),  # 5.1 with speakers at the sides
        struct.pack("<IH", 0, 1) + bytes.fromhex("00002107d3118644c8c1ca000000"),  # ambisonics
    ],
)
def test_speakers_and_kind_of_an_extensible_wav_stay(tmp_path, tail):
    form = struct.pack("<HHIIHHHH", 0xFFFE, 6, 48000, 576000, 12, 16, 22, 16) + tail
    data = (np.random.default_rng(0).uniform(-0.5, 0.5, (500, 6)) * 32767).astype("<i2").tobytes()
    source = tmp_path / "in.wav"
    source.write_bytes(wave_of(chunk(b"fmt ", form), chunk(b"data", data)))
    assert rewrite(source, tmp_path / "out.wav").read_bytes() == source.read_bytes()


def test_what_is_computed_from_the_samples_does_not_stay(tmp_path):
    data = (tone(440, 100) * 32767).astype("<i2").tobytes()
    source = tmp_path / "in.wav"
    extra = chunk(b"levl", bytes(100)) + chunk(b"MD5 ", bytes(16)) + chunk(b"JUNK", bytes(50))
    source.write_bytes(wave_of(extra, chunk(b"fmt ", PCM16), chunk(b"data", data)))
    kinds = [kind for kind, _ in all_chunks(rewrite(source, tmp_path / "out.wav"))]
    assert kinds == [b"fmt ", b"data"]


def test_tags_of_other_formats_become_an_info_list(tmp_path):
    with soundfile.SoundFile(tmp_path / "in.flac", "w", 48000, 1) as file:
        file.title, file.artist = "Gespräch", "Zoë"
        file.write(tone(440, 1000))
    tags = soundfile.SoundFile(rewrite(tmp_path / "in.flac", tmp_path / "out.wav")).copy_metadata()
    assert (tags["title"], tags["artist"]) == ("Gespräch", "Zoë")
