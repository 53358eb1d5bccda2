"""What a file of weights costs: work and memory in proportion to its size, and short refusals."""

from __future__ import annotations

import difflib
import json
import pickle
import re
import struct
import sys
import tracemalloc
import zipfile
from itertools import islice

import numpy as np
import pytest
from archives import FLOATS, a_dict, a_storage, a_tensor, archive, text
from hypothesis import given
from hypothesis import strategies as st

from fnopt.pretrained import limits, load_pretrained, save_pretrained
from fnopt.pretrained.renames import as_renames
from fnopt.pretrained.torch_file import read_torch
from fnopt.pretrained.torch_pickle import described
from fnopt.pretrained.weights_file import read_weights

pytestmark = pytest.mark.beside_optax

TARGET = {"w": np.zeros(4, np.float32)}
MARK, PUT, GET = b"(", b"r\x01\x00\x00\x00", b"j\x01\x00\x00\x00"


def work(function, *given):
    """How many instructions of Python run, whether or not it ends in a refusal."""
    count = 0

    def trace(frame, event, argument):
        nonlocal count
        frame.f_trace_opcodes = True
        count += event == "opcode"
        return trace

    before = sys.gettrace()
    sys._getframe().f_trace_opcodes = True  # Python 3.12 has to know before it begins
    sys.settrace(trace)
    try:
        function(*given)
    except ValueError:
        pass
    finally:
        sys.settrace(before)
    return count


def peak(function, *given):
    """The most bytes at one time."""
    tracemalloc.start()
    try:
        function(*given)
    except ValueError:
        pass
    finally:
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return most


def safetensors(path, names, **more):
    """Empty tensors by these names."""
    entry = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0], **more}
    header = json.dumps(dict.fromkeys(names, entry)).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header)
    return path


# Work


def many_keys(count):
    """A dict under that many names."""
    inner = b"}" + MARK + b"".join(text(str(i)) + b"K\x00" for i in range(count)) + b"u"
    names = b"".join(text(f"n{i}") + GET for i in range(count))
    return b"\x80\x02}" + MARK + text("d") + inner + PUT + names + b"u."


def many_ordered(count):
    """A list of pairs of which that many ordered dicts are to be made."""
    pairs = b"]" + MARK + b"".join(text(str(i)) + b"K\x00\x86" for i in range(count)) + b"e"
    made = (b"ccollections\nOrderedDict\n" + GET + b"\x85R") * count
    return b"\x80\x02]" + MARK + pairs + PUT + made + b"e."


def many_shapes(count):
    """A long tuple that is to be the shape of that many tensors."""
    shape = MARK + b"K\x01" * count + b"t"
    made = (b"ctorch\nSize\n" + GET + b"\x85R") * count
    return b"\x80\x02]" + MARK + shape + PUT + made + b"e."


@pytest.mark.parametrize("pickled", [many_keys, many_ordered, many_shapes])
def test_what_a_pickle_names_often_is_looked_at_once(pickled, tmp_path):
    def read(path):
        read_torch(path)

    costs = [
        work(read, archive(pickled(count), FLOATS, tmp_path / f"{count}")) for count in (100, 200)
    ]
    assert costs[1] < 2.5 * costs[0], costs


@pytest.mark.parametrize(
    "keys",
    [
        [b"\x8a\x09" + (i * (2**61 - 1)).to_bytes(9, "little") for i in range(9, 30)],
        [b"G" + struct.pack(">d", 2.0 ** (61 * i)) for i in range(2, 16)],
        [b"G" + struct.pack(">d", 2.0 ** (-61 * i)) for i in range(2, 16)],
    ],
    ids=["integers", "large", "fine"],
)
def test_keys_whose_hashes_collide_are_refused(keys):
    pickled = b"\x80\x02}" + MARK + b"".join(key + b"N" for key in keys) + b"u."
    with pytest.raises(ValueError, match="the key of a dict is a number of more than 64 bits"):
        described(pickled)


def test_numbers_are_keys_and_large_ones_values():
    """As in the state of an optimizer, and of a generator of random numbers."""
    numbers = {0: "a", -(2**63): "b", 2**64 - 1: "c", 0.5: "d", "seed": 2**127}
    assert described(pickle.dumps(numbers, 2)) == numbers


@pytest.mark.parametrize("count", [50, 200])
def test_an_archive_is_opened_once_whatever_is_in_it(count, tmp_path, monkeypatch):
    tensors = b"".join(
        text(f"w{i}") + a_tensor(a_storage(key=str(i).encode())) for i in range(count)
    )
    pickled = b"\x80\x02}" + MARK + tensors + b"u."
    path = archive(pickled, {str(i): FLOATS["0"] for i in range(count)}, tmp_path / "net")
    opened, real = [], zipfile.ZipFile.__init__

    def init(self, *given, **named):
        opened.append(given)
        real(self, *given, **named)

    monkeypatch.setattr(zipfile.ZipFile, "__init__", init)
    loaded, _ = load_pretrained({f"w{i}": np.zeros(4, np.float32) for i in range(count)}, path)
    assert all((x == range(4)).all() for x in loaded.values()) and len(opened) == 1


def test_entries_over_each_other_are_refused(tmp_path):
    """A hundred storages of 1 MB in a file of 1 MB."""
    with zipfile.ZipFile(tmp_path / "net", "w") as file:
        file.writestr("net/data.pkl", a_dict(a_tensor()))
        file.writestr("net/data/0", bytes(2**20))
        for i in range(1, 100):
            copy = zipfile.ZipInfo(f"net/data/{i}")
            for name in ("header_offset", "CRC", "file_size", "compress_size"):
                setattr(copy, name, getattr(file.getinfo("net/data/0"), name))
            file.filelist.append(copy)
    with pytest.raises(ValueError, match="its entries overlap"):
        load_pretrained(TARGET, tmp_path / "net")


@pytest.mark.parametrize("wrapper", ["module.", "_orig_mod.module.", "params/"])
def test_a_name_of_many_wrappers_costs_what_its_length_costs(wrapper):
    def load(count):
        load_pretrained(TARGET, {"w": np.ones(4, "f"), wrapper * count + "x": np.ones(1)})

    peak(load, 1)  # brings what the first call brings
    costs = [peak(load, count) for count in (1000, 2000)]
    assert costs[1] < 100 * 2000 * len(wrapper), costs
    assert load_pretrained(TARGET, {"module." * 8 + "w": np.ones(4, "f")})[1].complete


def test_work_and_memory_are_in_proportion_to_the_number_of_tensors(tmp_path):
    def load(path):
        load_pretrained(TARGET, path, strict=False)

    files = [
        safetensors(tmp_path / f"{n}", (f"block.{i}.module.weight" for i in range(n)))
        for n in (300, 600, 20_000)
    ]
    costs = [work(load, file) for file in files[:2]]
    assert costs[1] < 2.2 * costs[0] and costs[1] < 1500 * 600, costs
    assert peak(read_weights, files[2]) < 1600 * 20_000


@given(
    pattern=st.text("ab*", min_size=1, max_size=8).filter(lambda x: "*" in x),
    name=st.text("ab", max_size=12),
)
def test_a_glob_matches_as_a_lazy_regular_expression(pattern, name):
    """Which is the oracle, and of several stars would try every way to share out a name."""
    stars = pattern.count("*")
    (rule,) = as_renames([(pattern, "|".join("*" * stars))])
    oracle = re.compile("(.*?)".join(map(re.escape, pattern.split("*"))))
    match = oracle.fullmatch(name) or oracle.fullmatch(f"/{name}")
    try:
        made = rule.apply(name)
    except KeyError:
        assert match is None
    else:
        assert match and made == "|".join(match.groups()).strip("/")


def test_a_glob_of_many_stars_is_one_pass():
    (rule,) = as_renames([("*a*a*a*a*a*a*a*a*b", "x")])  # a regular expression would take for ever
    with pytest.raises(KeyError):
        rule.apply("a" * 1000)


def test_likeness_is_asked_of_few_names(monkeypatch):
    asked, real = [], difflib.SequenceMatcher.ratio
    monkeypatch.setattr(
        difflib.SequenceMatcher, "ratio", lambda self: asked.append(1) or real(self)
    )
    names = {f"block/{i}/attention/{x}/weight": np.ones(1) for i in range(500) for x in "qkvo"}
    with pytest.raises(ValueError, match="nearest are 'block/0/attention/q/weight'"):
        load_pretrained(TARGET, {**names, "a/" * 400: np.ones(1)}, [("block/7/atention/q/*", "w")])
    assert len(asked) < 100


# Limits


def test_names_headers_and_numbers_of_tensors_are_limited(tmp_path, monkeypatch):
    longest = safetensors(tmp_path / "longest", ["x" * 1000])
    assert len(read_weights(longest).tensors) == 1
    for path in (
        safetensors(tmp_path / "longer", ["x" * 1001]),
        archive(a_dict(a_tensor()).replace(text("w"), text("x" * 1001)), FLOATS, tmp_path / "net"),
    ):
        with pytest.raises(
            ValueError, match=r"the name x+…x+ \(1001 characters\) is longer than 1"
        ):
            load_pretrained(TARGET, path)
    with (tmp_path / "header").open("wb") as file:
        file.write(struct.pack("<Q", 10**8 + 0x80) + b"{")
        file.truncate(2 * 10**8)  # it takes no room on a disk
    with pytest.raises(ValueError, match="is refused: its header has 100000128 bytes, and"):
        load_pretrained(TARGET, tmp_path / "header")
    monkeypatch.setattr(limits, "MOST_TENSORS", 10)
    with pytest.raises(ValueError, match="it has 11 tensors, and at most 10 are read; save"):
        load_pretrained(TARGET, safetensors(tmp_path / "many", map(str, range(11))))
    monkeypatch.setattr(limits, "MOST_BYTES", 90)
    (tmp_path / "index").write_text(json.dumps({"weight_map": {"w": "w" * 90}}))
    with pytest.raises(ValueError, match="its text has 115 bytes, and at most 90 are read"):
        load_pretrained(TARGET, tmp_path / "index")
    path = archive(a_dict(a_tensor()), FLOATS, tmp_path / "net")
    with pytest.raises(ValueError, match="its pickle has 134 bytes, and at most 90 are read"):
        load_pretrained(TARGET, path)


def test_a_name_that_would_not_be_read_is_not_saved(tmp_path):
    save_pretrained({"x" * 1000: np.ones(1)}, tmp_path / "net")
    with pytest.raises(ValueError, match=r"save_pretrained: the name x.* is longer than 1000 char"):
        save_pretrained({"x" * 1001: np.ones(1)}, tmp_path / "longer")
    assert [path.name for path in tmp_path.iterdir()] == ["net"]


@pytest.mark.parametrize("shape", [[0] * 33, [2**48, 0], [-1, 0], [0.0], [True, 0], 0, "0", None])
def test_shapes_of_too_many_axes_or_of_no_sizes_are_refused(shape, tmp_path):
    with pytest.raises(ValueError, match="dtype, shape or offsets of 'w' are none, or it has more"):
        load_pretrained(TARGET, safetensors(tmp_path / "net", ["w"], shape=shape))


# Refusals

LONG = "x" * 900
LONGS = [f"{i}{LONG}" for i in range(300)]
TENSORS = b"".join(text(name) + b"}" + text("w") + a_tensor() + b"s" for name in LONGS)


def hostile(folder):
    """Files with names that are long, many, or not to be printed, and what else is asked for."""
    path, ones = folder / "net", np.ones(4, "f")
    yield dict.fromkeys(LONGS, ones), {}
    yield dict.fromkeys(["w", *LONGS], ones), {}
    yield dict.fromkeys(["w", *LONGS], ones), {"rules": [("nothing", "w")]}
    yield {"w": np.ones((1,) * 30)}, {}
    yield {name + ".w": ones for name in LONGS}, {"rules": [("*.w", "w")]}
    yield {"\x1b[2J\n" * 9: ones}, {}
    yield safetensors(path, LONGS), {}
    yield safetensors(path, LONGS, dtype=LONG * 9), {}
    yield safetensors(path, LONGS, shape=[2**47] * 32), {}
    yield archive(b"\x80\x02}" + MARK + TENSORS + b"u.", FLOATS, path), {}
    yield archive(b"\x80\x02}" + MARK + TENSORS + b"u.", FLOATS, path), {"entry": "x"}
    yield archive(a_dict(a_tensor(a_storage(key=LONG.encode() * 9))), FLOATS, path), {}
    yield archive(a_dict(a_tensor(a_storage(key=LONG.encode()))), FLOATS, path), {}
    yield archive(a_dict(b"c" + LONG.encode() + b"\nx\n)R"), FLOATS, path), {}
    yield archive(a_dict(b"S" + LONG.encode() + b"\n"), FLOATS, path), {}
    yield archive(a_dict(b"I" + LONG.encode() + b"\n"), FLOATS, path), {}
    yield archive(a_dict(b"F" + LONG.encode() + b"\n"), FLOATS, path), {}
    long = b"(" + (b"\x8a\x06" + b"\xff" * 5 + b"\x00") * 32 + b"t"
    yield archive(a_dict(a_tensor(shape=long, strides=long)), FLOATS, path), {}
    flags = b"}" + text(LONG) + b"\x88s"
    tensor = a_tensor()[: -len(b"tR")] + flags + b"tR"
    yield archive(a_dict(tensor), FLOATS, path), {}


@pytest.mark.parametrize("number", range(19))
def test_a_refusal_is_short_and_printable(number, tmp_path):
    file, more = next(islice(hostile(tmp_path), number, None))  # they share a path
    with pytest.raises(ValueError, match=r"^load_pretrained: ") as refused:
        load_pretrained(TARGET, file, **more)
    assert len(str(refused.value)) < 2000, len(str(refused.value))
    assert str(refused.value).replace("\n", "").isprintable()


def test_a_report_is_no_wider_than_its_names_are_shown():
    _, report = load_pretrained(TARGET, dict.fromkeys(["w", *LONGS], np.ones(4, "f")), strict=False)
    assert len(report.unused) == 300 and report.unused[0] == LONGS[0]
    assert max(map(len, str(report).splitlines())) < 150
