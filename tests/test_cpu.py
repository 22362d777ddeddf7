"""The choice among instruction sets for the 8-bit product: by the CPU, by numba's settings, by the environment."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys

import pytest

from percepnet_cli.compute import cpu


@pytest.fixture
def machine(monkeypatch):
    """Return a function that lets the CPU have some features and the environment name some ISA."""

    def pretend(*features, wanted=None):
        monkeypatch.setattr(
            cpu.llvm, "get_host_cpu_features", lambda: {name: True for name in features} | {"sse": True}
        )
        if wanted is None:
            monkeypatch.delenv(cpu.VARIABLE, raising=False)
        else:
            monkeypatch.setenv(cpu.VARIABLE, wanted)

    return pretend


@pytest.mark.parametrize(
    ("features", "isa"),
    [
        (("avx2", "avx512f", "avx512vl", "avx512vnni"), "avx512-vnni"),
        (("avx2", "avxvnni"), "avx-vnni"),
        (("avx2",), "portable"),
        (("neon", "dotprod"), "neon-dotprod"),
        (("neon",), "portable"),
        ((), "portable"),
    ],
)
def test_the_fastest_form_is_chosen(machine, features, isa):
    machine(*features)
    assert cpu.isa.__wrapped__() == isa


def test_the_environment_decides_among_those_there_are(machine):
    machine("avx512f", "avx512vl", "avx512vnni", wanted="avx512vl-vnni")
    assert cpu.isa.__wrapped__() == "avx512vl-vnni"
    machine("avx512f", "avx512vl", "avx512vnni", wanted="portable")
    assert cpu.isa.__wrapped__() == "portable"
    machine("avx2", wanted="avx512-vnni")
    with pytest.raises(ValueError, match="'avx512-vnni'; this CPU has portable"):
        cpu.isa.__wrapped__()


def test_numba_s_own_settings_are_kept_to(machine, monkeypatch):
    machine("avx512f", "avx512vl", "avx512vnni")
    monkeypatch.setattr(cpu.config, "CPU_FEATURES", "+avx512vl,+avx512vnni,-avx512f")
    assert cpu.isa.__wrapped__() == "avx512vl-vnni"
    monkeypatch.setattr(cpu.config, "CPU_FEATURES", None)
    monkeypatch.setattr(cpu.config, "CPU_NAME", "generic")
    assert cpu.isa.__wrapped__() == "portable"
    monkeypatch.setattr(cpu.config, "CPU_NAME", None)
    monkeypatch.setattr(cpu.config, "ENABLE_AVX", False)
    assert cpu.isa.__wrapped__() == "portable"


def test_a_system_that_llvm_does_not_know_gets_the_plain_loop(monkeypatch):
    def unknown():
        raise RuntimeError

    monkeypatch.setattr(cpu.llvm, "get_host_cpu_features", unknown)
    assert cpu.available() == ["portable"]


def test_a_wrong_name_is_one_sentence(tmp_path):
    command = [sys.executable, "-m", "percepnet_cli", "bench", "--seconds", "1", "--runs", "1"]
    environment = os.environ | {cpu.VARIABLE: "abacus"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr.startswith("Error: PERCEPNET_ISA is 'abacus'; this CPU has") and done.stderr.count("\n") == 1


ASSEMBLY = """
import sys
import llvmlite.binding as llvm
from llvmlite import ir
from percepnet_cli.network import dot_tiles

llvm.initialize_all_targets()
llvm.initialize_all_asmprinters()
isa, triple, cpu, features = sys.argv[1:]
used = dot_tiles.INSTRUCTIONS[isa]
module = ir.Module()
module.triple = triple
i8, i32, i64 = ir.IntType(8), ir.IntType(32), ir.IntType(64)
kind = ir.FunctionType(ir.VoidType(), [i8.as_pointer(), i8.as_pointer(), i64, i64, i32.as_pointer(), i64])
function = ir.Function(module, kind, "tile")
builder = ir.IRBuilder(function.append_basic_block())
dot_tiles.emit_tile(builder, used, *function.args, hops=used.wide_hops, unroll=1)
builder.ret_void()
target = llvm.Target.from_triple(triple).create_target_machine(cpu=cpu, features=features, opt=3)
parsed = llvm.parse_assembly(str(module))
parsed.verify()
passes = llvm.create_pass_builder(target, llvm.create_pipeline_tuning_options(speed_level=3))
passes.getModulePassManager().run(parsed, passes)
print(target.emit_assembly(parsed))
"""


@pytest.mark.service
@pytest.mark.parametrize(
    ("isa", "triple", "cpu_name", "features", "instruction"),
    [
        ("avx512-vnni", "x86_64-unknown-linux-gnu", "icelake-server", "", r"\{?vpdpbusd\b.*%zmm"),
        ("avx512vl-vnni", "x86_64-unknown-linux-gnu", "icelake-server", "", r"\{?vpdpbusd\b.*%ymm"),
        ("avx-vnni", "x86_64-unknown-linux-gnu", "alderlake", "", r"\{vex\}\s+vpdpbusd\b.*%ymm"),
        ("neon-dotprod", "aarch64-unknown-linux-gnu", "neoverse-n1", "+dotprod", r"\bsdot\b"),
    ],
)
def test_each_form_compiles_to_its_instruction_and_keeps_its_sums_in_registers(
    isa, triple, cpu_name, features, instruction
):
    command = [sys.executable, "-c", ASSEMBLY, isa, triple, cpu_name, features]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    if "No available targets" in done.stderr or "Unable to find target" in done.stderr:
        pytest.skip(f"this LLVM ({platform.machine()}) does not compile for {triple}")
    assert done.returncode == 0, done.stderr
    from percepnet_cli.network.dot_tiles import INSTRUCTIONS

    sums = 3 * INSTRUCTIONS[isa].wide_hops
    assert len(re.findall(instruction, done.stdout)) >= sums
    assert not re.search(r"spill", done.stdout, re.IGNORECASE)
