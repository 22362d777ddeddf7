"""Arrays as people have them: any type, rate and library, and sentences where one is no sound."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile
from signals import noise, speech

import percepnet_cli
from percepnet_cli import Denoiser, denoise, denoise_file
from percepnet_cli.audio.arrays import from_float, read_array, to_float

INTEGERS = ["int8", "uint8", "int16", ">i2", "int32"]


@pytest.fixture(scope="module")
def mono():
    rng = np.random.default_rng(15)
    samples = speech(48000, rng)[0] + noise(48000, rng, 0.02)
    return (0.5 * samples / np.max(np.abs(samples))).astype(np.float32)


@pytest.mark.parametrize("dtype", INTEGERS)
def test_integers_survive_the_way_there_and_back(dtype):
    info = np.iinfo(dtype)
    array = np.linspace(info.min, info.max, 999).astype(dtype)
    samples = to_float(read_array(array))
    assert samples.dtype == np.float32 and samples[0] == -1 and 0.99 < samples[-1] <= 1
    back = from_float(samples, array.dtype)
    step = 256 if info.bits == 32 else 0  # float32 has 24 bits
    assert back.dtype == array.dtype and np.max(np.abs(back.astype(np.int64) - array)) <= step


def test_integers_are_rounded_and_clipped():
    found = from_float(np.float32([0.6 / 32768, -0.6 / 32768, 1.5, -1.5, 0]), np.dtype(np.int16))
    assert found.tolist() == [1, -1, 32767, -32768, 0]
    assert from_float(np.float32([0, 1.5, -1.5]), np.dtype(np.uint8)).tolist() == [128, 255, 0]


@pytest.mark.parametrize("dtype", ["int16", "int32"])
def test_integers_are_cleaned_as_floats_are(random_model, mono, dtype):
    scale = 2.0 ** (np.iinfo(dtype).bits - 1)
    samples = np.rint(mono.astype(np.float64) * scale).astype(dtype)
    denoiser = Denoiser(random_model)
    cleaned = denoiser.denoise(samples)
    assert cleaned.dtype == dtype and cleaned.shape == samples.shape
    expected = denoiser.denoise(to_float(samples))
    assert np.any(expected) and np.max(np.abs(cleaned / scale - expected)) <= 0.5 / scale + 2**-24


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 44100, 48000, 96000])
@pytest.mark.parametrize("channels", [None, 2])
def test_other_rates_keep_length_and_alignment(random_model, mono, rate, channels):
    samples = mono[:: -(-48000 // rate)][:9001]
    samples = samples if channels is None else np.stack([samples, samples[::-1]], axis=1)
    denoiser = Denoiser(random_model, channels=channels or 1, attenuation_limit_db=0.0, post_filter=False)
    denoiser.process(np.ones((500, channels or 1), np.float32))  # a stream that has begun
    for given in (samples, np.asfortranarray(samples)):
        cleaned = denoiser.denoise(given, rate)
        assert cleaned.dtype == np.float32 and cleaned.shape == samples.shape

    # Nothing is taken away: what comes back is in its place
    lags = {lag: np.sum(samples[100:-100] * np.roll(cleaned, lag, 0)[100:-100]) for lag in range(-3, 4)}
    assert max(lags, key=lags.get) == 0


@pytest.mark.parametrize("rate", [16000, 44100])
def test_an_array_is_cleaned_as_its_file_is(tmp_path, mono, rate):
    samples = np.rint(mono[:20000] * 32767).astype(np.int16)
    soundfile.write(tmp_path / "in.wav", samples, rate)
    denoise_file(tmp_path / "in.wav", tmp_path / "out.wav", post_filter=True)
    expected, _ = soundfile.read(tmp_path / "out.wav", dtype="int16")
    found = denoise(samples, rate, post_filter=True)
    assert found.dtype == np.int16 and np.max(np.abs(found.astype(int) - expected)) <= 1


def test_amounts_and_presets_are_those_of_files(random_model, mono):
    def limited(limit_db):
        return denoise(mono, 48000, model=random_model, attenuation_limit_db=limit_db)

    assert np.array_equal(denoise(mono, 48000, model=random_model, amount=90), limited(20.0))
    assert np.array_equal(denoise(mono, 48000, model=random_model, preset="gentle"), limited(9.0))
    assert not np.array_equal(limited(9.0), limited(20.0))
    with pytest.raises(ValueError, match="preset is 'loud'"):
        denoise(mono, 48000, model=random_model, preset="loud")


def test_tensors_lists_and_other_floats_are_arrays(random_model, mono):
    denoiser, short = Denoiser(random_model), mono[:2000]
    expected = denoiser.denoise(short)
    given = [short.tolist(), short.astype(np.float64), short.astype(">f4")]
    torch = pytest.importorskip("torch")
    for samples in [*given, torch.from_numpy(short)]:
        assert np.array_equal(denoiser.denoise(samples), expected)
    assert denoiser.denoise([0, 1, 0]).dtype == np.float32
    assert denoiser.denoise(torch.zeros(100, dtype=torch.int16)).dtype == np.int16


@pytest.mark.parametrize(
    ("samples", "error", "words"),
    [
        (np.zeros((2, 48000), np.float32), ValueError, "transpose"),
        (np.zeros((1, 48000), np.int16), ValueError, "transpose"),
        (np.zeros((1, 2, 480)), ValueError, "shape"),
        (np.float32(0), ValueError, "shape"),
        (np.full(100, -32768.0), ValueError, "reach 32768.*is this int16 scaled to float"),
        ([0, 1000, 0], ValueError, "is this int16 scaled to float"),
        (np.full(100, 1e300), ValueError, "scaled"),
        (np.zeros(100, complex), TypeError, "complex"),
        (["a", "b"], TypeError, "samples are"),
        ("noisy.wav", TypeError, "samples are"),
        (None, TypeError, "samples are object"),
        (np.zeros(100, bool), TypeError, "bool"),
        (np.zeros(100, np.int64), TypeError, "int64"),
    ],
)
def test_no_sound_is_answered_with_a_sentence(random_model, samples, error, words):
    for function in (Denoiser(random_model).denoise, lambda x: denoise(x, 16000)):
        with pytest.raises(error, match=words):
            function(samples)


def test_a_denoiser_of_two_channels_names_the_turned_axes(random_model):
    denoiser = Denoiser(random_model, channels=2)
    for function in (denoiser.denoise, denoiser.process):
        with pytest.raises(ValueError, match=r"\(2, 50\).*transpose"):
            function(np.zeros((2, 50), np.float32))
        with pytest.raises(ValueError, match=r"\(50, 3\), expected \[n, 2\]$"):
            function(np.zeros((50, 3), np.float32))


@pytest.mark.parametrize("samples", [np.zeros(480, np.int16), np.zeros(480, complex), ["a"]])
def test_a_stream_takes_floats(random_model, samples):
    with pytest.raises(TypeError, match="float"):
        Denoiser(random_model).process(samples)


@pytest.mark.parametrize("garbage", [np.nan, np.inf])
def test_garbage_among_floats_counts_as_silence(random_model, mono, garbage):
    samples = mono[:5000].copy()
    samples[2000] = garbage
    assert np.all(np.isfinite(Denoiser(random_model).denoise(samples)))


@pytest.mark.parametrize(
    ("rate", "error"),
    [(0, ValueError), (7999, ValueError), (400_000, ValueError), (16000.5, TypeError), ("x", TypeError)],
)
def test_a_senseless_rate_is_refused(random_model, rate, error):
    with pytest.raises(error, match="sample_rate is"):
        Denoiser(random_model).denoise(np.zeros(100), rate)


def test_a_rate_may_be_a_whole_float(random_model):
    assert Denoiser(random_model).denoise(np.zeros(100), 16000.0).shape == (100,)


def test_the_package_and_the_denoiser_show_themselves(random_model):
    assert {name for name in dir(percepnet_cli) if not name.startswith("__")} < set(percepnet_cli.__all__)
    assert set(percepnet_cli.__all__) <= set(dir(percepnet_cli))
    assert issubclass(percepnet_cli.UnknownFormatError, percepnet_cli.AudioError)
    shown = repr(Denoiser(random_model, channels=2, attenuation_limit_db=12))
    assert shown.startswith("Denoiser('") and "channels=2" in shown and "attenuation_limit_db=12" in shown
