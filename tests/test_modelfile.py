"""Model files: what is written comes back, and whatever is wrong with one is said in a sentence."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
from conftest import SMALL, random_tensors
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load, save

from percepnet_cli.errors import ModelError
from percepnet_cli.network.graph import PRESETS, Sizes, matrices
from percepnet_cli.network.modelfile import LARGEST_WIDTH, layout, load_model, model_bytes, shipped_names
from percepnet_cli.network.quantize import quantize_tensors

SIZES = Sizes(*SMALL)
TENSORS = quantize_tensors(random_tensors(SIZES, 1), SIZES)
DATA = model_bytes(TENSORS, SIZES, "int8", {"origin": "a test"})
HEADER = 8 + int.from_bytes(DATA[:8], "little")


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("model") / "some model.safetensors"


def metadata():
    return json.loads(json.loads(DATA[8:HEADER])["__metadata__"]["percepnet"])


def changed(tensors=None, **entries):
    """A file with other tensors or other entries in its description; an entry of None is left out."""
    described = metadata() | entries
    described = {key: value for key, value in described.items() if value is not None}
    return save(TENSORS if tensors is None else tensors, {"percepnet": json.dumps(described)})


def without(name):
    return {key: tensor for key, tensor in TENSORS.items() if key != name}


def reason(path, content, kind="int8"):
    """Write a file, require that it is refused in one sentence that names it, and return the sentence."""
    path.write_bytes(content)
    with pytest.raises(ModelError) as error:
        load_model(path, kind)
    text = str(error.value)
    assert str(path) in text and "\n" not in text and len(text.replace(str(path), "")) < 200
    assert error.value.__suppress_context__ or error.value.__context__ is None
    return text


def test_what_is_written_comes_back(path):
    path.write_bytes(DATA)
    for name in (path, str(path)):
        model = load_model(name)
        assert model.name == "some model" and model.sizes == SIZES
        assert set(model.tensors) == set(TENSORS)
        for tensor, values in TENSORS.items():
            assert model.tensors[tensor].dtype == values.dtype
            assert np.array_equal(model.tensors[tensor], values)
        assert model.metadata["origin"] == "a test" and model.metadata["sample_rate"] == 48000
        assert model.digest == hashlib.sha256(DATA).hexdigest()
        assert model.num_weights == sum(int(np.prod(s)) for s in matrices(SIZES).values())


def test_float_models_come_back_too(path):
    tensors = random_tensors(SIZES, 2)
    path.write_bytes(model_bytes(tensors, SIZES, "float", {}))
    model = load_model(path, "float")
    assert all(np.array_equal(model.tensors[name], tensor) for name, tensor in tensors.items())


def test_a_bidirectional_network_comes_back_as_float_and_in_8_bits(path):
    sizes = SIZES._replace(bidirectional=True)
    tensors = random_tensors(sizes, 2)
    path.write_bytes(model_bytes(tensors, sizes, "float", {}))
    assert load_model(path, "float").sizes == sizes
    assert {"gru1.weight_hh", "gru1_backward.weight_hh", "strength_gru_backward.bias_ih"} < set(tensors)
    path.write_bytes(model_bytes(quantize_tensors(tensors, sizes), sizes, "int8", {}))
    model = load_model(path)
    assert model.sizes == sizes and model.tensors["gru1_backward.weight_hh"].dtype == np.int8
    assert (model.latency_hops, model.latency_samples) == (149, 1440 + 149 * 480)
    assert "make no sense" in reason(path, changed(sizes=SIZES._asdict() | {"bidirectional": 2}))
    # a causal network does not mention it
    assert "bidirectional" not in metadata()["sizes"]


def test_same_content_gives_the_same_bytes_and_origin_cannot_forge():
    again = model_bytes(dict(reversed(TENSORS.items())), SIZES, "int8", {"origin": "a test"})
    assert again == DATA
    forged = model_bytes(TENSORS, SIZES, "int8", {"origin": "a test", "kind": "float", "sample_rate": 8000})
    assert forged == DATA


def test_the_published_network_has_8_million_weights():
    sizes = Sizes(128, 512, 512, 512, 512, 128)
    assert sum(int(np.prod(shape)) for shape in matrices(sizes).values()) == 7_948_288
    assert {dtype for dtype, _ in layout(sizes, "float").values()} == {"float32"}


def test_missing_files_and_unknown_names(tmp_path):
    for name in (tmp_path / "none.safetensors", str(tmp_path / "none.safetensors"), tmp_path):
        with pytest.raises(ModelError, match="no such model file"):
            load_model(name)
    with pytest.raises(ModelError, match="there is no model 'imaginary': shipped are"):
        load_model("imaginary")


def test_empty_and_random_files(path, rng):
    for content in (b"", b"\0" * 7, b"\0" * 100, b"RIFF" + rng.bytes(5000), rng.bytes(100_000), b"{}" * 40):
        assert "damaged" in reason(path, content)


def test_another_safetensors_file(path):
    assert "not a percepnet model" in reason(path, save({"x": np.zeros(3, np.float32)}))
    assert "not a percepnet model" in reason(path, save(TENSORS, {"percepnet": "{"}))
    assert "not a JSON object" in reason(path, save(TENSORS, {"percepnet": "[1, 2]"}))


@given(length=st.one_of(st.integers(0, HEADER), st.integers(HEADER, len(DATA) - 1)))
@settings(max_examples=60, deadline=None)
def test_a_truncated_file(path, length):
    assert "damaged" in reason(path, DATA[:length])


@given(place=st.integers(0, HEADER - 1), value=st.integers(0, 255))
@settings(max_examples=150, deadline=None)
def test_a_byte_of_the_header_that_flipped(path, place, value):
    content = bytearray(DATA)
    content[place] = value
    path.write_bytes(content)
    try:
        model = load_model(path)
    except ModelError as error:
        assert "\n" not in str(error)
    else:  # then only a note in the description can have changed
        assert model.sizes == SIZES
        assert all(np.array_equal(model.tensors[name], tensor) for name, tensor in TENSORS.items())


def test_data_after_the_end(path):
    assert "damaged" in reason(path, DATA + b"more")


@pytest.mark.parametrize(
    ("entry", "value", "words"),
    [
        ("format_version", 2, "format version 2, this program reads 1"),
        ("format_version", None, "format version None"),
        ("kind", "float", "percepnet quantize"),
        ("kind", "int4", "kind 'int4', not 'int8'"),
        ("sample_rate", 16000, "sample_rate 16000, this program has 48000"),
        ("hop", 256, "hop 256"),
        ("bands", 32, "bands 32"),
        ("features", 65, "features 65"),
        ("lookahead_hops", 3, "lookahead_hops 3"),
        ("sizes", None, "layer sizes"),
        ("sizes", {"dense": 16}, "layer sizes"),
        ("sizes", [16, 24], "layer sizes"),
        ("sizes", SIZES._asdict() | {"gru": 0}, "layer sizes make no sense"),
        ("sizes", SIZES._asdict() | {"gru": 24.0}, "layer sizes make no sense"),
        ("sizes", SIZES._asdict() | {"gru": LARGEST_WIDTH + 1}, "layer sizes make no sense"),
        ("post_filter", 1.5, "share of the post-filter is 1.5, it must be 0 to 1"),
        ("post_filter", "half", "share of the post-filter is half, it must be 0 to 1"),
        ("sizes", SIZES._asdict() | {"gru": LARGEST_WIDTH}, "expected"),
        ("sizes", SIZES._asdict() | {"extra": 3}, "layer sizes"),
        ("sizes", SIZES._asdict() | {"gru": 25}, "expected"),
    ],
)
def test_a_description_that_does_not_fit(path, entry, value, words):
    assert words in reason(path, changed(**{entry: value}))


def test_an_8_bit_model_is_no_float_model(path):
    assert "kind 'int8', not 'float'" in reason(path, DATA, "float")


@pytest.mark.parametrize("name", ["gain.weight", "gru2.weight_hh_scale", "conv1.bias", "feature_mean"])
def test_a_missing_tensor(path, name):
    assert f"{name} is missing" in reason(path, changed(without(name)))


def test_an_extra_tensor(path):
    assert "gru9.weight does not belong" in reason(path, changed(TENSORS | {"gru9.weight": np.zeros(3, np.int8)}))


@pytest.mark.parametrize(
    ("name", "tensor"),
    [
        ("gain.weight", TENSORS["gain.weight"].T.copy()),
        ("gain.weight", TENSORS["gain.weight"].astype(np.float32)),
        ("gain.weight", TENSORS["gain.weight"].view(np.uint8)),
        ("dense.bias", TENSORS["dense.bias"].astype(np.float64)),
        ("dense.bias", TENSORS["dense.bias"][:-1]),
        ("conv2.weight", TENSORS["conv2.weight"].reshape(24, -1)),
    ],
)
def test_a_tensor_of_another_shape_or_type(path, name, tensor):
    assert f"{name} is" in reason(path, changed(TENSORS | {name: tensor}))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["gru1.weight_ih_scale", "strength.bias", "feature_mean"])
def test_values_that_are_not_finite(path, name, value):
    tensor = TENSORS[name].copy()
    tensor[-1] = value
    assert f"{name} holds values that are not finite" in reason(path, changed(TENSORS | {name: tensor}))


@pytest.mark.parametrize("value", [0.0, -1.0])
def test_a_deviation_must_be_positive(path, value):
    std = TENSORS["feature_std"].copy()
    std[3] = value
    assert "feature_std must be positive" in reason(path, changed(TENSORS | {"feature_std": std}))


def test_a_file_without_permission(path, monkeypatch):
    path.write_bytes(DATA)

    def refuse(self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(path), "read_bytes", refuse)
    with pytest.raises(ModelError, match="cannot be read"):
        load_model(path)


def test_safetensors_alone_reads_the_file():
    assert all(np.array_equal(tensor, TENSORS[name]) for name, tensor in load(DATA).items())


@pytest.mark.parametrize("name", shipped_names())
def test_a_preset_trains_a_network_like_the_shipped_one(name):
    assert load_model(name).sizes == PRESETS[name]
