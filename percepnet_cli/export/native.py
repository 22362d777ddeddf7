"""Objects for any target that LLVM knows: the compiled path, made anew for it, and the image of its memory.

numba's code for this machine is a detour here: with its optimizations off (see ``NUMBA_OPT``) and a call in the place
of the 8-bit product, what it hands to LLVM is nearly the same for all machines. It gets another target and data layout,
everything but the path becomes internal, what nothing needs (numba's calls from Python) goes away, and LLVM's own
passes for that target do the rest.
"""

from __future__ import annotations

import struct

import llvmlite.binding as llvm

from percepnet_cli.export.image import Image
from percepnet_cli.export.portable import Code
from percepnet_cli.export.targets import CPU


def _bytes(name: str, content: bytes, alignment: int) -> str:
    """Return LLVM text of a constant of bytes."""
    text = "".join(f"\\{byte:02X}" for byte in content)
    return f'@{name} = hidden constant [{len(content)} x i8] c"{text}", align {alignment}\n'


def _numbers(name: str, kind: str, value: int | str) -> str:
    return f"@{name} = hidden constant {kind} {value}\n"


def _float(value: float) -> str:
    """Return a float32 as LLVM reads it: the bits of the same number in float64."""
    (single,) = struct.unpack("<f", struct.pack("<f", value))
    return f"0x{struct.pack('>d', single).hex()}"


def image_text(image: Image, samples: str, out: str, post_filter: float) -> str:
    """Return LLVM text of what ``percepnet.c`` wants to know of the memory.

    samples, out: names of the arrays that the path reads and writes; post_filter: the share that the model asks for.
    """
    given = bytes(image.memory).rstrip(b"\0")
    addresses = b"".join(struct.pack("<III", one.word, one.target, one.constant) for one in image.addresses)
    return "".join(
        (
            _bytes("percepnet_constants", bytes(image.constants), 64),
            _bytes("percepnet_memory", given, 64),
            _bytes("percepnet_addresses", addresses, 4),
            _numbers("percepnet_memory_size", "i64", len(image.memory)),
            _numbers("percepnet_memory_given", "i64", len(given)),
            _numbers("percepnet_address_count", "i64", len(image.addresses)),
            _numbers("percepnet_samples_place", "i64", image.arrays[samples]),
            _numbers("percepnet_out_place", "i64", image.arrays[out]),
            _numbers("percepnet_post_filter_default", "float", _float(post_filter)),
        )
    )


def _machine(triple: str, cpu: CPU) -> llvm.TargetMachine:
    """Return LLVM's compiler for a target."""
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    return llvm.Target.from_triple(triple).create_target_machine(
        cpu=cpu.name, features=cpu.features, opt=3, reloc="pic", codemodel="default"
    )


def data_object(text: str, triple: str, cpu: CPU) -> bytes:
    """Return an object of constants. text: what ``image_text`` returns."""
    machine = _machine(triple, cpu)
    module = llvm.parse_assembly(text)
    module.triple, module.data_layout = triple, str(machine.target_data)
    return bytes(machine.emit_object(module))


def path_object(code: dict[str, Code], suffix: str, triple: str, cpu: CPU) -> bytes:
    """Return an object of the path.

    Parameters
    ----------
    code
        What ``portable.portable`` returns.
    suffix
        What is added to the functions' names, percepnet_process and the like; nothing else is seen from outside.
    triple, cpu
        What to compile for.
    """
    machine = _machine(triple, cpu)
    module, *others = (llvm.parse_assembly(one.text) for one in code.values())
    for other in others:
        module.link_in(other)
    module.triple, module.data_layout = triple, str(machine.target_data)

    # These functions alone stay visible: numba's ways to call them from Python go away
    visible = {one.function for one in code.values()}
    for value in (*module.functions, *module.global_variables):
        if not value.is_declaration and value.name not in visible:
            value.linkage = "internal"
    for name, one in code.items():
        function = module.get_function(one.function)
        function.name, function.visibility = f"percepnet_{name}_{suffix}", "hidden"
    module.verify()

    builder = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(speed_level=3))
    builder.getModulePassManager().run(module, builder)
    return bytes(machine.emit_object(module))
