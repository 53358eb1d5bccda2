"""Files and folders of weights: of which kind they are, and what is in them."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import struct
import sys
import zipfile

import numpy as np
import pytest
from archives import FLOATS, a_dict, a_storage, a_tensor, archive, text
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fnopt.initialize import load_pretrained, save_pretrained
from fnopt.pretrained.weights_file import read_weights

pytestmark = pytest.mark.beside_optax

NUMBERS = np.arange(4, dtype=np.float32)
TARGET = {"w": np.zeros(4, np.float32)}
ENTRY = {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}


def of_header(path, length):
    """A file of safetensors whose header has this length: the format permits spaces behind it."""
    header = json.dumps({"w": ENTRY}).encode().ljust(length)
    assert len(header) == length
    path.write_bytes(struct.pack("<Q", length) + header + NUMBERS.tobytes())
    return path


# Kinds of files


@pytest.mark.parametrize(
    "lengths",
    [
        range(100, 356),  # every first byte, 0x80 of pickles among them
        range(0x8000, 0x8100),  # every first byte under another second one
        # That begins as "PK" does, "PK\3", and "PK\3\4" to the end.
        [0x4B50, 0x14B50, 0x34B50, 0x04034B50],
        # The first byte is a brace or white space, as of an index.
        [0x7B, 0x7B7B, 0x200A, 0x0920],
    ],
    ids=["bytes", "second", "PK", "JSON"],
)
def test_a_header_of_any_length_is_read(lengths, tmp_path):
    refused = []
    for length in lengths:
        try:
            loaded, _ = load_pretrained(TARGET, of_header(tmp_path / "net", length))
            np.testing.assert_array_equal(loaded["w"], NUMBERS)
        except ValueError as error:
            refused.append((length, str(error)))
    assert not refused, (len(refused), refused[:2])


def test_every_file_that_is_saved_is_read(tmp_path):
    """Its header is a multiple of 8 long, so that 32 lengths are all first bytes."""
    for spaces in range(0, 256, 8):
        path = save_pretrained({"w": NUMBERS}, tmp_path / "net", metadata={"note": "x" * spaces})
        loaded, _ = load_pretrained(TARGET, path)
        np.testing.assert_array_equal(loaded["w"], NUMBERS)


def test_an_archive_whose_beginning_reads_as_a_length_is_an_archive(tmp_path):
    path = archive(a_dict(a_tensor()), FLOATS, tmp_path / "net")
    whole = bytearray(path.read_bytes())
    whole[4:6] = bytes(2)  # the version; now the first 8 bytes are the length of a header
    path.write_bytes(whole)
    assert struct.unpack("<Q", whole[:8])[0] < 100_000_000
    np.testing.assert_array_equal(load_pretrained(TARGET, path)[0]["w"], NUMBERS)


@pytest.mark.parametrize("name", ["net.pt", "net.safetensors", "net.json", "net"])
def test_the_name_of_a_file_says_nothing(name, tmp_path):
    for made in (
        archive(a_dict(a_tensor()), FLOATS, tmp_path / "torch"),
        of_header(tmp_path / "safetensors", 128),
        an_index(tmp_path, {"w": "safetensors"}),
    ):
        shutil.copy(made, tmp_path / name)
        np.testing.assert_array_equal(load_pretrained(TARGET, tmp_path / name)[0]["w"], NUMBERS)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("size", [0, 200_000])
def test_a_plain_pickle_is_refused_with_the_cure(protocol, size, tmp_path):
    path = tmp_path / "net.pt"
    path.write_bytes(pickle.dumps({"w": [0.0] * 4, "{": "{" * size}, protocol))
    with pytest.raises(
        ValueError, match=r"a plain pickle.* before version 1.6; save it again: torc"
    ):
        load_pretrained(TARGET, path)


@pytest.mark.parametrize("kept", [9, 50, 128, 150])
def test_a_header_that_is_cut_off_is_no_pickle(kept, tmp_path):
    path = of_header(tmp_path / "net", 128)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ValueError, match="net is refused: it is cut off or damaged"):
        load_pretrained(TARGET, path)


def test_what_is_no_file_of_weights_is_refused(tmp_path):
    (tmp_path / "empty").touch()
    with pytest.raises(ValueError, match="it is cut off: it is empty; get it again"):
        load_pretrained(TARGET, tmp_path / "empty")
    (tmp_path / "text").write_text("[net]\n")
    with pytest.raises(ValueError, match="none of the kinds that are read"):
        load_pretrained(TARGET, tmp_path / "text")
    os.mkfifo(tmp_path / "pipe")  # to open it would wait for a writer
    with pytest.raises(ValueError, match="no regular file; copy"):
        load_pretrained(TARGET, tmp_path / "pipe")
    (tmp_path / "folder" / "a" / "b" / "c").mkdir(parents=True)
    (tmp_path / "folder" / "a" / "b" / "c" / "_METADATA").touch()
    (tmp_path / "folder" / "last.pt").touch()
    with pytest.raises(ValueError, match=r"nor .* \(model.safetensors, .*; give one .*: last.pt"):
        load_pretrained(TARGET, tmp_path / "folder")


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    places=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=0, max_size=3),
    cut=st.integers(0, 3),
)
def test_a_file_is_read_where_the_library_reads_it(places, cut, tmp_path):
    safetensors = pytest.importorskip("safetensors")
    tree = {"a": np.ones((2, 3), np.float32), "b": np.zeros(0, np.int8), "c": np.arange(5)}
    whole = bytearray(save_pretrained(tree, tmp_path / "net").read_bytes())
    for place, byte in places:
        whole[place % len(whole)] = byte
    whole = bytes(whole[: len(whole) - cut])
    (tmp_path / "net").write_bytes(whole)
    try:
        expected = {name: got for name, got in safetensors.deserialize(whole)}
    except safetensors.SafetensorError:
        expected = None
    try:
        found = read_weights(tmp_path / "net").tensors
    except ValueError:
        # Refused by both, or what NumPy does not have, or a name twice.
        kinds = [] if expected is None else [got["dtype"] for got in expected.values()]
        rare = any(kind.startswith(("F4", "F6", "F8_E8", "F8_E3", "F8_E4M3F")) for kind in kinds)
        assert expected is None or rare or len(expected) < 3
    else:
        assert expected is not None and found.keys() == expected.keys()
        for name, tensor in found.items():
            assert list(tensor.shape) == expected[name]["shape"]
            assert tensor.read().tobytes() == bytes(expected[name]["data"])


# Weights in several files


def an_index(folder, weight_map, name="model.safetensors.index.json", **more):
    path = folder / name
    path.write_text(json.dumps({"metadata": {"total_size": 32}, "weight_map": weight_map, **more}))
    return path


PARAMS = {"a": {"kernel": np.zeros((2, 3), np.float32)}, "b": {"bias": np.zeros(3, np.float32)}}
ARRAYS = {
    "a.weight": np.arange(6, dtype=np.float32).reshape(3, 2),
    "b.bias": np.array([7, 8, 9], np.float32),
}
FILES = {
    "a.weight": "model-00001-of-00002.safetensors",
    "b.bias": "model-00002-of-00002.safetensors",
}


def sharded(folder, files=FILES):
    folder.mkdir(parents=True, exist_ok=True)
    for name, file in files.items():
        save_pretrained({name: ARRAYS[name]}, folder / file)
    return an_index(folder, files)


def test_weights_in_several_files_are_read_by_their_index_or_folder(tmp_path):
    index = sharded(tmp_path / "net")
    for path in (index, tmp_path / "net", str(index)):
        loaded, report = load_pretrained(PARAMS, path)
        np.testing.assert_array_equal(loaded["a"]["kernel"], ARRAYS["a.weight"].T)
        np.testing.assert_array_equal(loaded["b"]["bias"], ARRAYS["b.bias"])
        assert report.complete and report.metadata == {"total_size": "32"}


def test_a_single_file_in_a_folder_is_read_before_an_index(tmp_path):
    sharded(tmp_path)
    save_pretrained({name: 2 * x for name, x in ARRAYS.items()}, tmp_path / "model.safetensors")
    loaded, _ = load_pretrained(PARAMS, tmp_path)
    np.testing.assert_array_equal(loaded["b"]["bias"], [14, 16, 18])
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(ValueError, match=r"model.safetensors is refused: it is cut off: .* empty"):
        load_pretrained(PARAMS, tmp_path)


def test_files_of_torch_have_an_index_too(tmp_path):
    archive(a_dict(a_tensor()), FLOATS, tmp_path / "pytorch_model-00001-of-00002.bin")
    other = b"\x80\x02}" + text("v") + a_tensor(a_storage(key=b"3")) + b"s."
    archive(other, {"3": FLOATS["0"]}, tmp_path / "pytorch_model-00002-of-00002.bin")
    files = {"v": "pytorch_model-00002-of-00002.bin", "w": "pytorch_model-00001-of-00002.bin"}
    an_index(tmp_path, files, "pytorch_model.bin.index.json")
    loaded, _ = load_pretrained({**TARGET, "v": np.zeros(4, np.float32)}, tmp_path)
    np.testing.assert_array_equal(loaded["w"], NUMBERS)
    np.testing.assert_array_equal(loaded["v"], NUMBERS)
    an_index(tmp_path, {"w": FILES["a.weight"]})
    archive(a_dict(a_tensor()), FLOATS, tmp_path / "pytorch_model.bin")
    with pytest.raises(ValueError, match=r"safetensors.index.json is refused: 1 of the 1"):
        load_pretrained(TARGET, tmp_path)
    (tmp_path / "model.safetensors.index.json").unlink()
    np.testing.assert_array_equal(load_pretrained(TARGET, tmp_path)[0]["w"], NUMBERS)


def test_only_the_numbers_that_are_wanted_are_read(tmp_path, monkeypatch):
    index, read, fromfile = sharded(tmp_path), [], np.fromfile

    def noted(path, *given, **named):
        read.append(path.name)
        return fromfile(path, *given, **named)

    monkeypatch.setattr(np, "fromfile", noted)
    load_pretrained(PARAMS, index, new="a/*")
    assert read == [FILES["b.bias"]]


def test_a_snapshot_in_the_cache_of_hugging_face_is_read(tmp_path):
    """Every file of it is a link to one in a folder of its own, named by its check sum."""
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / "0a1b"
    sharded(blobs)
    snapshot.mkdir(parents=True)
    for file in [*blobs.iterdir()]:
        target = file.rename(blobs / f"{hash(file.name) % 2**32:x}")
        (snapshot / file.name).symlink_to(os.path.relpath(target, snapshot))
    assert load_pretrained(PARAMS, snapshot)[1].complete
    # A link to it, and a folder within it.
    (tmp_path / "net").symlink_to(snapshot)
    assert load_pretrained(PARAMS, tmp_path / "net")[1].complete


@pytest.mark.parametrize("file", ["../x", "/x", "a/../../x", "link", "a/link", "loop", "./..", ""])
def test_a_file_outside_the_folder_is_not_read(file, tmp_path):
    folder = tmp_path / "net"
    (folder / "a").mkdir(parents=True)
    outside = of_header(tmp_path / "x", 128)
    (folder / "link").symlink_to(outside)
    (folder / "a" / "link").symlink_to(outside)
    (folder / "loop").symlink_to(tmp_path)
    index = an_index(folder, {"w": str(outside) if file == "/x" else file})
    with pytest.raises(ValueError, match=r"outside the folder of the index, .*; put the file"):
        load_pretrained(TARGET, index)
    # An absolute path is refused wherever it leads.
    within = of_header(folder / "w", 128)
    with pytest.raises(ValueError, match="outside the folder"):
        load_pretrained(TARGET, an_index(folder, {"w": str(within)}))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"{", "cut off or damaged"),
        (b'{"weight_map": {"w": "w"}', "cut off or damaged"),
        (b'{"weight_map": {"w": "w", "w": "w"}}', "a name occurs twice"),
        (b'{"weight_map": {"\xff": "w"}}', "cut off or damaged"),
        (b'{"weight_map":' * 100_000, "cut off or damaged"),
        (b'{"a": 1' + b"0" * 5000 + b"}", "cut off or damaged"),
        (b"{}", "no index of weights: its 'weight_map' must"),
        (b'{"weight_map": []}', "no index of weights"),
        (b'{"weight_map": {}}', "no index of weights"),
        (b'{"weight_map": {"w": 3}}', "no index of weights"),
        (b'{"weight_map": {"w": {"file": "w"}}}', "no index of weights"),
        (b'{"weight_map": {"w": "\\u0000"}}', r"1 of the 1 files that the index names are missing"),
        (b'{"weight_map": {"w": "\\ud800"}}', r"1 of the 1 .* missing: \\ud800; put them next to"),
        (b'{"weight_map": {"w": "' + b"x" * 9999 + b'"}}', r"missing: x+….*; put them next to"),
        (b'{"weight_map": {"v": "w"}}', "its file 'w' lacks v, which the index says is there; .*"),
        (b'{"weight_map": {"w": "net.json"}}', "its file 'net.json': it is none of the kinds"),
        (b'{"weight_map": {"w": "empty"}}', "its file 'empty': it is cut off: it is empty"),
        (b'{"weight_map": {"w": "folder"}}', "missing: folder"),
    ],
)
def test_a_bad_index_is_refused_with_cause_and_cure(content, says, tmp_path):
    of_header(tmp_path / "w", 128)
    (tmp_path / "empty").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "net.json").write_bytes(content)
    with pytest.raises(ValueError, match=rf"net.json is refused: .*{says}") as refused:
        load_pretrained(TARGET, tmp_path / "net.json")
    assert len(str(refused.value)) < 1000


def test_one_file_under_several_names_is_read_once(tmp_path, monkeypatch):
    module = sys.modules[read_weights.__module__]
    of_header(tmp_path / "w", 128)
    names = ["w", "./w", *(f"w{i}" for i in range(5))]
    for name in names[2:]:
        (tmp_path / name).symlink_to("w")
    read, real = [], module.read_safetensors
    monkeypatch.setattr(module, "read_safetensors", lambda path: read.append(path) or real(path))
    index = an_index(tmp_path, {f"tensor{i}": name for i, name in enumerate(names * 2)})
    with pytest.raises(ValueError, match=r"lacks tensor0, .*, tensor7 and 6 more, which the index"):
        load_pretrained(TARGET, index)
    assert len(read) == 1


def test_a_zip_that_is_none_of_torch_s_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "net.safetensors", "w") as file:
        file.writestr("{}", b"")
    with pytest.raises(ValueError, match="a zip archive, but none of torch's"):
        load_pretrained(TARGET, tmp_path / "net.safetensors")
