"""How leaves are seen for which there is no rule: by names, shapes, and what lies beside them."""

from __future__ import annotations

import collections
import re
from collections.abc import Sequence
from typing import NamedTuple

from fnopt.matrix.view import MatrixView, Seen

Shape = tuple[int, ...]
Words = tuple[str, ...]

_EMBEDDING = re.compile(r"embed|(^|_)embs?(_|$)|^w[tp]e$|(^|_)tokens?$|codebook")
_HEAD = re.compile(
    r"((lm|mlm|cls|output|classification|prediction|value|policy|actor|critic)_?)?head(_?\d+)?"
    r"|logits|classifier|readout|(output|vocab)_projection"
)
_VECTOR = re.compile(r".*bias.*|(.*_)?(scale|offset|gain|gamma|beta)|a_log")
_NORM = re.compile(r".*norm(?!al).*|(ln|bn|gn)(\d+|_\w+)?")
_KERNEL = re.compile(r"kernel|w")
_WEIGHT = re.compile(r"(.*_)?weights?(_.*)?")
_STACKED = re.compile(r"h|blocks?|layers?|stack|scan.*|.*_layers|.*_blocks")
_TABLE = re.compile(r"table|weights?|w")
_HEADS_OUT = {"query", "key", "value", "q", "k", "v", "q_proj", "k_proj", "v_proj"}
_HEADS_IN = {"out", "o", "o_proj", "out_proj"}
_BIAS_OF = (("weight", "bias"), ("kernel", "bias"))


class _Leaf(NamedTuple):
    """A leaf with the parts of its path in lower case."""

    path: str
    parts: tuple[str, ...]
    shape: Shape

    @property
    def name(self) -> str:
        return self.parts[-1]

    @property
    def layer(self) -> str:
        return self.parts[-2] if len(self.parts) > 1 else ""

    @property
    def stem(self) -> str:
        """What leaves of one convention have in common: ``w`` of ``w1``, ``#`` of a list's."""
        return re.sub(r"_?\d+$", "", self.name) or "#"


class Names:
    """How every leaf of a tree is seen, where nothing but the tree is known.

    The order of the axes follows, in this sequence, from the shape of the bias beside a leaf, from
    the biases beside other leaves of its name, and from its name: a ``kernel`` or ``w`` has inputs
    first, a ``weight`` outputs. A norm's scale of two axes tells that its neighbours are stacked.

    Args:
        named: the paths and shapes of all leaves.
    """

    def __init__(self, named: Sequence[tuple[str, Shape]]) -> None:
        # torch's names have dots.
        self._leaves = [_Leaf(p, tuple(re.split("[/.]", p.lower())), shape) for p, shape in named]
        self._beside: dict[Words, dict[str, Shape]] = collections.defaultdict(dict)
        for leaf in self._leaves:
            self._beside[leaf.parts[:-1]][leaf.name] = leaf.shape
        self._children: dict[Words, set[str]] = collections.defaultdict(set)
        for parts in self._beside:
            self._children[parts[:-1]].update(parts[-1:])
        self._stacks = self._stacked_by_norms()
        self._orders: dict[str, set[str]] = collections.defaultdict(set)
        for leaf in self._leaves:
            readings = self._readings(leaf)
            # A transposed convolution of torch has them in the middle.
            if len(readings) == 1 and "in out in" not in " ".join(readings[0]):
                self._orders[leaf.stem].add(_order(readings[0]))
        self._some_out_first = any("out" in orders for orders in self._orders.values()) or any(
            _WEIGHT.fullmatch(leaf.name) and len(leaf.shape) > 1 and not _is_table(leaf)
            for leaf in self._leaves
        )

    def seen(self) -> list[Seen]:
        """How every leaf is seen, in their order."""
        return list(map(self._see, self._leaves))

    def _see(self, leaf: _Leaf) -> Seen:
        if len(leaf.shape) < 2 or 0 in leaf.shape:
            return Seen(leaf.path, leaf.shape, "other", None, "shape")
        if self._is_vector(leaf):
            return Seen(leaf.path, leaf.shape, "other", None, "name")
        words, why = self._words(leaf)
        kind = "hidden"
        if any(_EMBEDDING.search(part) for part in leaf.parts[-3:]):
            kind = "embedding"
            if _is_table(leaf):
                stack = min(self._stacks.get(leaf.path, 0), len(leaf.shape) - 2)
                words = ("stack",) * stack + _plain(len(leaf.shape) - stack, "in")
                why = "name"
        elif any(map(_HEAD.fullmatch, leaf.parts)):
            kind = "head"
        return Seen(leaf.path, leaf.shape, kind, MatrixView(words, leaf.shape), why)

    def _is_vector(self, leaf: _Leaf) -> bool:
        """Whether it is a bias or a scale, which have more axes for heads or if stacked."""
        if _VECTOR.fullmatch(leaf.name) or (
            _NORM.fullmatch(leaf.layer) and not leaf.name.startswith("kernel")
        ):
            return True
        # A dict of matrices may have one named b, too.
        return leaf.stem == "b" and "w" + leaf.name[1:] in self._beside[leaf.parts[:-1]]

    def _words(self, leaf: _Leaf) -> tuple[Words, str]:
        """The words for the axes of a matrix, and what decided them."""
        words, why = self._by_name(leaf)
        readings = self._readings(leaf)
        if len(readings) == 1:
            return readings[0], "bias"
        if not readings or words in readings:
            return words, why
        alike = [x for x in readings if _order(x) == _order(words)]
        return (alike or readings)[0], "guess"

    def _by_name(self, leaf: _Leaf) -> tuple[Words, str]:
        rank, stack = len(leaf.shape), self._stacks.get(leaf.path)
        order, why = self._order_of(leaf)
        stacked = any(
            _STACKED.fullmatch(part) and not after.isdigit()
            for part, after in zip(leaf.parts[:-1], leaf.parts[1:], strict=True)
        )
        # An axis of a matrix cannot be one of a stack.
        stack = None if stack is None else min(stack, rank - 2)
        if rank - (stack or 0) == 2:
            return ("stack",) * (stack or 0) + _plain(2, order), why
        if "conv" in leaf.layer or "conv" in leaf.name:
            # A stacked kernel in two dimensions has one axis more.
            stack = int(rank > 4 and stacked) if stack is None else stack
            swapped = "transpose" in leaf.layer or "deconv" in leaf.layer
            # Equinox has outputs first in these, torch inputs.
            why = "guess" if swapped and order == "out" and why == "name" else why
            return ("stack",) * stack + _plain(rank - stack, order), why
        if own := self._heads(leaf):
            return ("stack",) * (rank - 3) + own, "name"
        if stack is not None:
            return ("stack",) * (rank - 2) + _plain(2, order), "guess"
        if rank == 3:
            return ("stack", *_plain(2, order)), why if stacked else "guess"
        if rank == 4 and len(set(_spatial(leaf.shape, order))) == 1:
            small = max(_spatial(leaf.shape, order)) <= 11
            return _plain(rank, order), why if small else "guess"
        return _plain(rank, order), "guess"

    def _order_of(self, leaf: _Leaf) -> tuple[str, str]:
        """Whether inputs or outputs come first, and what decided it."""
        orders = self._orders.get(leaf.stem, set())
        if _WEIGHT.fullmatch(leaf.name) or _KERNEL.fullmatch(leaf.name):
            order = "out" if _WEIGHT.fullmatch(leaf.name) else "in"
            if orders <= {order}:
                return order, "name"
            # Others of this name are the other way round, as some of GPT-2's are.
            return next(iter(orders)) if len(orders) == 1 else order, "guess"
        if len(orders) == 1:
            return next(iter(orders)), "bias"
        if orders or self._some_out_first:
            return "out", "guess"
        return "in", "shape"

    def _heads(self, leaf: _Leaf) -> Words:
        """The words for a kernel of attention whose heads are an axis; none for another."""
        if not _KERNEL.fullmatch(leaf.name):
            return ()
        near = self._children[leaf.parts[:-2]] & _HEADS_OUT
        if leaf.layer in _HEADS_OUT and len(near) > 1:
            return ("in", "out", "out")
        return ("in", "in", "out") if leaf.layer in _HEADS_IN and near else ()

    def _readings(self, leaf: _Leaf) -> list[Words]:
        """The words for the axes of a leaf that agree with the shape of its bias."""
        bias = self._bias(leaf)
        if len(leaf.shape) < 2 or not bias or 0 in leaf.shape or self._is_vector(leaf):
            return []
        known = self._stacks.get(leaf.path)
        readings: list[Words] = []
        for stack in range(len(bias)) if known is None else [known]:
            outs = bias[stack:]
            while len(outs) > 1 and outs[-1] == 1:  # Equinox's of a convolution
                outs = outs[:-1]
            size, rest = len(outs), len(leaf.shape) - stack - len(outs)
            if leaf.shape[:stack] != bias[:stack] or rest < 1 or not outs:
                continue
            for at in range(stack, stack + rest + 1):
                if leaf.shape[at : at + size] == outs:
                    before, after = ("in",) * (at - stack), ("in",) * (stack + rest - at)
                    readings.append(("stack",) * stack + before + ("out",) * size + after)
        # Heads that come first are rather a stack.
        flat = [x for x in readings if x[:2] != ("out", "out")]
        return flat or readings

    def _bias(self, leaf: _Leaf) -> Shape:
        """The shape of the bias beside a leaf; none if there is none."""
        beside = self._beside[leaf.parts[:-1]]
        if leaf.name.isdigit():
            after = beside.get(str(int(leaf.name) + 1), ())
            return after if len(after) == 1 and len(leaf.shape) > 1 else ()
        own = [leaf.name.replace(a, b, 1) for a, b in _BIAS_OF if a in leaf.name]
        own += ["b" + leaf.name[1:]] * leaf.name.startswith("w")
        return next((beside[name] for name in (*own, "bias") if name in beside), ())

    def _stacked_by_norms(self) -> dict[str, int]:
        """By path the number of axes along which leaves are stacked, where norms tell it."""
        stacks: dict[str, int] = {}
        for leaf in self._leaves:
            if len(leaf.shape) < 2 or 0 in leaf.shape:
                continue
            if not _NORM.fullmatch(leaf.layer) or _KERNEL.fullmatch(leaf.name):
                continue
            stack, members = leaf.shape[:-1], []
            for depth in range(len(leaf.parts) - 1, -1, -1):
                within = [x for x in self._leaves if x.parts[:depth] == leaf.parts[:depth]]
                if any(x.shape[: len(stack)] != stack for x in within):
                    break
                members = within
            for x in members:
                stacks[x.path] = max(len(stack), stacks.get(x.path, 0))
        return stacks


def _is_table(leaf: _Leaf) -> bool:
    """Whether it is an embedding by its own name, or that of its layer."""
    if "conv" in leaf.layer:
        return False
    own = _EMBEDDING.search(leaf.name)
    return bool(own or (_TABLE.fullmatch(leaf.name) and _EMBEDDING.search(leaf.layer)))


def _order(words: Words) -> str:
    return next(word for word in words if word != "stack")


def _plain(rank: int, order: str) -> Words:
    """The words for a kernel of a convolution, or a matrix, without a stack."""
    return ("in",) * (rank - 1) + ("out",) if order == "in" else ("out",) + ("in",) * (rank - 1)


def _spatial(shape: Shape, order: str) -> Shape:
    return shape[:-2] if order == "in" else shape[2:]
