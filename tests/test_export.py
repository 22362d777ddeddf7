"""The C library: what it makes of a recording is what Python makes of it, however the blocks are cut."""

from __future__ import annotations

import ctypes
import platform
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import llvmlite.binding
import numpy as np
import pytest
from click.testing import CliRunner
from signals import noisy_speech

from percepnet_cli import cli
from percepnet_cli.compute.delay_line import DelayLine
from percepnet_cli.compute.struct import Struct
from percepnet_cli.export.image import WORD_BYTES, image_of
from percepnet_cli.export.targets import TARGETS

ROOT = Path(__file__).resolve().parent.parent
needs_zig = pytest.mark.skipif(find_spec("ziglang") is None, reason="needs ziglang")


class Whole(Struct):
    constant = frozenset({"table"})
    table: np.ndarray
    number: int
    line: DelayLine

    def __init__(self) -> None:
        super().__init__(table=np.arange(6.0).reshape(2, 3), number=-5, line=DelayLine(2, 4, (3,), np.int16, fill=7))


def test_an_image_holds_what_the_struct_holds():
    whole = Whole()
    image = image_of(whole)
    memory, constants = (np.frombuffer(bytes(part), np.uint8).copy() for part in (image.memory, image.constants))
    for one in image.addresses:
        target = (constants if one.constant else memory).ctypes.data + one.target
        memory[one.word : one.word + WORD_BYTES].view(np.int64)[0] = target

    def array(words, dtype, dimensions):
        size, itemsize, address = words[:3]
        assert itemsize == np.dtype(dtype).itemsize
        content = ctypes.string_at(int(address), int(size) * itemsize)
        return np.frombuffer(content, dtype).reshape(words[3 : 3 + dimensions]), words[3 + dimensions :]

    table, rest = array(memory.view(np.int64), np.float64, 2)
    assert np.array_equal(table, whole.table) and rest[:2].tolist() == list(whole.table.strides)
    number, line_address = rest[2:4]
    assert number == -5

    # The line's table, and its two views of the same memory
    place = int(line_address) - memory.ctypes.data
    words = memory[place:].view(np.int64)
    rows, rest = array(words, np.int16, 2)
    assert (rows == 7).all() and rows.shape == (6, 3)
    assert rest[2 + 2] == words[2]


def test_a_network_that_looks_ahead_is_refused(make_models, tmp_path):
    from percepnet_cli.network.modelfile import model_bytes

    model = make_models((16, 24, 24, 24, 24, 16, 5, 3, True))[0]
    path = tmp_path / "both.safetensors"
    path.write_bytes(model_bytes(model.tensors, model.sizes, "int8", {}))
    result = CliRunner().invoke(cli.main, ["export", "c", "--model", str(path), str(tmp_path / "out")])
    assert result.exit_code == 1 and ("cannot be exported" in result.stderr or "ziglang" in result.stderr)


def test_results_that_exist_are_kept_without_force(tmp_path):
    (tmp_path / "percepnet.h").write_text("mine")
    result = CliRunner().invoke(cli.main, ["export", "c", str(tmp_path)])
    assert result.exit_code == 1 and "use --force to" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["percepnet.h"]


def export(folder, *options):
    result = CliRunner().invoke(cli.main, ["export", "c", "--model", "lite", *options, str(folder)])
    assert result.exit_code == 0, result.output + result.stderr
    return folder


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    """The example, linked with the static library and with the shared one."""
    folder = export(tmp_path_factory.mktemp("c") / "percepnet-c")
    for name, library in (("static", ["libpercepnet.a", "-lm"]), ("shared", ["-L.", "-lpercepnet", "-Wl,-rpath,."])):
        command = [sys.executable, "-m", "ziglang", "cc", "-O2", "-Wall", "-Werror", "-I.", "-o", name]
        subprocess.run([*command, ROOT / "examples/c/denoise.c", *library], cwd=folder, check=True, timeout=300)
    return folder


def run(programs, name, samples, *arguments):
    command = [f"./{name}", *map(str, arguments)]
    done = subprocess.run(command, cwd=programs, input=samples.tobytes(), capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return np.frombuffer(done.stdout, np.float32)


@pytest.fixture(scope="module")
def noisy():
    return noisy_speech()


@needs_zig
@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="runs what it makes for Linux")
def test_c_does_what_python_does_whatever_the_blocks(programs, noisy):
    from percepnet_cli import Denoiser

    expected = Denoiser("lite").denoise(noisy)
    outputs = [run(programs, name, noisy, block) for name in ("static", "shared") for block in (480, 4800, 441, 37)]
    for out in outputs:
        assert len(out) == len(noisy)
        assert np.array_equal(out, expected)


@needs_zig
@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="runs what it makes for Linux")
def test_streams_share_nothing_and_whole_hops_take_30_ms(programs, noisy):
    library = ctypes.CDLL(str(programs / "libpercepnet.so"))
    library.percepnet_create.restype = ctypes.c_void_p

    def stream():
        made = ctypes.c_void_p(library.percepnet_create())
        library.percepnet_set_fixed_blocks(made, 1)
        assert library.percepnet_latency(made) == 1440
        return made

    def process(made, samples):
        out = np.array(samples, order="C")
        place = out.ctypes.data_as(ctypes.c_void_p)
        library.percepnet_process(made, place, place, ctypes.c_size_t(len(out)))
        return out

    # Two streams in turns, a third one alone, and the first again from its beginning
    hops = noisy[: 480 * 100].reshape(100, 480)
    one, two, alone = stream(), stream(), stream()
    turns = [(process(one, hop), process(two, hop[::-1])) for hop in hops]
    expected = process(alone, hops.ravel())
    assert np.array_equal(np.concatenate([out for out, _ in turns]), expected)
    library.percepnet_reset(one)
    assert np.array_equal(process(one, hops.ravel()), expected)

    # The program leaves out what comes before the first sample
    rest = np.zeros(1440, np.float32)
    library.percepnet_flush(one, rest.ctypes.data_as(ctypes.c_void_p))
    whole = run(programs, "static", hops.ravel().copy(), 480)
    assert np.array_equal(np.concatenate((expected, rest))[1440:], whole)
    for made in (one, two, alone):
        library.percepnet_destroy(made)


@needs_zig
@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="runs what it makes for Linux")
def test_the_attenuation_limit_is_that_of_python(programs, noisy):
    from percepnet_cli import Denoiser

    expected = Denoiser("lite", attenuation_limit_db=6).denoise(noisy)
    assert np.array_equal(run(programs, "static", noisy, 480, 6), expected)


FORMS = """
#include "product_x86.c"
int x86_64_v3(void) { return has_x86_64_v3(); }
int avx_vnni(void) { return has_avx_vnni(); }
int avx512_vnni(void) { return has_avx512_vnni(); }
product *const forms[] = {product_plain, product_avx2, product_avx_vnni, product_avx512_vnni};
void multiply(int form, const int8_t *weights, int64_t rows, int64_t columns, const int8_t *vector, int32_t *sums) {
    forms[form](weights, rows, columns, vector, sums);
}
"""
on_x86 = pytest.mark.skipif(
    platform.machine() != "x86_64" or not sys.platform.startswith("linux"), reason="asks this CPU"
)


@pytest.fixture(scope="module")
def forms(tmp_path_factory):
    folder = tmp_path_factory.mktemp("forms")
    (folder / "forms.c").write_text(FORMS)
    options = ["-target", TARGETS["x86_64-linux"].zig, "-O2", "-fPIC", "-shared", "-I", ROOT / "percepnet_cli/export"]
    command = [sys.executable, "-m", "ziglang", "cc", *map(str, options), "forms.c", "-o", "forms.so"]
    subprocess.run(command, cwd=folder, check=True, timeout=600)
    return ctypes.CDLL(str(folder / "forms.so"))


@needs_zig
@on_x86
def test_what_the_cpu_has_is_found(forms):
    """As LLVM finds it: a wrong no would leave the library at a quarter of its speed, and nobody would hear it."""
    has = llvmlite.binding.get_host_cpu_features()
    needed = {
        "x86_64_v3": ("avx", "avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe", "popcnt"),
        "avx_vnni": ("avx2", "avxvnni"),
        "avx512_vnni": ("avx512f", "avx512bw", "avx512vnni"),
    }
    for name, features in needed.items():
        assert bool(getattr(forms, name)()) == all(has[feature] for feature in features), name


@needs_zig
@on_x86
@pytest.mark.parametrize("form", range(4))
def test_every_form_of_the_product_is_exact(forms, form):
    if not (True, forms.x86_64_v3(), forms.avx_vnni(), forms.avx512_vnni())[form]:
        pytest.skip("this CPU does not have it")
    rng = np.random.default_rng(form)

    def check(weights, vector):
        # One number more, which has to stay
        sums = np.full(len(weights) + 1, 77, np.int32)
        places = [ctypes.c_void_p(array.ctypes.data) for array in (weights, vector, sums)]
        rows, columns = map(ctypes.c_int64, weights.shape)
        forms.multiply(form, places[0], rows, columns, places[1], places[2])
        assert np.array_equal(sums[:-1], weights.astype(np.int64) @ vector) and sums[-1] == 77

    # Rows and columns that fill no vector, and the largest products there are
    for rows, columns in [(0, 5), (1, 1), (34, 63), (7, 64), (8, 65), (16, 96), (17, 31), (48, 640), (39, 1000)]:
        check(*(rng.integers(-128, 128, shape, np.int8) for shape in ((rows, columns), columns)))
        check(np.full((rows, columns), -128, np.int8), np.full(columns, -128, np.int8))
        check(np.full((rows, columns), 127, np.int8), np.full(columns, -128, np.int8))


@needs_zig
@pytest.mark.slow
@pytest.mark.parametrize(
    ("target", "library", "magic", "place"),
    [
        ("aarch64-linux", "libpercepnet.so", b"\xb7\x00", 18),
        ("x86_64-windows", "percepnet.dll", b"MZ", 0),
        ("aarch64-macos", "libpercepnet.dylib", b"\xcf\xfa\xed\xfe\x0c\x00\x00\x01", 0),
    ],
)
def test_other_machines_get_their_libraries(tmp_path, target, library, magic, place):
    content = (export(tmp_path / target, "--target", target) / library).read_bytes()
    assert content[place : place + len(magic)] == magic and len(content) > 1_300_000
