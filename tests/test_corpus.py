"""Recordings: how they are found, split and measured, and how they come into memory."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile
from scipy.signal import butter, sosfiltfilt
from signals import noise, snr_db, tone

from percepnet_cli.training.data import corpus as corpus_module
from percepnet_cli.training.data.corpus import Library, Recording, find, is_cut_off, measure_bandwidth, select_split


def test_a_folder_is_searched_and_its_sub_folders_are_the_speakers(corpus):
    found = find(corpus / "speech")
    assert [r.path for r in found] == sorted(str(p) for p in (corpus / "speech").rglob("*.wav"))
    assert [r.group for r in found] == ["anna", "anna", "ben", "ben", "cleo", "cleo"]
    assert {r.bandwidth_hz for r in found} == {None}


def test_files_that_lie_in_the_folder_itself_are_speakers_of_their_own(tmp_path):
    for name in ("one.wav", "two.FLAC", "notes.txt"):
        (tmp_path / name).touch()
    assert [r.group for r in find(tmp_path)] == ["one", "two"]


@pytest.mark.parametrize(("suffix", "delimiter"), [(".tsv", "\t"), (".csv", ",")])
def test_a_table_names_path_speaker_and_bandwidth(tmp_path, suffix, delimiter):
    rows = [
        ("bandwidth_hz", "path", "speaker"),
        ("", "a/1.wav", "ann"),
        ("8000", "/abs/2.wav", ""),
        ("1.5e4", "3.wav", "x"),
    ]
    table = tmp_path / f"table{suffix}"
    table.write_text("\n".join(delimiter.join(row) for row in rows) + "\n", "utf-8")
    assert find(table) == [
        Recording(str(tmp_path / "a/1.wav"), "ann", None),
        Recording("/abs/2.wav", "/abs/2.wav", 8000.0),
        Recording(str(tmp_path / "3.wav"), "x", 15000.0),
    ]


def test_a_list_holds_a_path_a_line(tmp_path):
    (tmp_path / "list.txt").write_text("# mine\nanna/ä 1.wav\n\n  /abs/ben/2.wav  \n", "utf-8")
    assert find(tmp_path / "list.txt") == [
        Recording(str(tmp_path / "anna/ä 1.wav"), "anna"),
        Recording("/abs/ben/2.wav", "ben"),
    ]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("missing", None, "no such file or folder"),
        ("empty.txt", "# nothing\n", "no recordings"),
        ("empty.tsv", "path\tspeaker\n", "no recordings"),
        ("void.csv", "", "no column 'path'"),
        ("wrong.csv", "file,speaker\na.wav,x\n", "no column 'path'"),
        ("number.csv", "path,bandwidth_hz\na.wav,wide\n", "bandwidth_hz"),
        ("short.csv", "speaker,path\nann\n", "path"),
    ],
)
def test_useless_sources_are_refused_by_name(tmp_path, name, content, words):
    source = tmp_path / name
    if content is not None:
        source.write_text(content, "utf-8")
    with pytest.raises(ValueError, match=words) as error:
        find(source)
    assert str(source) in str(error.value)


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no recordings"):
        find(tmp_path)


def test_split_keeps_groups_whole_and_depends_on_names_alone():
    recordings = [Recording(f"/x/{n}.wav", f"speaker {n // 3}") for n in range(3000)]
    train, held_out = select_split(recordings, "train"), select_split(recordings, "validation")
    assert select_split(recordings, "all") == recordings
    assert sorted((*train, *held_out), key=lambda r: int(r.path[len("/x/") : -len(".wav")])) == recordings
    assert not {r.group for r in train} & {r.group for r in held_out}
    assert 0.04 < len(held_out) / 3000 < 0.08
    elsewhere = [Recording(r.path.replace("/x/", "/y/"), r.group, 8000.0) for r in recordings[::-1][:999]]
    assert {r.group for r in select_split(elsewhere, "validation")} <= {r.group for r in held_out}


def test_the_split_never_changes():
    assert [n for n in range(60) if select_split([Recording("a", str(n))], "validation")] == [39, 49, 51, 55]


@pytest.mark.parametrize("cutoff", [3400, 8000, 12000, 18000])
def test_bandwidth_is_where_low_passed_noise_ends(rng, cutoff):
    low = sosfiltfilt(butter(16, cutoff, fs=48000, output="sos"), rng.standard_normal(96000)).astype(np.float32)
    assert measure_bandwidth(low) == pytest.approx(cutoff * 1.1, rel=0.15)
    hissing = low + 10 ** (-75 / 20) * noise(96000, rng, 1.0)  # a noise floor is not content
    assert measure_bandwidth(hissing) == pytest.approx(cutoff * 1.1, rel=0.15)


def test_bandwidth_of_full_band_noise_silence_and_a_scrap(rng):
    assert measure_bandwidth(noise(48000, rng)) > 23000
    assert measure_bandwidth(np.zeros(48000, np.float32)) == 24000
    assert measure_bandwidth(noise(500, rng)) == 24000


def test_a_quiet_half_does_not_widen_the_bandwidth(rng):
    low = sosfiltfilt(butter(16, 4000, fs=48000, output="sos"), rng.standard_normal(96000)).astype(np.float32)
    low[50000:] = noise(46000, rng, 1e-2)
    assert measure_bandwidth(low) < 6000


def test_library_reads_mono_at_48_khz(tmp_path):
    both = np.stack((tone(1000, 48000, 0.5), tone(1000, 48000, 0.1)), axis=1)
    soundfile.write(tmp_path / "stereo.wav", both, 48000, subtype="FLOAT")
    samples = Library().samples(Recording(str(tmp_path / "stereo.wav"), ""))
    assert samples.dtype == np.float32 and snr_db(both.mean(axis=1), samples) > 70
    soundfile.write(tmp_path / "low.wav", tone(1000, 48000)[::3], 16000, subtype="FLOAT")
    again = Library().samples(Recording(str(tmp_path / "low.wav"), ""))
    assert len(again) == 48000 and snr_db(tone(1000, 48000)[4800:-4800], again[4800:-4800]) > 60


def test_library_clips_what_is_too_loud_and_shrugs_at_what_it_cannot_read(tmp_path):
    soundfile.write(tmp_path / "loud.wav", tone(100, 4800, 3.0), 48000, subtype="FLOAT")
    assert np.abs(Library().samples(Recording(str(tmp_path / "loud.wav"), ""))).max() == 1
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    for name in ("broken.wav", "missing.wav"):
        assert len(Library().samples(Recording(str(tmp_path / name), ""))) == 0


def test_library_keeps_the_latest_within_its_limit(corpus, monkeypatch):
    reads = []
    read = corpus_module.read_mono
    monkeypatch.setattr(corpus_module, "read_mono", lambda path, warn: reads.append(path) or read(path))
    a, b, c = find(corpus / "speech")[:3]
    library = Library(limit_bytes=2 * 2 * 72000)
    for recording in (a, b, a, b, c, b, c, a):
        assert len(library.samples(recording)) == 72000
    assert reads == [a.path, b.path, c.path, a.path]  # c pushed a out, which was used longest ago
    assert np.array_equal(library.samples(a), Library().samples(a))


def test_bandwidth_is_taken_from_the_table_or_measured_once(corpus, monkeypatch):
    library = Library()
    hiss = str(corpus / "noise" / "hiss.wav")
    assert library.bandwidth_hz(Recording(hiss, "", 5000.0)) == 5000
    assert library.bandwidth_hz(Recording(hiss, "")) > 23000
    monkeypatch.setattr(corpus_module, "measure_bandwidth", lambda samples: 1.0)
    assert library.bandwidth_hz(Recording(hiss, "")) > 23000


def test_a_table_names_collection_and_kind(tmp_path):
    rows = ["path\tcollection\tkind", "a.wav\tone\twords", "b.wav\ttwo\tsentences", "c.wav\t\t", "d.wav\tx\tother"]
    (tmp_path / "t.tsv").write_text("\n".join(rows) + "\n")
    assert [(r.collection, r.kind) for r in find(tmp_path / "t.tsv")] == [
        ("one", "words"),
        ("two", "sentences"),
        ("", ""),
        ("x", ""),
    ]


def test_decoded_recordings_are_kept_for_all_processes(corpus, tmp_path, monkeypatch):
    recording = find(corpus / "speech")[0]
    plain = Library().samples(recording)
    assert np.array_equal(Library(folder=tmp_path / "cache").samples(recording), plain)
    kept = list((tmp_path / "cache").rglob("*.s16"))
    assert [p.stat().st_size for p in kept] == [2 * len(plain)]

    monkeypatch.setattr(corpus_module, "read_mono", None)  # nothing is decoded again
    assert np.array_equal(Library(folder=tmp_path / "cache").samples(recording), plain)
    monkeypatch.undo()

    changed = tmp_path / "changed.wav"
    for level in (0.1, 0.2):  # a file that was replaced is another
        soundfile.write(changed, np.full(480, level), 48000)
        assert Library(folder=tmp_path / "cache").samples(Recording(str(changed), "")).max() == pytest.approx(
            level, abs=1e-4
        )
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    for library in (Library(folder=tmp_path / "cache") for _ in range(2)):
        assert len(library.samples(Recording(str(tmp_path / "broken.wav"), ""))) == 0
        assert library.faults.unreadable == {str(tmp_path / "broken.wav")}


@pytest.mark.service
def test_a_segment_of_a_long_recording_is_drawn(corpus, rng):
    library, recording = Library(), find(corpus / "speech")[0]
    whole = library.samples(recording)
    starts = set()
    for _ in range(20):
        part = library.samples(recording, 1000, rng)
        start = np.flatnonzero([np.array_equal(whole[n : n + 1000], part) for n in range(len(whole) - 999)])
        assert len(part) == 1000 and len(start)
        starts.add(start[0])
    assert len(starts) > 10
    assert np.array_equal(library.samples(recording, len(whole), rng), whole)


def test_the_cache_leaves_room_for_other_processes(monkeypatch):
    assert corpus_module.cache_bytes() <= 800_000_000
    monkeypatch.setattr(corpus_module.os, "sysconf", lambda name: {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 10**6}[name])
    assert corpus_module.cache_bytes() == 409_600_000


def sloping(rng, db_per_khz, size=96000):
    """White noise whose spectrum falls by so much."""
    spectrum = np.fft.rfft(rng.standard_normal(size)) * 10 ** (-db_per_khz * np.arange(size // 2 + 1) / size * 48 / 20)
    samples = np.fft.irfft(spectrum)
    return (0.1 * samples / samples.std()).astype(np.float32)


@pytest.mark.parametrize("cutoff", [10000, 15500])
def test_a_codec_cuts_and_a_voice_runs_out(rng, tmp_path, cutoff):
    whole = sloping(rng, 60 / cutoff * 1000)  # 60 dB lower at the cutoff
    assert measure_bandwidth(whole) == pytest.approx(cutoff, rel=0.1)
    assert not is_cut_off(whole, cutoff)
    cut = sosfiltfilt(butter(16, cutoff, fs=48000, output="sos"), sloping(rng, 1.0)).astype(np.float32)
    assert is_cut_off(cut, measure_bandwidth(cut))
    assert not is_cut_off(cut, 22000.0)

    for name, samples, known in (("whole", whole, 24000), ("cut", cut, measure_bandwidth(cut))):
        soundfile.write(tmp_path / f"{name}.wav", samples, 48000, subtype="FLOAT")
        recording = Recording(str(tmp_path / f"{name}.wav"), "", measure_bandwidth(samples))
        assert Library().known_up_to_hz(recording) == pytest.approx(known, abs=100)


def test_what_is_known_is_measured_once(corpus, monkeypatch):
    library, recording = Library(), find(corpus / "speech")[0]
    known = library.known_up_to_hz(recording)
    monkeypatch.setattr(corpus_module, "is_cut_off", None)
    assert library.known_up_to_hz(recording) == known
