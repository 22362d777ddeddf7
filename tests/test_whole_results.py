"""What does not get to the disk as a whole gets no name, in any format that is written."""

from __future__ import annotations

import os

import numpy as np
import pytest
import soundfile
from rewritten import rewrite

from percepnet_cli.audio.suffixes import CONTAINERS, FFMPEG_CONTAINERS
from percepnet_cli.errors import AudioError
from percepnet_cli.storage import atomic

pytestmark = pytest.mark.skipif(os.name == "nt", reason="limits and descriptors of POSIX")

SUFFIXES = [
    pytest.param(suffix, marks=[pytest.mark.ffmpeg] if suffix in FFMPEG_CONTAINERS else [])
    for suffix in sorted({*CONTAINERS, *FFMPEG_CONTAINERS})
]


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Two seconds of noise that fades in and out, as a WAV."""
    rng = np.random.default_rng(5)
    samples = 0.2 * rng.standard_normal(96_001) * np.hanning(96_001)
    path = tmp_path_factory.mktemp("whole") / "in.wav"
    soundfile.write(path, samples, 48000, subtype="PCM_16")
    return path


def check_losses(source, folder, suffix, monkeypatch):
    """Lose the end of files as they are brought to the disk: as if it had been full, and nobody had said so."""
    size = rewrite(source, folder / f"whole{suffix}").stat().st_size
    (folder / f"kept{suffix}").write_bytes(b"old")
    original, losses = os.fsync, []

    def fsync(descriptor):
        os.ftruncate(descriptor, max(0, os.fstat(descriptor).st_size - losses[-1]))
        original(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    for lost, name in ((4096, "new"), (size // 2, "kept"), (size, "new")):
        losses.append(lost)
        with pytest.raises(AudioError, match=r"did not get to the disk as a whole: is the disk full\?"):
            rewrite(source, folder / f"{name}{suffix}")
    assert sorted(os.listdir(folder)) == [f"kept{suffix}", f"whole{suffix}"]
    assert (folder / f"kept{suffix}").read_bytes() == b"old"


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_disk_that_loses_the_end_gives_no_name(source, tmp_path, monkeypatch, suffix):
    check_losses(source, tmp_path, suffix, monkeypatch)


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", pytest.param(".mkv", marks=pytest.mark.ffmpeg)])
def test_likewise_where_files_under_way_have_names(source, tmp_path, monkeypatch, suffix):
    monkeypatch.setattr(atomic, "_OPEN_FILES", "/none")
    check_losses(source, tmp_path, suffix, monkeypatch)


@pytest.mark.parametrize("suffix", sorted(CONTAINERS))
def test_a_disk_that_is_full_at_any_byte_gives_no_name(source, tmp_path, suffix):
    """A limit on the size of files, from the first byte to the last but one."""
    resource = pytest.importorskip("resource")
    size = rewrite(source, tmp_path / f"whole{suffix}").stat().st_size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for limit in (1, size // 3, size - 4097, size - 4096, size - 100, size - 1):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        try:
            with pytest.raises(AudioError, match=r"disk full|cannot be written"):
                rewrite(source, tmp_path / f"out{suffix}", force=False)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert os.listdir(tmp_path) == [f"whole{suffix}"]


def check_whole(folder, monkeypatch, rate, frames, suffixes):
    """Write noise into a file of each kind: nothing is missing, so nothing is said."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    rng = np.random.default_rng(frames)
    source = folder / "in.wav"
    soundfile.write(source, 0.1 * rng.standard_normal((frames, 2)), rate, subtype="PCM_16")
    for suffix in suffixes:
        assert rewrite(source, folder / f"out{suffix}").stat().st_size > 0


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 44100, 48000, 96000])
@pytest.mark.parametrize("frames", [1, 100, 50_000])
def test_what_is_whole_is_taken_for_whole(tmp_path, monkeypatch, rate, frames):
    left_out = {
        *FFMPEG_CONTAINERS,
        *([".opus"] if rate not in (8000, 48000) else []),
        *([".mp3"] if rate > 48000 else []),
    }
    check_whole(tmp_path, monkeypatch, rate, frames, sorted({*CONTAINERS} - left_out))


@pytest.mark.ffmpeg
@pytest.mark.parametrize("rate", [22050, 48000])
@pytest.mark.parametrize("frames", [1, 100, 50_000])
def test_what_ffmpeg_wrote_as_a_whole_likewise(tmp_path, monkeypatch, rate, frames):
    """Of one sample in Opus, ffmpeg makes no packet: that file would hold nothing."""
    suffixes = [".mp4", ".mkv", ".aac", ".wma", *([".webm"] if frames > 1 else [])]
    check_whole(tmp_path, monkeypatch, rate, frames, suffixes)
