"""Reading, writing and resampling, against files that soundfile itself makes."""

from __future__ import annotations

import os
import stat
import threading
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from rewritten import rewrite

from percepnet_cli.audio.files import formats, open_reader, open_writer
from percepnet_cli.audio.resample import Resampler
from percepnet_cli.errors import AudioError

RATES = (8000, 11025, 16000, 22050, 32000, 44100, 48000, 88200, 96000, 192000)


def speechlike(frames: int, channels: int = 1, rate: int = 48000) -> np.ndarray:
    """Noise up to 0.4 of the lower sample rate, float32 [frames, channels], rms 0.1."""
    rng = np.random.default_rng(frames + channels)
    padded = max(frames, 16)
    spectrum = np.fft.rfft(rng.standard_normal((padded, channels)), axis=0)
    spectrum[np.fft.rfftfreq(padded, 1 / rate) > 0.4 * min(rate, 48000)] = 0
    signal = np.fft.irfft(spectrum, padded, axis=0)[:frames]
    return (0.1 * signal / max(signal.std(), 1e-9)).astype(np.float32) if frames else signal.astype(np.float32)


def make(path: Path, samples: np.ndarray, rate: int = 48000, **kind: str) -> Path:
    with soundfile.SoundFile(path, "w", rate, samples.shape[1], **kind) as file:
        file.write(samples)
    return path


def read_all(path: Path, block: int = 4097) -> np.ndarray:
    with open_reader(path) as reader:
        return np.concatenate([np.zeros((0, reader.channels), np.float32), *reader.blocks(block)])


KINDS = [(name, subtype) for name, subtypes in formats.ENCODINGS.items() for subtype in sorted(subtypes)]


@pytest.mark.parametrize(("container", "encoding"), KINDS)
def test_every_kind_is_copied_frame_by_frame(tmp_path, container, encoding):
    assert encoding in soundfile.available_subtypes(container)
    extension = next(e for e, c in formats.CONTAINERS.items() if c == container.replace("WAVEX", "WAV"))

    for channels, frames in ((1, 20001), (2, 20002), (6, 5001)):
        if container == "MP3" and channels > 2:
            continue
        samples = speechlike(frames, channels)
        source = make(tmp_path / "in", samples, format=container, subtype=encoding)
        # libsndfile itself writes a frame more here, see formats.choose
        odd = container == "AIFF" and formats.BYTES_PER_SAMPLE[encoding] == 1 and channels == 1
        target = tmp_path / f"out{extension}"
        rewrite(source, target)
        info = soundfile.info(target)
        assert (info.format, info.subtype) == (container, "PCM_16" if odd else encoding)
        assert (info.frames, info.channels, info.samplerate) == (frames + odd, channels, 48000)
        expected = soundfile.read(source, dtype="float32", always_2d=True)[0]
        assert np.array_equal(read_all(source), expected)  # MP3 decoders do not survive seeking
        written = soundfile.read(target, dtype="float32", always_2d=True)[0]
        if encoding in ("VORBIS", "OPUS", "MPEG_LAYER_III"):
            # coding noise, but nothing shifted: the coders were chosen for that signal, hence the low bar
            lag = np.argmax(np.correlate(written[:5000, 0], expected[400:4600, 0])) - 400
            assert lag == 0
        else:
            np.testing.assert_array_equal(written, expected)


@pytest.mark.parametrize(
    ("container", "encoding", "name", "expected"),
    [
        ("WAV", "PCM_24", "a.wav", ("WAV", "PCM_24")),
        ("WAV", "FLOAT", "a.flac", ("FLAC", "PCM_24")),
        ("WAV", "DOUBLE", "a.caf", ("CAF", "DOUBLE")),
        ("WAV", "PCM_U8", "a.flac", ("FLAC", "PCM_S8")),
        ("FLAC", "PCM_S8", "a.WAV", ("WAV", "PCM_U8")),
        ("WAV", "PCM_32", "a.flac", ("FLAC", "PCM_24")),
        ("WAV", "IMA_ADPCM", "a.wav", ("WAV", "PCM_16")),
        ("WAV", "ULAW", "a.flac", ("FLAC", "PCM_16")),
        ("WAVEX", "PCM_24", "a.wav", ("WAVEX", "PCM_24")),
        ("RF64", "PCM_24", "a.wav", ("RF64", "PCM_24")),
        ("RF64", "PCM_24", "a.w64", ("W64", "PCM_24")),
        ("CAF", "ALAC_24", "a.wav", ("WAV", "PCM_24")),
        ("CAF", "ALAC_32", "a.flac", ("FLAC", "PCM_24")),
        ("MP3", "MPEG_LAYER_III", "a.wav", ("WAV", "PCM_16")),
        ("MP3", "MPEG_LAYER_III", "a.ogg", ("OGG", "VORBIS")),
        ("OGG", "OPUS", "a.ogg", ("OGG", "OPUS")),
        ("OGG", "VORBIS", "a.opus", ("OGG", "OPUS")),
        ("OGG", "VORBIS", "a.mp3", ("MP3", "MPEG_LAYER_III")),
        ("FLAC", "PCM_16", "a.ogg", ("OGG", "VORBIS")),
        ("AIFF", "PCM_S8", "a.aif", ("AIFF", "PCM_16")),
    ],
)
def test_format_is_the_nearest(container, encoding, name, expected):
    like = formats.Layout(48000, 1, 100, container, encoding)
    assert formats.choose(Path(name), like) == expected


def test_more_than_4_gib():
    like = formats.Layout(48000, 2, 2**30, "WAV", "PCM_24")
    assert formats.choose(Path("a.wav"), like) == ("RF64", "PCM_24")
    assert formats.choose(Path("a.w64"), like) == ("W64", "PCM_24")
    assert formats.choose(Path("a.flac"), like) == ("FLAC", "PCM_24")
    with pytest.raises(AudioError, match="4 GiB"):
        formats.choose(Path("a.aiff"), like)


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("none.wav", None, "does not exist"),
        ("folder", "folder", "is a folder"),
        ("empty.wav", b"", "is empty"),
        ("text.wav", b"Dear diary, today I recorded nothing.\n" * 99, "is not a sound file"),
        ("noise.raw", bytes(range(256)) * 9, "is not a sound file"),
        ("half.mp3", b"ID3", "is not a sound file"),
    ],
)
def test_what_cannot_be_read(tmp_path, name, content, sentence):
    path = tmp_path / name
    if content == "folder":
        path.mkdir()
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(AudioError, match=sentence) as caught:
        open_reader(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("rate", [7999, 192001, 4000])
def test_sample_rate_out_of_range(tmp_path, rate):
    with pytest.raises(AudioError, match=f"{rate} Hz; 8000 to 192000 Hz"):
        open_reader(make(tmp_path / "a.wav", speechlike(10), rate))


def test_below_a_file(tmp_path):
    file = make(tmp_path / "a.wav", speechlike(10))
    with pytest.raises(AudioError, match="cannot be read: Not a directory"):
        open_reader(file / "b.wav")


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="needs a user that can be refused")
def test_without_permission(tmp_path):
    file = make(tmp_path / "a.wav", speechlike(10))
    file.chmod(0)
    with pytest.raises(AudioError, match="permission denied"):
        open_reader(file)


@pytest.mark.skipif(os.name == "nt", reason="file names are bytes on POSIX only")
def test_name_that_is_not_utf8(tmp_path):
    source = make(tmp_path / "a.wav", speechlike(10))
    target = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.wav"))
    try:
        target.touch()
    except OSError:
        pytest.skip("this file system wants UTF-8")
    rewrite(source, target)
    assert len(read_all(target)) == 10


@pytest.mark.parametrize("declared", [0xFFFFFFFF, 0x7FFFF000, 10**6, 0])
@pytest.mark.parametrize("encoding", ["PCM_16", "PCM_24", "FLOAT"])
def test_wav_whose_header_was_never_finished(tmp_path, declared, encoding):
    samples = speechlike(3001, 2)
    path = make(tmp_path / "a.wav", samples, subtype=encoding, format="WAV")
    expected = read_all(path)
    content = bytearray(path.read_bytes())
    start = content.find(b"data") + 8
    content[4:8] = (start - 8 if declared == 0 else min(declared + start - 8, 2**32 - 1)).to_bytes(4, "little")
    content[start - 4 : start] = declared.to_bytes(4, "little")
    path.write_bytes(content)
    with open_reader(path) as reader:
        assert reader.frames == 3001
        assert (reader.format, reader.subtype) == ("WAV", encoding)
    np.testing.assert_array_equal(read_all(path)[:3001], expected)


def test_wav_of_nothing_but_tags_has_no_frames(tmp_path):
    path = tmp_path / "a.wav"
    with soundfile.SoundFile(path, "w", 48000, 1) as file:
        file.write(np.zeros(0, np.float32))
        file.comment = "nothing was said"
    assert len(read_all(path)) == 0


def test_file_with_nothing_to_read_is_damaged(tmp_path):
    path = make(tmp_path / "a.wav", speechlike(400_000), subtype="GSM610")
    content = bytearray(path.read_bytes())
    at = content.find(b"data") + 4
    content[at : at + 4] = bytes(4)
    path.write_bytes(content)
    with pytest.raises(AudioError, match=r"damaged: \d+ bytes, but no sound"):
        open_reader(path)


def test_truncated_wav_is_as_long_as_it_is(tmp_path):
    path = make(tmp_path / "a.wav", speechlike(5000, 2), subtype="PCM_16")
    path.write_bytes(path.read_bytes()[:-4000])
    assert len(read_all(path)) == 4000


def test_flac_from_a_pipe_has_no_length(tmp_path):
    path = make(tmp_path / "a.flac", speechlike(20_000), subtype="PCM_16")
    expected = read_all(path)
    content = bytearray(path.read_bytes())
    content[21] &= 0xF0  # STREAMINFO: 36 bits of total samples
    content[22:26] = bytes(4)
    path.write_bytes(content)
    with open_reader(path) as reader:
        assert reader.frames is None
    np.testing.assert_array_equal(read_all(path), expected)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
@pytest.mark.parametrize("kind", ["wav", "flac"])
def test_pipe(tmp_path, kind):
    path = make(tmp_path / f"a.{kind}", speechlike(20_000, 2), subtype="PCM_16")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    def feed() -> None:
        with suppress(BrokenPipeError), open(pipe, "wb") as file:
            file.write(path.read_bytes())

    feeder = threading.Thread(target=feed)
    feeder.start()
    try:
        if kind == "wav":
            np.testing.assert_array_equal(read_all(pipe), read_all(path))
        else:  # libsndfile's decoder of FLAC wants to seek
            with pytest.raises(AudioError, match="can be read from a pipe"):
                open_reader(pipe)
    finally:
        feeder.join()


def test_nan_and_infinity_become_silence(tmp_path):
    samples = np.full((1000, 2), 0.25, np.float32)
    samples[10, 0], samples[20, 1], samples[30, 0] = np.nan, np.inf, -np.inf
    read = read_all(make(tmp_path / "a.wav", samples, subtype="FLOAT"))
    samples[~np.isfinite(samples)] = 0
    np.testing.assert_array_equal(read, samples)


@pytest.mark.parametrize("encoding", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "ULAW", "ALAW", "FLOAT"])
def test_overload_is_clipped_not_wrapped(tmp_path, encoding):
    source = make(tmp_path / "in.wav", np.zeros((1, 1), np.float32), subtype=encoding)
    loud = np.float32([[0.5], [1.0], [1.5], [100.0], [-1.0], [-1.5], [-100.0]])
    with open_reader(source) as reader, open_writer(tmp_path / "out.wav", like=reader) as writer:
        writer.write(loud)
    expected = loud if encoding == "FLOAT" else np.clip(loud, -1, 1)
    np.testing.assert_allclose(read_all(tmp_path / "out.wav"), expected, atol=0.03)


def test_permissions_follow_the_umask(tmp_path):
    source = make(tmp_path / "in.wav", speechlike(10))
    for umask in (0o022, 0o027, 0o002):
        target = tmp_path / f"{umask:o}.wav"  # one that is replaced would keep its mode
        before = os.umask(umask)
        try:
            rewrite(source, target)
        finally:
            os.umask(before)
        if os.name != "nt":
            assert stat.S_IMODE(target.stat().st_mode) == 0o666 & ~umask


def test_existing_file_is_kept_unless_forced(tmp_path):
    source = make(tmp_path / "in.wav", speechlike(10))
    target = tmp_path / "out.wav"
    target.write_text("precious")
    with pytest.raises(AudioError, match="already exists; use force=True"):
        rewrite(source, target, force=False)
    assert target.read_text() == "precious"
    rewrite(source, target)
    assert len(read_all(target)) == 10


def test_file_made_meanwhile_is_kept(tmp_path):
    source = make(tmp_path / "in.wav", speechlike(10))
    target = tmp_path / "out.wav"
    with (
        pytest.raises(AudioError, match="already exists"),
        open_reader(source) as reader,
        open_writer(target, like=reader),
    ):
        target.write_text("precious")
    assert target.read_text() == "precious"
    assert sorted(os.listdir(tmp_path)) == ["in.wav", "out.wav"]


def test_file_can_replace_itself(tmp_path):
    path = make(tmp_path / "a.wav", speechlike(12_345), subtype="PCM_16")
    expected = read_all(path)
    rewrite(path, path)
    np.testing.assert_array_equal(read_all(path), expected)


def test_symbolic_link_is_followed(tmp_path):
    source = make(tmp_path / "in.wav", speechlike(10))
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "link.wav"
    try:
        link.symlink_to(tmp_path / "elsewhere" / "out.wav")
    except OSError:
        pytest.skip("no symbolic links here")
    rewrite(source, link, force=False)
    assert link.is_symlink()
    assert len(read_all(tmp_path / "elsewhere" / "out.wav")) == 10


@pytest.mark.parametrize("exception", [ValueError, KeyboardInterrupt, SystemExit])
def test_nothing_is_left_after_an_exception(tmp_path, exception):
    source = make(tmp_path / "in.wav", speechlike(10))
    target = tmp_path / "out.wav"
    with (
        pytest.raises(exception),
        open_reader(source) as reader,
        open_writer(target, like=reader) as writer,
    ):
        writer.write(speechlike(10))
        assert len(os.listdir(tmp_path)) <= 2  # there may be a hidden file
        assert not target.exists()
        raise exception
    assert os.listdir(tmp_path) == ["in.wav"]


@pytest.mark.parametrize(
    ("name", "rate", "channels", "sentence"),
    [
        ("out", 48000, 1, "needs an extension"),
        ("out.xyz", 48000, 1, "needs an extension"),
        ("out.raw", 48000, 1, "needs an extension"),
        ("none/out.wav", 48000, 1, "there is no such folder"),
        ("in.wav/out.wav", 48000, 1, "Not a directory"),
        (".", 48000, 1, "is a folder"),
        ("out.opus", 44100, 1, "Opus takes 8000, 12000, 16000, 24000, 48000 Hz, not 44100 Hz"),
        ("out.mp3", 48000, 6, "MP3 does not take 6 channels at 48000 Hz"),
        ("out.mp3", 96000, 1, "MP3 does not take 1 channels at 96000 Hz"),
        ("out.flac", 48000, 9, "FLAC does not take 9 channels"),
        ("x" * 300 + ".wav", 48000, 1, "cannot be written"),
    ],
)
def test_what_cannot_be_written(tmp_path, name, rate, channels, sentence):
    source = make(tmp_path / "in.wav", speechlike(10, channels), rate, format="WAV")
    with pytest.raises(AudioError, match=sentence):
        rewrite(source, tmp_path / name, force=False)
    assert os.listdir(tmp_path) == ["in.wav"]


def test_full_disk(tmp_path):
    resource = pytest.importorskip("resource")
    source = make(tmp_path / "in.wav", speechlike(100_000), subtype="FLOAT")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(AudioError, match="is the disk full"):
            rewrite(source, tmp_path / "out.wav", force=False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert os.listdir(tmp_path) == ["in.wav"]


@pytest.mark.parametrize("extension", sorted(formats.CONTAINERS))
def test_no_frames_and_one_frame(tmp_path, extension):
    for frames in (0, 1):
        source = make(tmp_path / "in.wav", np.full((frames, 1), 0.5, np.float32), subtype="PCM_16")
        target = tmp_path / f"out{extension}"
        if frames == 0 and extension in (".flac", ".mp3", ".opus"):
            with pytest.raises(AudioError, match="holds no samples"):
                rewrite(source, target, force=False)
            assert os.listdir(tmp_path) == ["in.wav"]
        else:
            rewrite(source, target)
            assert len(read_all(target)) == frames


@pytest.mark.parametrize("name", ["out.wav", "out.flac", "out.ogg", "out.opus", "out.mp3", "out.caf", "out.au"])
def test_tags_go_along(tmp_path, name):
    source = tmp_path / "in.flac"
    with soundfile.SoundFile(source, "w", 48000, 1) as file:
        file.title, file.artist = "Interview", "Zoë"
        file.write(speechlike(1000))
    rewrite(source, tmp_path / name, force=False)
    tags = soundfile.SoundFile(tmp_path / name).copy_metadata()
    assert tags.get("title") == (None if name == "out.au" else "Interview")
    assert (tags.get("artist") or None) == (None if name == "out.au" else "Zoë")


# --- resampling --------------------------------------------------------------------------------


def convert(samples: np.ndarray, rate_in: int, rate_out: int, cuts: list[int]) -> np.ndarray:
    resampler = Resampler(rate_in, rate_out, samples.shape[1])
    parts = [resampler.process(part) for part in np.split(samples, cuts)]
    return np.concatenate([*parts, resampler.flush()])


@pytest.mark.parametrize("rate", RATES)
def test_resampling_there_and_back_changes_nothing(rate):
    samples = speechlike(2 * rate + 37, 2, rate)
    there = convert(samples, rate, 48000, list(range(0, len(samples), 10_001)))
    assert len(there) == -(-len(samples) * 48000 // rate)
    assert there.flags.c_contiguous and there.dtype == np.float32
    back = convert(there, 48000, rate, list(range(0, len(there), 4801)))[: len(samples)]
    middle = slice(rate // 4, -rate // 4)  # the ends of the signal are steps, which no filter passes
    error = np.mean((back - samples)[middle] ** 2) / np.mean(samples[middle] ** 2)
    assert 10 * np.log10(error + 1e-20) < -80  # also says: not shifted, scaled or inverted


@settings(max_examples=60, deadline=None)
@given(
    rates=st.tuples(st.sampled_from([*RATES, 8001, 44056, 191999]), st.just(48000)),
    frames=st.integers(0, 3000),
    channels=st.integers(1, 3),
    cuts=st.lists(st.integers(0, 3000), max_size=5),
    down=st.booleans(),
)
def test_resampled_length_is_exact_however_cut(rates, frames, channels, cuts, down):
    rate_in, rate_out = rates[::-1] if down else rates
    samples = speechlike(frames, channels)
    whole = convert(samples, rate_in, rate_out, [])
    assert whole.shape == (-(-frames * rate_out // rate_in), channels)
    np.testing.assert_array_equal(convert(samples, rate_in, rate_out, sorted(cuts)), whole)
