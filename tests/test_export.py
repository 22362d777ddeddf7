"""The C library: what it makes of a recording is what Python makes of it, however the blocks are cut."""

from __future__ import annotations

import ctypes
import mmap
import platform
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import llvmlite.binding
import numpy as np
import pytest
from click.testing import CliRunner
from exported import EMULATED, build_for_arm, build_program, export, run_program
from signals import noise, noisy_speech

from percepnet_cli import cli
from percepnet_cli.compute.delay_line import DelayLine
from percepnet_cli.compute.jit import compiled_anew
from percepnet_cli.compute.struct import Struct
from percepnet_cli.errors import KernelError, StorageError
from percepnet_cli.export import workshop
from percepnet_cli.export.image import WORD_BYTES, image_of
from percepnet_cli.export.portable import portable
from percepnet_cli.export.targets import TARGETS
from percepnet_cli.export.workshop import zig
from percepnet_cli.network import dot_extern
from percepnet_cli.network.modelfile import find_model

ROOT = Path(__file__).resolve().parent.parent
needs_zig = pytest.mark.skipif(find_spec("ziglang") is None, reason="needs ziglang")
on_linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="runs what it makes for Linux")


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


def test_a_call_of_the_c_product_hands_on_every_hop(rng):
    """A Python function stands in for the C function."""

    @ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p)
    def product(weights, panels, columns, vector, sums):
        shape = (panels, -(-columns // 4), dot_extern.PANEL, 4)
        packed = np.frombuffer(ctypes.string_at(weights, int(np.prod(shape))), np.int8).reshape(shape)
        rows = packed.transpose(0, 2, 1, 3).reshape(panels * dot_extern.PANEL, -1)[:, :columns].astype(np.int32)
        out = rows @ np.frombuffer(ctypes.string_at(vector, columns), np.int8)
        ctypes.memmove(sums, out.ctypes.data, out.nbytes)

    # Compiled here, or it would call what stood at that name when it was compiled
    weights, vectors = (rng.integers(-128, 128, shape, np.int8) for shape in ((100, 30), (5, 30)))
    sums = np.full((5, 3 * dot_extern.PANEL), -7, np.int32)
    llvmlite.binding.add_symbol(dot_extern.SYMBOL, ctypes.cast(product, ctypes.c_void_p).value)
    compiled_anew(dot_extern.extern_matmul_int8)(dot_extern.pack(weights), vectors, sums)
    assert np.array_equal(sums[:, :100], vectors.astype(np.int64) @ weights.T)


def test_a_network_that_looks_ahead_is_refused(make_models, tmp_path):
    from percepnet_cli.network.modelfile import model_bytes

    model = make_models((16, 24, 24, 24, 24, 16, 5, 3, True))[0]
    path = tmp_path / "both.safetensors"
    path.write_bytes(model_bytes(model.tensors, model.sizes, "int8", {}))
    result = CliRunner().invoke(cli.main, ["export", "c", "--model", str(path), str(tmp_path / "out")])
    assert result.exit_code == 1 and ("cannot be exported" in result.stderr or "ziglang" in result.stderr)
    assert not (tmp_path / "out").exists()


def test_without_zig_there_is_a_sentence_and_no_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(workshop, "missing", lambda *modules: list(modules))
    result = CliRunner().invoke(cli.main, ["export", "ladspa", str(tmp_path / "out")])
    assert result.exit_code == 1 and result.stderr == "Error: exporting needs ziglang: pip install ziglang\n"
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_written_is_named_as_the_user_knows_it(tmp_path):
    (tmp_path / "work").mkdir()
    (tmp_path / "work/one.h").write_text("one")
    with pytest.raises(StorageError) as caught:
        workshop.deliver(tmp_path / "work", tmp_path / "gone", ["one.h"], force=False)
    assert str(caught.value) == f"{tmp_path / 'gone' / 'one.h'} cannot be written: No such file or directory"

    # The process that writes the texts says as much, and no class of Python
    with pytest.raises(KernelError) as caught:
        portable(tmp_path / "gone", "lite")
    assert str(caught.value).endswith(f": {tmp_path / 'gone' / 'data.ll'}: No such file or directory")


def test_results_that_exist_are_kept_without_force(tmp_path):
    (tmp_path / "percepnet.h").write_text("mine")
    result = CliRunner().invoke(cli.main, ["export", "c", str(tmp_path)])
    assert result.exit_code == 1 and "use --force to" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["percepnet.h"]


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    """The example, linked with the static library and with the shared one."""
    folder = export(tmp_path_factory.mktemp("c") / "percepnet-c", "c", "lite")
    build_program(folder, "static", ["libpercepnet.a", "-lm"])
    build_program(folder, "shared", ["-L.", "-lpercepnet", "-Wl,-rpath,."])
    return folder


@pytest.fixture(scope="module")
def arm_program(tmp_path_factory):
    return build_for_arm(tmp_path_factory.mktemp("arm"), "lite")


def run(programs, name, samples, *arguments):
    return run_program(programs / name, samples, *arguments)


@pytest.fixture(scope="module")
def library(programs):
    """The shared library's functions."""
    loaded = ctypes.CDLL(str(programs / "libpercepnet.so"))
    loaded.percepnet_create.restype = ctypes.c_void_p
    return loaded


def process(library, stream, samples):
    """Run samples through a stream, in place; return them."""
    out = np.array(samples, np.float32, order="C")
    place = out.ctypes.data_as(ctypes.c_void_p)
    library.percepnet_process(stream, place, place, ctypes.c_size_t(len(out)))
    return out


@pytest.fixture(scope="module")
def noisy():
    return noisy_speech()


@needs_zig
@pytest.mark.slow
@on_linux
def test_c_does_what_python_does_whatever_the_blocks(programs, noisy):
    from percepnet_cli import Denoiser

    expected = Denoiser("lite").denoise(noisy)
    outputs = [run(programs, name, noisy, block) for name in ("static", "shared") for block in (480, 4800, 441, 37)]
    for out in outputs:
        assert len(out) == len(noisy)
        assert np.array_equal(out, expected)


@needs_zig
@pytest.mark.slow
@on_linux
def test_streams_share_nothing_and_whole_hops_take_30_ms(programs, library, noisy):
    def stream():
        made = ctypes.c_void_p(library.percepnet_create())
        library.percepnet_set_fixed_blocks(made, 1)
        assert library.percepnet_latency(made) == 1440
        return made

    # Two streams in turns, a third one alone, and the first again from its beginning
    hops = noisy[: 480 * 100].reshape(100, 480)
    one, two, alone = stream(), stream(), stream()
    turns = [(process(library, one, hop), process(library, two, hop[::-1])) for hop in hops]
    expected = process(library, alone, hops.ravel())
    assert np.array_equal(np.concatenate([out for out, _ in turns]), expected)
    library.percepnet_reset(one)
    assert np.array_equal(process(library, one, hops.ravel()), expected)

    # The program leaves out what comes before the first sample
    rest = np.zeros(1440, np.float32)
    library.percepnet_flush(one, rest.ctypes.data_as(ctypes.c_void_p))
    whole = run(programs, "static", hops.ravel().copy(), 480)
    assert np.array_equal(np.concatenate((expected, rest))[1440:], whole)
    for made in (one, two, alone):
        library.percepnet_destroy(made)


@needs_zig
@pytest.mark.slow
@on_linux
def test_the_attenuation_limit_is_that_of_python(programs, noisy):
    from percepnet_cli import Denoiser

    expected = Denoiser("lite", attenuation_limit_db=6).denoise(noisy)
    assert np.array_equal(run(programs, "static", noisy, 480, 6), expected)


@needs_zig
@pytest.mark.slow
@on_linux
@pytest.mark.parametrize("seed", range(3))
def test_blocks_of_random_sizes_give_the_bits_of_python(library, noisy, seed):
    from percepnet_cli import Denoiser

    # Mostly small ones, none at all, and now and then many hops at once
    rng = np.random.default_rng(seed)
    ends = np.cumsum(np.where(rng.random(1500) < 0.9, rng.integers(0, 500, 1500), rng.integers(0, 9000, 1500)))
    stream = ctypes.c_void_p(library.percepnet_create())
    out = np.concatenate([process(library, stream, block) for block in np.split(noisy, ends[ends < len(noisy)])])
    library.percepnet_destroy(stream)

    assert not out[:480].any()
    assert np.array_equal(out[1920:], Denoiser("lite").denoise(noisy)[:-1920])


@needs_zig
@pytest.mark.slow
@on_linux
def test_silence_denormals_and_what_is_no_number_are_those_of_python(programs):
    from percepnet_cli import Denoiser

    samples = np.zeros(96000, np.float32)
    samples[20000:30000] = 1e-41
    assert not run(programs, "static", samples, 480).any()

    samples += noise(len(samples), np.random.default_rng(7), 0.1)
    samples[40000:60000] = 0
    samples[61000:61010] = 1e30
    samples[[9000, 30000, 70000]] = np.nan, np.inf, -np.inf
    denoiser = Denoiser("lite")
    expected = np.concatenate((denoiser.process(samples), denoiser.flush()))[1440:]
    out = run(programs, "static", samples, 480)
    assert np.isfinite(out).all() and np.array_equal(out, expected)


@needs_zig
@pytest.mark.slow
@on_linux
def test_ten_minutes_and_a_thousand_streams_take_no_more_memory(library, noisy):
    def resident_bytes():
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
        return pages * mmap.PAGESIZE

    stream = ctypes.c_void_p(library.percepnet_create())
    block = np.ascontiguousarray(noisy[:4800])
    place = block.ctypes.data_as(ctypes.c_void_p)

    def run_seconds(seconds):
        for turn in range(10 * seconds):
            block[:] = noisy[4800 * (turn % 40) :][:4800]
            library.percepnet_process(stream, place, place, ctypes.c_size_t(4800))

    def run_streams(count):
        for _ in range(count):
            other = ctypes.c_void_p(library.percepnet_create())
            library.percepnet_process(other, place, place, ctypes.c_size_t(480))
            library.percepnet_destroy(other)

    # A stream is a tenth of a megabyte: one byte lost with each hop or stream would be seen in the pages
    run_seconds(10)
    run_streams(10)
    before = resident_bytes()
    run_seconds(600)
    run_streams(1000)
    assert resident_bytes() - before < 200_000
    library.percepnet_destroy(stream)


@needs_zig
@pytest.mark.slow
@on_linux
@pytest.mark.parametrize("cpu", EMULATED)
def test_other_cpus_give_the_bits_of_this_one(programs, request, noisy, cpu):
    """The library itself chooses what the emulated CPU has."""
    if shutil.which(EMULATED[cpu][0]) is None:
        pytest.skip("needs QEMU")
    if "x86" in cpu and platform.machine() != "x86_64":
        pytest.skip("is made for another machine")
    program = request.getfixturevalue("arm_program") if "aarch64" in cpu else programs / "static"
    samples = noisy[:48000]
    assert np.array_equal(run_program(program, samples, emulator=EMULATED[cpu]), run(programs, "static", samples))


FORMS = """
#include "product_x86.c"
int x86_64_v3(void) { return has_x86_64_v3(); }
int x86_64_v4(void) { return has_x86_64_v4(); }
int avx_vnni(void) { return has_avx_vnni(); }
int avx512_vnni(void) { return has_avx512_vnni(); }
product *const forms[] = {product_sse2, product_avx2, product_avx_vnni, product_avx512_vnni};
void run(int form, const int8_t *weights, int64_t panels, int64_t columns, const int8_t *vector, int32_t *sums) {
    multiply(forms[form], weights, panels, columns, vector, sums);
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


@pytest.mark.service
@needs_zig
@on_x86
def test_what_the_cpu_has_is_found(forms):
    """As LLVM finds it: a wrong no would leave the library at a quarter of its speed, and nobody would hear it."""
    has = llvmlite.binding.get_host_cpu_features()
    needed = {
        "x86_64_v3": ("avx", "avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe", "popcnt"),
        "x86_64_v4": ("avx2", "avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"),
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
        # One number more, which has to stay, as has to what comes before the first
        packed = dot_extern.pack(weights)
        panels, columns = len(packed), len(vector)
        sums = np.full(dot_extern.PANEL * panels + 2, 77, np.int32)
        places = [ctypes.c_void_p(place) for place in (packed.ctypes.data, vector.ctypes.data, sums[1:].ctypes.data)]
        forms.run(form, places[0], ctypes.c_int64(panels), ctypes.c_int64(columns), *places[1:])
        rows = len(weights)
        assert np.array_equal(sums[1 : 1 + rows], weights.astype(np.int64) @ vector)
        assert not sums[1 + rows : -1].any() and sums[0] == sums[-1] == 77

    # Rows that fill no panel, columns that fill no group or no four groups, and the largest products there are
    shapes = [(0, 5), (1, 1), (34, 63), (7, 64), (8, 65), (16, 96), (17, 31), (48, 640), (49, 20), (145, 1002), (96, 4)]
    for rows, columns in shapes:
        check(*(rng.integers(-128, 128, shape, np.int8) for shape in ((rows, columns), columns)))
        check(np.full((rows, columns), -128, np.int8), np.full(columns, -128, np.int8))
        check(np.full((rows, columns), 127, np.int8), np.full(columns, -128, np.int8))


PROBE = r"""
#define _DEFAULT_SOURCE
#include "windows.c"
#include <stdlib.h>
#include <sys/mman.h>
enum { PAGE = 4096, PAGES = 32 };
int main(int count, char **arguments) {
    /* A stack of which no page was touched yet, but the one that the call itself takes */
    unsigned long size = strtoul(arguments[count - 1], NULL, 10), kept = 0, rcx = 0;
    unsigned char there[PAGES], *stack = mmap(NULL, PAGES * PAGE, 3, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    madvise(stack, PAGES * PAGE, MADV_NOHUGEPAGE);
    __asm__ volatile("movq %%rsp, %%rbx\n movq %2, %%rsp\n movq %3, %%rax\n movq $77, %%rcx\n"
                     "call ___chkstk_ms\n movq %%rbx, %%rsp\n movq %%rax, %0\n movq %%rcx, %1\n"
                     : "=&r"(kept), "=&r"(rcx)
                     : "r"(stack + PAGES * PAGE), "r"(size)
                     : "rax", "rbx", "rcx", "memory", "cc");
    if (kept != size || rcx != 77 || mincore(stack, PAGES * PAGE, there) != 0) return 255;
    int touched = 0;
    for (int page = PAGES - 1; page >= 0 && (there[page] & 1); page--) touched++;
    return touched;
}
"""


@needs_zig
@on_x86
def test_a_windows_library_touches_each_page_of_its_stack(tmp_path):
    (tmp_path / "probe.c").write_text(PROBE)
    options = ["-target", TARGETS["x86_64-linux"].zig, "-O1", "-w", "-I", ROOT / "percepnet_cli/export"]
    command = [sys.executable, "-m", "ziglang", "cc", *map(str, options), "probe.c", "-o", "probe"]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=600)
    for size, pages in [(1, 1), (4096, 1), (4097, 2), (40000, 10), (28 * 4096, 28)]:
        assert subprocess.run([tmp_path / "probe", str(size)]).returncode == pages


@needs_zig
def test_what_zig_makes_of_a_system_is_kept_for_the_next_export(tmp_path, monkeypatch):
    monkeypatch.setenv("PERCEPNET_CACHE_DIR", str(tmp_path / "cache"))
    (tmp_path / "one.c").write_text("int one(void) { return 1; }")
    command = [
        "cc",
        "-target",
        "x86_64-windows-gnu",
        "-nostdlib",
        "-shared",
        "one.c",
        *TARGETS["x86_64-windows"].libraries,
    ]
    (tmp_path / "windows.c").write_bytes((ROOT / "percepnet_cli/export/windows.c").read_bytes())
    zig(tmp_path, *command, "windows.c", "-o", "one.dll")
    kept = [path for path in (tmp_path / "cache/zig").rglob("*") if path.is_file()]
    assert any("api-ms-win-crt-heap" in path.name for path in kept), kept


def lines_of(*command):
    """What a reader of a library's format prints; the test is skipped where there is none."""
    if shutil.which(command[0]) is None:
        pytest.skip(f"needs {command[0]}")
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True, timeout=60)
    return done.stdout.splitlines()


def linux_names(library):
    needed = [line.split()[1] for line in lines_of("llvm-objdump", "-p", library) if line.split()[:1] == ["NEEDED"]]
    return lines_of("llvm-nm", "-D", "--defined-only", "-j", library), needed


def windows_names(library):
    lines = lines_of("llvm-objdump", "-p", library)
    needed = [line.split()[2] for line in lines if line.split()[:2] == ["DLL", "Name:"]]
    table = lines[lines.index("Export Table:") :]
    return [line.split()[2] for line in table if re.fullmatch(r"\s+\d+\s+0x\w+\s+\w+", line)], needed


def macos_names(library):
    exported = lines_of("llvm-nm", "--extern-only", "--defined-only", "-j", library)
    used = lines_of("llvm-objdump", "--macho", "--dylibs-used", library)[1:]
    needed = [line.split()[0] for line in used]
    own = [name for name in exported if not name.startswith("__")]  # the others are the linker's
    return [name.removeprefix("_") for name in own], [name for name in needed if library.name not in name]


SYSTEM = {
    "aarch64-linux": r"lib[cm]\.so\.6",
    "x86_64-windows": r"KERNEL32\.dll|api-ms-win-crt-[\w-]+\.dll",
    "aarch64-macos": r"/usr/lib/libSystem\.B\.dylib",
}
"""All that a library may need of a system."""


@needs_zig
@pytest.mark.slow
@pytest.mark.parametrize(
    ("target", "library", "magic", "place", "names"),
    [
        ("aarch64-linux", "libpercepnet.so", b"\xb7\x00", 18, linux_names),
        ("x86_64-windows", "percepnet.dll", b"MZ", 0, windows_names),
        ("aarch64-macos", "libpercepnet.dylib", b"\xcf\xfa\xed\xfe\x0c\x00\x00\x01", 0, macos_names),
    ],
)
def test_other_machines_get_their_libraries(tmp_path, target, library, magic, place, names):
    path = export(tmp_path / target, "c", "lite", "--target", target) / library
    content = path.read_bytes()
    weights = find_model("lite")[1].stat().st_size
    assert content[place : place + len(magic)] == magic and weights < len(content) < weights + 1_000_000

    # The functions of the header, and no others; and nothing that a system does not bring
    header = (ROOT / "percepnet_cli/export/percepnet.h").read_text("utf-8")
    exported, needed = names(path)
    assert sorted(exported) == sorted(re.findall(r"^PERCEPNET_API .*?(percepnet_\w+)\(", header, re.MULTILINE))
    assert needed and all(re.fullmatch(SYSTEM[target], name) for name in needed), needed
