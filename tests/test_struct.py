"""Structs: compiled functions read and write what Python holds."""

from __future__ import annotations

import importlib
import pkgutil

import numpy as np
import pytest

import percepnet_cli
from percepnet_cli.compute.callback import call, call_if, callback
from percepnet_cli.compute.jit import address_of, kernel
from percepnet_cli.compute.struct import Struct


class Inner(Struct):
    values: np.ndarray
    number: int

    def __init__(self, size: int, number: int) -> None:
        super().__init__(values=np.arange(size, dtype=np.int16), number=number)


class Outer(Struct):
    table: np.ndarray
    first: Inner
    second: Inner
    spectrum: np.ndarray

    def __init__(self) -> None:
        super().__init__(
            table=np.zeros((2, 3, 4), np.float32), first=Inner(5, -7), second=Inner(6, 8), spectrum=np.ones(2, complex)
        )


@kernel
def fill(outer, factor):
    table, second = outer.table, outer.second
    for i in range(table.shape[0]):
        for j in range(table.shape[1]):
            for k in range(table.shape[2]):
                table[i, j, k] = factor * (100 * i + 10 * j + k)
    second.values[len(second.values) - 1] = outer.first.number
    outer.spectrum[1] += 1j
    return second.number + len(outer.first.values)


def test_compiled_functions_read_and_write_what_python_holds():
    outer = Outer()
    assert fill(outer, 2) == 8 + 5
    i, j, k = np.indices(outer.table.shape)
    assert np.array_equal(outer.table, 2 * (100 * i + 10 * j + k))
    assert outer.second.values.tolist() == [0, 1, 2, 3, 4, -7] and outer.spectrum.tolist() == [1, 1 + 1j]


def test_structs_of_one_kind_share_compiled_code_whatever_their_sizes():
    @kernel
    def length(inner):
        return len(inner.values)

    assert [length(Inner(size, 0)) for size in (1, 10, 100)] == [1, 10, 100]
    assert len(length.signatures) == 1


def test_arrays_that_do_not_lie_in_one_piece_are_refused():
    class Strided(Struct):
        values: np.ndarray

    with pytest.raises(AssertionError):
        Strided(values=np.zeros((4, 4))[:, ::2])


def subclasses(kind):
    for module in pkgutil.walk_packages(percepnet_cli.__path__, "percepnet_cli."):
        if module.name.split(".")[1] in ("compute", "dsp", "network", "signal_path"):
            importlib.import_module(module.name)
    found = [one for one in kind.__subclasses__() if one.__module__.startswith("percepnet_cli")]
    return found + [deeper for one in found for deeper in subclasses(one)]


def test_annotations_name_the_fields():
    from percepnet_cli.channel import speech
    from percepnet_cli.denoiser import Denoiser
    from percepnet_cli.live import worker
    from percepnet_cli.network.modelfile import load_model
    from percepnet_cli.network.percepnet import State
    from percepnet_cli.signal_path import Path

    found = {}

    def look(struct):
        own = [one for one in type(struct).__mro__ if one is not Struct]
        names = [name for one in own for name in vars(one).get("__annotations__", {})]
        kinds = dict(struct._numba_type_.fields)
        assert set(names) == set(kinds), type(struct)
        found[type(struct)] = None
        for name in kinds:
            if isinstance(getattr(struct, name), Struct):
                look(getattr(struct, name))

    look(Path(State(load_model("lite"), 4), 4))
    look(speech.network())
    look(worker.Way(0, Denoiser("lite").only_channel.call()))
    look(worker.Heard(1))
    assert set(subclasses(Struct)) - set(found) == {one for one in subclasses(Struct) if one.__name__ == "Ends"}


def test_a_callback_gets_the_name_and_no_callback_is_not_called():
    @kernel
    def count(address, numbers):
        for number in range(numbers):
            call_if(address, number)

    heard = []
    address, keep = callback(heard.append, ("zero", "one", "two"))
    count(address, 3)
    count(callback(None, ())[0], 3)
    assert heard == ["zero", "one", "two"] and keep is not None


def test_a_kernel_is_called_by_its_address():
    class Sums(Struct):
        total: np.ndarray

        def __init__(self):
            super().__init__(total=np.zeros(1))

    @kernel
    def add(sums, count, value):
        sums.total[0] += count * value

    @kernel
    def add_twice(address, sums, count, value):
        call(address, (sums, count, value))
        call(address, (sums, count, value))

    sums = Sums()
    address = address_of(add, sums, 1, np.float32(0))
    add_twice(address, sums.address, 3, np.float32(0.5))
    add_twice(address, sums.address, -1, np.float32(0.25))
    assert sums.total[0] == 2.5
    assert address_of(add, sums, 1, np.float32(0)) == address
