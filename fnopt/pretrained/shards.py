"""Weights in several files, as Hugging Face stores large models.

An index, ``model.safetensors.index.json``, says in which file of its folder each tensor is::

    {"metadata": {"total_size": 16},
     "weight_map": {"a.weight": "model-00001-of-00002.safetensors", …}}
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from fnopt.pretrained.limits import check_size, short, some
from fnopt.pretrained.safetensors_file import parsed
from fnopt.pretrained.stored_tensors import StoredTensor, Weights

USUAL_FILES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
"""The names of weights in a folder of Hugging Face; the first that exists is read."""


def file_of_folder(folder: Path) -> Path | None:
    """The file of weights in a folder of Hugging Face, or its index; None if there is none."""
    return next((folder / name for name in USUAL_FILES if (folder / name).is_file()), None)


def read_index(path: Path, read: Callable[[Path], Weights]) -> Weights:
    """The tensors that an index names, in its order; only the headers of the files are read.

    Args:
        path: the path of the index.
        read: a function that reads the weights of one file.

    Raises:
        ValueError: it is no index, a file is missing or outside its folder, or a tensor is not in
            the file that the index says.
    """
    check_size("its text", path.stat().st_size)
    index = parsed("its text", path.read_bytes())
    files = index.get("weight_map")
    if type(files) is not dict or not files or any(type(x) is not str for x in files.values()):
        raise ValueError(
            "it is JSON, but no index of weights: its 'weight_map' must have the name of a file for"
            " each tensor; give a file of weights, or model.safetensors.index.json"
        )
    targets = _targets(path, dict.fromkeys(files.values()))
    names_in: dict[Path, list[str]] = {}
    for name, file in files.items():
        names_in.setdefault(targets[file], []).append(name)
    tensors: dict[str, StoredTensor] = {}
    for target, names in names_in.items():
        file = files[names[0]]
        try:
            stored = read(target).tensors
        except ValueError as error:
            raise ValueError(f"its file {short(file)!r}: {error}") from error
        if lacking := [name for name in names if name not in stored]:
            raise ValueError(
                f"its file {short(file)!r} lacks {some(lacking)}, which the index says is there;"
                " the index and the files are of different models, or one was cut: get all of them"
                " again"
            )
        tensors.update((name, stored[name]) for name in names)
    metadata = index.get("metadata")
    metadata = metadata if type(metadata) is dict else {}
    plain = {key: str(x) for key, x in metadata.items() if type(x) in (str, int, float, bool)}
    return Weights({name: tensors[name] for name in files}, False, plain)


def _targets(index: Path, files: dict[str, None]) -> dict[str, Path]:
    """The paths of the files by the names in the index."""
    folder = index.parent.resolve()
    homes = (folder, *_blobs(folder))
    targets, missing = {}, []
    for file in files:
        try:
            target = (folder / file).resolve()
        except (ValueError, OSError, RuntimeError):  # a zero byte, a name too long, links in a ring
            missing.append(file)
            continue
        named = Path(file)
        inside = any(home in target.parents for home in homes)
        if named.is_absolute() or ".." in named.parts or not inside:
            raise ValueError(
                f"the index names the file {short(file)!r}, which is outside the folder of the"
                " index, and it was not read; put the file next to the index under its plain name"
            )
        if os.path.isfile(target):  # false for a name that no file can have
            targets[file] = target
        else:
            missing.append(file)
    if missing:
        raise ValueError(
            f"{len(missing)} of the {len(files)} files that the index names are missing:"
            f" {some(missing, 4)}; put them next to the index"
        )
    return targets


def _blobs(folder: Path) -> list[Path]:
    """The folders of the cache of Hugging Face that the links of a snapshot point into."""
    return [above.parent / "blobs" for above in folder.parents if above.name == "snapshots"]
