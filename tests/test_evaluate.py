"""``percepnet evaluate``: pairs are found, scored and summed up; what is wrong is a sentence."""

from __future__ import annotations

import csv
import json
import math

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner
from signals import noise, speech

from percepnet_cli.cli import main
from percepnet_cli.constants import DEFAULT_FILE_MODEL
from percepnet_cli.errors import AudioError
from percepnet_cli.evaluation import report, score

QUICK = ["--no-dnsmos", "--no-wer", "--jobs", "1", "--draws", "50"]
LEVELS = {"a": 0, "b": 10, "deep/c": 10}


def run(*arguments):
    return CliRunner().invoke(main, ["evaluate", *map(str, arguments)])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three pairs, one in a folder below, one of another rate and stereo; a better and a later version of them."""
    top = tmp_path_factory.mktemp("pairs")
    rng = np.random.default_rng(3)

    for name, snr_db in LEVELS.items():
        rate = 16000 if name == "b" else 48000
        clean = 0.5 * speech(2 * rate, rng)[0]
        hiss = noise(len(clean), rng)
        hiss *= np.sqrt(np.sum(clean**2) / np.sum(hiss**2)) * 10 ** (-snr_db / 20)
        versions = {
            "clean": clean,
            "noisy": clean + hiss,
            "better": clean + 0.3 * hiss,
            "late": np.concatenate((np.zeros(rate // 100), clean + 0.3 * hiss)),
        }
        for version, samples in versions.items():
            path = top / version / f"{name}.{'wav' if version == 'clean' else 'flac'}"
            path.parent.mkdir(parents=True, exist_ok=True)
            if name == "b" and version == "noisy":
                samples = np.stack((samples, samples), axis=1)
            soundfile.write(path, samples, rate, subtype="PCM_16")

    return top


@pytest.mark.service
def test_everything_at_once(folder, tmp_path):
    pytest.importorskip("pesq")
    result = run(
        folder / "clean", folder / "noisy", "--compare", f"better={folder / 'better'}", "--compare",
        f"late={folder / 'late'}", "--csv", tmp_path / "s.csv", "--json", tmp_path / "s.json", *QUICK,
    )  # fmt: skip

    assert result.exit_code == 0, result.output
    with (tmp_path / "s.csv").open() as file:
        rows = {(row["file"], row["system"]): row for row in csv.DictReader(file)}
    assert len(rows) == 9

    for name, snr_db in LEVELS.items():
        assert float(rows[name, "noisy"]["snr_db"]) == pytest.approx(snr_db, abs=0.3)  # the edge of the narrow band
        assert float(rows[name, "better"]["si_sdr"]) == pytest.approx(snr_db + 10.46, abs=0.3)
        assert float(rows[name, "late"]["delay_ms"]) == pytest.approx(10, abs=0.05)
        assert float(rows[name, "late"]["length_difference"]) == pytest.approx(480, abs=3)
        assert float(rows[name, "late"]["si_sdr"]) == pytest.approx(float(rows[name, "better"]["si_sdr"]), abs=0.3)
        assert float(rows[name, "better"]["pesq_wb"]) > float(rows[name, "noisy"]["pesq_wb"])

    content = json.loads((tmp_path / "s.json").read_text())
    assert content["bootstrap"] == {"draws": 50, "seed": 0, "confidence": 0.95}
    gain = content["systems"]["better"]["minus_first"]["si_sdr"]
    assert gain["low"] <= gain["mean"] <= gain["high"] and gain["mean"] == pytest.approx(10.46, abs=0.3)
    assert set(content["systems"]["noisy"]["by_snr"]) == {"0", "10"}
    assert "| 10 dB (2), better" in result.stdout and "better - noisy" in result.stdout
    assert "50 draws, seed 0" in result.stdout


def test_the_shipped_model_when_there_is_nothing_else(folder, tmp_path):
    result = run(folder / "clean" / "a.wav", folder / "noisy" / "a.flac", "--json", tmp_path / "s.json", *QUICK)
    assert result.exit_code == 0, result.output
    (noisy, ours) = json.loads((tmp_path / "s.json").read_text())["rows"]
    assert noisy["system"] == "noisy" and ours["system"] == f"model {DEFAULT_FILE_MODEL}"
    from percepnet_cli.audio.whole import read_mono
    from percepnet_cli.file_denoiser import denoise_file
    from percepnet_cli.metrics.levels import si_sdr

    denoise_file(folder / "noisy" / "a.flac", tmp_path / "out.wav")
    expected = si_sdr(read_mono(folder / "clean" / "a.wav"), read_mono(tmp_path / "out.wav"))
    assert ours["si_sdr"] == pytest.approx(expected, abs=0.05)  # the file has 16 bits


@pytest.mark.service
def test_processes_find_the_same(folder, tmp_path):
    for jobs in "1", "2":
        result = run(
            folder / "clean", "--compare", f"x={folder / 'better'}", "--csv", tmp_path / f"{jobs}.csv", *QUICK,
            "--jobs", jobs,
        )  # fmt: skip
        assert result.exit_code == 0, result.output
    assert (tmp_path / "1.csv").read_text() == (tmp_path / "2.csv").read_text()


def test_a_manifest_gives_snr_and_text(folder, tmp_path):
    table = tmp_path / "list.tsv"
    table.write_text("file\tsnr_db\ttext\na.wav\t3\tHello world\nc.wav\t-2.5\t\ndeep/c.flac\t7\t\n")
    pairs = {p.name: p for p in score.find_pairs(folder / "clean", folder / "noisy", {}, table)}
    assert (pairs["a"].snr_db, pairs["a"].text) == (3, "Hello world")
    assert pairs["b"].snr_db is None and pairs["b"].text is None
    assert pairs["deep/c"].snr_db == 7
    (folder / "clean" / "b.txt").write_text("beside")
    try:
        pairs = {p.name: p for p in score.find_pairs(folder / "clean", folder / "noisy", {}, table)}
    finally:
        (folder / "clean" / "b.txt").unlink()
    assert pairs["b"].text == "beside"


@pytest.mark.parametrize(
    "content",
    [
        "name\nx\n",
        "file,snr_db\na,loud\n",
        "file,snr_db\na,nan\n",
        b"file\n\xff\n",
        "file\nz\n",
    ],
)
def test_bad_manifests_are_sentences(folder, tmp_path, content):
    table = tmp_path / "list.csv"
    table.write_bytes(content if isinstance(content, bytes) else content.encode())
    result = run(folder / "clean", folder / "noisy", "--manifest", table, *QUICK)
    assert result.exit_code == 1 and result.stderr.startswith(f"Error: {table}")


def test_words_are_counted_over_all_files(folder, monkeypatch):
    heard = iter([["the", "cat"], ["the"], ["a", "dog", "ran"], ["a", "dog", "ran"], ["x"], ["y", "z"]])
    monkeypatch.setattr(score.recognition, "recognize", lambda samples: next(heard))
    pairs = score.find_pairs(folder / "clean", None, {"mine": folder / "better"})
    settings = score.Settings(groups=frozenset(), words=True)
    rows = [row for done in score.run(pairs, settings) for row in done.result]
    table = report.Table(rows)
    assert table.columns["wer"][0] == "WER vs clean %"
    assert table.estimate("wer", "mine", table.files).mean == pytest.approx(100 * (1 + 0 + 2) / 6)


def test_words_against_what_is_spoken_rate_the_clean_recording_too(folder, monkeypatch):
    heard = iter([["the", "cat"], ["the"]])
    monkeypatch.setattr(score.recognition, "recognize", lambda samples: next(heard))
    (pair,) = score.find_pairs(folder / "clean" / "a.wav", None, {"mine": folder / "better" / "a.flac"})
    pair = score.Pair(pair.name, pair.clean, pair.tests, text="The cat sat.")
    rows = score.score(score.Settings(groups=frozenset(), words=True, transcripts=True), pair)
    table = report.Table(rows, transcripts=True)
    assert {row["system"]: row["word_errors"] for row in rows} == {"clean": 1, "mine": 2}
    assert table.columns["wer"][0] == "WER %" and "66.7" in table.summary()


@pytest.mark.service
def test_a_real_recognizer(folder):
    pytest.importorskip("pocketsphinx")
    result = run(folder / "clean" / "a.wav", "--compare", f"x={folder / 'clean' / 'a.wav'}", "--no-dnsmos")
    assert result.exit_code == 0, result.output
    assert "it hears in the clean recordings" in result.stderr


def test_scores_that_one_file_lacks_are_left_out_for_all():
    rows = [
        {"file": file, "system": system, "snr_db": 0.0, "pesq_wb": score, "delay_ms": 0.0, "length_difference": 0}
        for file, scores in (("a", (1.0, 2.0)), ("b", (3.0, math.nan)))
        for system, score in zip("xy", scores, strict=True)
    ]
    table = report.Table(rows, draws=20)
    assert table.estimate("pesq_wb", "x", table.files).mean == 1
    assert table.gaps() == ["PESQ-wb: not defined for 1 of 2 files (b), left out"]


def test_bad_input_is_a_sentence(folder, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "part").mkdir()
    soundfile.write(tmp_path / "part" / "a.wav", np.zeros(100), 48000)
    (tmp_path / "there.csv").write_text("mine")
    clean = folder / "clean"

    for arguments, sentence in (
        ((clean, tmp_path / "no"), "there is no such file or folder"),
        ((clean, folder / "noisy" / "a.flac"), "give folders only or files only"),
        ((tmp_path / "empty", folder / "noisy"), "no sound files there"),
        ((clean, tmp_path / "part"), "2 of 3 recordings"),
        ((clean, folder / "noisy", "--csv", tmp_path / "there.csv"), "already exists; use --force"),
        ((clean, folder / "noisy", "--json", tmp_path / "no" / "x.json"), "there is no such folder"),
        ((clean, folder / "noisy", "--csv", tmp_path / "part"), "is a folder; give the name of a file"),
    ):
        result = run(*arguments, *QUICK)
        assert result.exit_code == 1 and sentence in result.stderr and result.stderr.count("\n") <= 2, result.output

    assert (tmp_path / "there.csv").read_text() == "mine"

    for arguments in (
        (clean,),
        (clean, "--model", "lite", "--compare", "x=y"),
        (clean, "--compare", "noisy=x"),
        (clean, folder / "noisy", "--csv", tmp_path / "x", "--json", tmp_path / "x"),
    ):
        assert run(*arguments).exit_code == 2


def test_recordings_without_a_clean_one_are_told(folder, tmp_path):
    for name in ("a.wav", "b.wav"):
        soundfile.write(tmp_path / name, noise(9600, np.random.default_rng(1)), 48000)
    (tmp_path / "clean").mkdir()
    (tmp_path / "a.wav").rename(tmp_path / "clean" / "a.wav")
    soundfile.write(tmp_path / "a.flac", noise(9600, np.random.default_rng(2)), 48000)
    result = run(tmp_path / "clean", "--compare", f"x={tmp_path}", *QUICK)
    assert result.exit_code == 0, result.output
    assert f"left out: 2 of 3 recordings of {tmp_path} have no clean one, such as b" in result.stderr


def test_one_file_has_no_interval(folder):
    result = run(folder / "clean" / "a.wav", "--compare", f"x={folder / 'better' / 'a.flac'}", *QUICK)
    assert result.exit_code == 0 and "| 1 file " in result.stdout
    assert " to " not in result.stdout and "One file has no interval." in result.stdout


def test_a_damaged_file_does_not_end_the_others(folder, tmp_path, monkeypatch):
    def refuse(*arguments):
        raise AudioError("other.csv cannot be written: No space left on device")

    for name in ("good", "bad"):
        soundfile.write(tmp_path / f"{name}.wav", speech(48000, np.random.default_rng(1))[0], 48000)
    (tmp_path / "bad.wav").write_bytes(b"no sound" * 10000)
    result = run(tmp_path, "--compare", f"x={tmp_path}", "--csv", tmp_path / "s.csv", *QUICK)
    assert result.exit_code == 1
    assert "Error: " in result.stderr and "bad.wav" in result.stderr
    assert (tmp_path / "s.csv").read_text().count("\n") == 2

    # Named although the table cannot be written
    monkeypatch.setattr(report, "write_csv", refuse)
    result = run(tmp_path, "--compare", f"x={tmp_path}", "--csv", tmp_path / "other.csv", *QUICK)
    assert result.exit_code == 1 and "bad.wav" in result.stderr and "No space left" in result.stderr


def test_two_files_of_one_name_are_refused(tmp_path):
    for suffix in ("wav", "flac"):
        soundfile.write(tmp_path / f"a.{suffix}", np.zeros(10), 48000)
    with pytest.raises(AudioError, match="same name"):
        score.recordings(tmp_path)
