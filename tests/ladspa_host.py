"""A host of LADSPA plug-ins in Python: loads one, connects arrays to its ports and runs blocks of any size."""

from __future__ import annotations

import ctypes

import numpy as np

INPUT, OUTPUT, CONTROL, AUDIO = 1, 2, 4, 8
"""Of a port, as LADSPA 1.1 has them."""

HANDLE = ctypes.c_void_p
PORT_FUNCTION = ctypes.CFUNCTYPE(None, HANDLE, ctypes.c_ulong, ctypes.c_void_p)
FUNCTION = ctypes.CFUNCTYPE(None, HANDLE)
RUN = ctypes.CFUNCTYPE(None, HANDLE, ctypes.c_ulong)


class Range(ctypes.Structure):
    _fields_ = [("hints", ctypes.c_int), ("lower", ctypes.c_float), ("upper", ctypes.c_float)]


class Descriptor(ctypes.Structure):
    _fields_ = [
        ("unique_id", ctypes.c_ulong),
        ("label", ctypes.c_char_p),
        ("properties", ctypes.c_int),
        ("name", ctypes.c_char_p),
        ("maker", ctypes.c_char_p),
        ("copyright", ctypes.c_char_p),
        ("port_count", ctypes.c_ulong),
        ("ports", ctypes.POINTER(ctypes.c_int)),
        ("port_names", ctypes.POINTER(ctypes.c_char_p)),
        ("ranges", ctypes.POINTER(Range)),
        ("data", ctypes.c_void_p),
        ("instantiate", ctypes.CFUNCTYPE(HANDLE, ctypes.c_void_p, ctypes.c_ulong)),
        ("connect_port", PORT_FUNCTION),
        ("activate", FUNCTION),
        ("run", RUN),
        ("run_adding", ctypes.c_void_p),
        ("set_run_adding_gain", ctypes.c_void_p),
        ("deactivate", ctypes.c_void_p),
        ("cleanup", FUNCTION),
    ]


def descriptors(path):
    """Return the plug-ins of a file by their labels."""
    function = ctypes.CDLL(str(path)).ladspa_descriptor
    function.restype, function.argtypes = ctypes.POINTER(Descriptor), [ctypes.c_ulong]
    found = {}
    while plugin := function(len(found)):
        found[plugin.contents.label.decode()] = plugin
    return found


class Plugin:
    """An active instance. controls: what its controls begin with, by their ports' names."""

    def __init__(self, plugin, rate=48000, **controls):
        self.plugin, self.descriptor = plugin, plugin.contents
        self.handle = self.descriptor.instantiate(ctypes.cast(plugin, ctypes.c_void_p), rate)
        if not self.handle:
            raise ValueError(f"refused at {rate} Hz")

        kinds = self.descriptor.ports[: self.descriptor.port_count]
        names = [name.decode() for name in self.descriptor.port_names[: len(kinds)]]
        self.inputs = [port for port, kind in enumerate(kinds) if kind == AUDIO | INPUT]
        self.outputs = [port for port, kind in enumerate(kinds) if kind == AUDIO | OUTPUT]
        self.controls = {names[port]: np.zeros(1, np.float32) for port, kind in enumerate(kinds) if kind & CONTROL}
        for port, kind in enumerate(kinds):
            if kind & CONTROL:
                self.connect(port, self.controls[names[port]])
        if self.controls:
            self.set("Attenuation limit", 100)
        for name, value in controls.items():
            self.set(name, value)
        self.descriptor.activate(self.handle)

    def connect(self, port, array):
        self.descriptor.connect_port(self.handle, port, array.ctypes.data)

    def set(self, name, value):
        """Set the control whose name begins so."""
        (control,) = (control for full, control in self.controls.items() if full.startswith(name))
        control[0] = value

    @property
    def latency(self):
        return int(self.controls["latency"][0])

    def run(self, samples, in_place=False):
        """Run one block, float32 [channels, n]; return as much."""
        given = np.array(samples, np.float32, order="C")
        out = given if in_place else np.full_like(given, np.nan)
        for channel in range(len(given)):
            self.connect(self.inputs[channel], given[channel])
            self.connect(self.outputs[channel], out[channel])
        self.descriptor.run(self.handle, given.shape[1])
        return out

    def run_blocks(self, samples, sizes, in_place=False):
        """Run all of float32 [channels, n] in blocks, whose sizes come round again."""
        parts, start, turn = [], 0, 0
        while start < samples.shape[1]:
            size = sizes[turn % len(sizes)]
            parts.append(self.run(samples[:, start : start + size], in_place))
            start, turn = start + size, turn + 1
        return np.concatenate(parts, axis=1)

    def close(self):
        self.descriptor.cleanup(self.handle)
