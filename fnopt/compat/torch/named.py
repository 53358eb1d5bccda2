"""Which tensor of torch is which leaf of ours, and how its layout becomes ours."""

from __future__ import annotations

import glob
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fnopt.core import did_you_mean
from fnopt.core.select import path_name
from fnopt.core.types import Params
from fnopt.pretrained.torch_layout import flax_layout as flax_layout
from fnopt.wrap.layout import Parts


class Named:
    """The leaves of our parameters, matched with the tensors of a torch optimizer.

    Args:
        optimizer: torch's optimizer.
        params: the parameters as a tree in fnopt's layout; shapes are enough.
        names: a dict from every path to torch's parameter or its name.
        layout: a function of a path and an array in torch's layout that returns it in fnopt's.

    Raises:
        ValueError: a leaf is not named, a name is unknown, a tensor of the optimizer is left out,
            or a shape is not the leaf's.
    """

    def __init__(
        self, optimizer: Any, params: Params, names: Mapping[str, Any], layout: Callable[..., Any]
    ) -> None:
        with_paths, self.treedef = jax.tree_util.tree_flatten_with_path(params)
        self.all_paths = [path_name(path) for path, _ in with_paths]
        self.leaves = [leaf for _, leaf in with_paths]
        self.optimizer, self.layout = optimizer, layout
        for path in names:
            if path not in self.all_paths:
                raise ValueError(
                    f"convert: names has {path!r}, which is no path of params;"
                    f" {did_you_mean(path, self.all_paths)}"
                )
        by_name = {
            name: tensor
            for group in optimizer.param_groups
            for name, tensor in zip(group.get("param_names", ()), group["params"], strict=False)
        }
        self.tensors = [self._tensor(path, names, by_name) for path in self.all_paths]
        # A tensor without gradients is one that torch never moves.
        owners = {
            id(p): i
            for i, group in enumerate(optimizer.param_groups)
            for p in group["params"]
            if p.requires_grad
        }
        self.owners = [owners.get(id(tensor)) for tensor in self.tensors]
        self._check_each_once(owners)
        for path, tensor, leaf in zip(self.all_paths, self.tensors, self.leaves, strict=True):
            self._laid_out(path, _array(tensor), np.shape(leaf))

    def _check_each_once(self, owners: Mapping[int, int]) -> None:
        places: dict[int, list[str]] = {}
        for path, tensor in zip(self.all_paths, self.tensors, strict=True):
            places.setdefault(id(tensor), []).append(path)
        if left_out := len(set(owners) - set(places)):
            raise ValueError(
                f"convert: {left_out} of the optimizer's {len(owners)} parameters are nowhere in"
                " names; each must be some leaf's, by the parameter itself (not its .data)"
            )
        for tensor, paths in places.items():
            if len(paths) > 1 and tensor in owners:
                raise ValueError(
                    f"convert: {' and '.join(map(repr, paths))} are one tensor in torch, and would"
                    " be trained apart here; make it one leaf, used twice"
                )

    def _tensor(self, path: str, names: Mapping[str, Any], by_name: Mapping[str, Any]) -> Any:
        if path not in names:
            raise ValueError(f"convert: names lacks {path!r}; give torch's parameter for each leaf")
        name = names[path]
        if not isinstance(name, str):
            return name
        if name in by_name:
            return by_name[name]
        known = did_you_mean(name, by_name) if by_name else (
            "it was created without names; pass it model.named_parameters(), or give the parameter"
            " itself"
        )  # fmt: skip
        raise ValueError(f"convert: {path!r}: the optimizer knows no parameter {name!r}; {known}")

    def _laid_out(self, path: str, array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        ours = np.asarray(self.layout(path, array))
        if ours.shape != shape:
            raise ValueError(
                f"convert: {path!r} has shape {shape}, but torch's {array.shape} becomes"
                f" {ours.shape}; map another parameter to it, or give a layout="
            )
        return ours

    def paths(self, group: int | None) -> list[str]:
        """The paths of a group; of None, those that the optimizer has not."""
        pairs = zip(self.all_paths, self.owners, strict=True)
        return [path for path, owner in pairs if owner == group]

    def shapes(self, group: int) -> list[tuple[str, tuple[int, ...]]]:
        """The paths of a group, with torch's shapes."""
        rows = zip(self.all_paths, self.tensors, self.owners, strict=True)
        return [(path, tuple(tensor.shape)) for path, tensor, owner in rows if owner == group]

    def patterns(self, group: int | None) -> tuple[str, ...]:
        """These paths as globs that match themselves alone."""
        return tuple(map(glob.escape, self.paths(group)))

    def weights(self) -> Any:
        """torch's parameters as ours."""
        rows = zip(self.all_paths, self.tensors, self.leaves, strict=True)
        return self.treedef.unflatten(
            jnp.asarray(self._laid_out(path, _array(tensor), np.shape(leaf)), jnp.result_type(leaf))
            for path, tensor, leaf in rows
        )

    def slots(self, group: int, key: str, old: Any) -> Any:
        """A tree of slots with torch's state instead of a group's."""
        slots = self.treedef.flatten_up_to(old)
        rows = zip(self.all_paths, self.tensors, self.owners, slots, strict=True)
        return self.treedef.unflatten(
            self._slot(path, tensor, key, slot) if owner == group else slot
            for path, tensor, owner, slot in rows
        )

    def _slot(self, path: str, tensor: Any, key: str, slot: Any) -> Any:
        theirs = self.optimizer.state.get(tensor, {})
        if key in ("row_var", "col_var") and key in theirs:
            return jnp.asarray(self._factor(path, theirs, key), slot.dtype)
        theirs = theirs.get(key)
        if theirs is not None and isinstance(slot, Parts):
            whole = self._laid_out(path, _array(theirs), slot.real.shape)
            return Parts(
                *(jnp.asarray(x, slot.real.dtype) for x in (np.real(whole), np.imag(whole)))
            )
        if theirs is None or not isinstance(slot, jax.Array):
            return slot
        return jnp.asarray(self._laid_out(path, _array(theirs), slot.shape), slot.dtype)

    def _factor(self, path: str, theirs: Any, key: str) -> np.ndarray:
        """A factor of Adafactor's second moment, which a transposition exchanges with the other."""
        row, col = (_array(theirs[k]) for k in ("row_var", "col_var"))
        exchanged = bool(self.transposed(path, np.broadcast_shapes(row.shape, col.shape)))
        row, col = row[..., 0], col[..., 0, :]
        return (row, col)[(key == "row_var") == exchanged]

    def transposed(self, path: str, shape: tuple[int, ...]) -> bool | None:
        """Whether the layout exchanges the two axes of a matrix; None if it does something else."""
        places = np.arange(np.prod(shape, dtype=int)).reshape(shape)
        ours = self.layout(path, places)
        if np.array_equal(ours, places):
            return False
        return True if len(shape) == 2 and np.array_equal(ours, places.T) else None

    def vector(self, vector: Any, old: Any) -> Any:
        """A vector of all parameters, in torch's order, as a tree like an old one."""
        at, pieces = 0, {}
        for tensor in self.optimizer.param_groups[0]["params"]:
            size = tensor.numel()
            pieces[id(tensor)] = _array(vector[at : at + size].view(tensor.shape))
            at += size
        rows = zip(self.all_paths, self.tensors, self.treedef.flatten_up_to(old), strict=True)
        return self.treedef.unflatten(
            jnp.asarray(self._laid_out(path, pieces[id(tensor)], slot.shape), slot.dtype)
            if isinstance(slot, jax.Array)
            else slot
            for path, tensor, slot in rows
        )


def _array(tensor: Any) -> np.ndarray:
    tensor = tensor.detach().cpu()
    array = (tensor if str(tensor.dtype) != "torch.bfloat16" else tensor.float()).numpy()
    # A copy: jax may take over memory that torch's next step writes to.
    return array.copy()
