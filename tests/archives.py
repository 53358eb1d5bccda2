"""Files of torch made by hand: an archive around the instructions of a pickle."""

from __future__ import annotations

import io
import struct
import zipfile

import numpy as np


def archive(pickled, storages=(), path=None):
    """A file as torch writes it, around a pickle."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as file:
        file.writestr("archive/data.pkl", pickled)
        for key, raw in dict(storages).items():
            file.writestr(f"archive/data/{key}", raw)
        file.writestr("archive/version", "3\n")
    path.write_bytes(made.getvalue())
    return path


def a_storage(kind=b"torch\nFloatStorage", key=b"0", size=4):
    """The opcodes of a storage."""
    text = b"X" + struct.pack("<I", len(key)) + key
    return b"(X\x07\x00\x00\x00storagec" + kind + b"\n" + text + b"X\x03\x00\x00\x00cpuK%ctQ" % size


def a_tensor(storage=None, offset=b"K\x00", shape=b"K\x04\x85", strides=b"K\x01\x85"):
    """The opcodes of a tensor of four floats."""
    rest = b"\x89ccollections\nOrderedDict\n)RtR"
    call = b"ctorch._utils\n_rebuild_tensor_v2\n("
    return call + (a_storage() if storage is None else storage) + offset + shape + strides + rest


def a_dict(value):
    return b"\x80\x02}X\x01\x00\x00\x00w" + value + b"s."


def text(string):
    return b"X" + struct.pack("<I", len(string)) + string.encode()


FLOATS = {"0": np.arange(4, dtype=np.float32).tobytes()}
