"""The pickle of a torch file, read as a description of tensors: nothing in it is executed.

A pickle is a program for a small machine, which may import and call anything it names. This is such
a machine without imports and calls: a name stays a name, and the few calls that weights consist of
(an ordered dict, a tensor over a storage, a parameter) build plain values. Everything else is
refused, and the message has its name. Time and memory are in proportion to the length of the
pickle.
"""

from __future__ import annotations

import pickletools
from typing import Any, NoReturn

from fnopt.pretrained.limits import MOST_CHARACTERS, short
from fnopt.pretrained.torch_values import (
    CALLS,
    KNOWN,
    STORAGES,
    Name,
    Refused,
    Storage,
    called,
    fill,
    sizes,
)

_PUSHED = {
    "BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT",
    "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8",
    "BINBYTES", "SHORT_BINBYTES", "BINBYTES8",
}  # fmt: skip
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


def described(pickled: bytes) -> Any:
    """The content of a pickle: dicts, lists, tuples, numbers, strings, and :class:`Tensor`.

    Raises:
        ValueError: it asks for anything else, or is no pickle.
    """
    try:
        return _Machine(len(pickled)).run(pickled)
    except Refused:
        raise
    except (ValueError, IndexError, KeyError, TypeError, OverflowError) as error:
        raise Refused(
            f"its pickle is malformed ({type(error).__name__}: {short(error)})"
        ) from error


class _Machine:
    def __init__(self, budget: int) -> None:
        self.budget = budget
        """How many pairs ordered dicts may have in all; one list may be used many times."""
        self.stack: list[Any] = []
        self.marks: list[list[Any]] = []  # the stacks below each mark
        self.memo: dict[int, Any] = {}

    def run(self, pickled: bytes) -> Any:
        for opcode, argument, _ in pickletools.genops(pickled):
            name = opcode.name
            if name == "STOP":
                return self.stack.pop()
            if name in _PUSHED:
                self.stack.append(argument)
            elif name in _CONSTANTS:
                self.stack.append(_CONSTANTS[name])
            elif name in _TUPLES:
                count = _TUPLES[name]
                self.stack[-count:] = [tuple(self._top(count))]
            elif name in ("BINPUT", "LONG_BINPUT"):
                self.memo[argument] = self.stack[-1]  # pyright: ignore[reportArgumentType]
            elif name in ("BINGET", "LONG_BINGET"):
                self.stack.append(self.memo[argument])  # pyright: ignore[reportArgumentType]
            elif name == "GLOBAL":
                self._name(*str(argument).split(" ", 1))
            elif step := getattr(self, f"_{name}", None):
                step()
            elif name not in ("PROTO", "FRAME"):
                raise Refused(
                    f"its pickle has the instruction {name}, which weights have no use for; it was"
                    " not followed, and nothing was executed"
                )
        raise Refused("its pickle is malformed: it has no end")

    def _top(self, count: int) -> list[Any]:
        if len(self.stack) < count:
            raise IndexError("the stack is empty")
        return self.stack[-count:]

    def _MARK(self) -> None:
        self.marks.append(self.stack)
        self.stack = []

    def _marked(self) -> list[Any]:
        """What lies above the last mark."""
        above, self.stack = self.stack, self.marks.pop()
        return above

    def _MEMOIZE(self) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def _EMPTY_DICT(self) -> None:
        self.stack.append({})

    def _EMPTY_LIST(self) -> None:
        self.stack.append([])

    def _EMPTY_TUPLE(self) -> None:
        self.stack.append(())

    def _TUPLE(self) -> None:
        above = self._marked()
        self.stack.append(tuple(above))

    def _APPEND(self) -> None:
        self._extend([self.stack.pop()])

    def _APPENDS(self) -> None:
        self._extend(self._marked())

    def _extend(self, items: list[Any]) -> None:
        if type(self.stack[-1]) is not list:
            raise TypeError("items are appended to what is no list")
        self.stack[-1].extend(items)

    def _SETITEM(self) -> None:
        pair = self._top(2)
        del self.stack[-2:]
        self._fill(pair)

    def _SETITEMS(self) -> None:
        self._fill(self._marked())

    def _fill(self, items: list[Any]) -> None:
        if type(self.stack[-1]) is not dict:
            raise TypeError("items are set in what is no dict")
        fill(self.stack[-1], items[::2], items[1::2])

    def _STACK_GLOBAL(self) -> None:
        module, name = self._top(2)
        del self.stack[-2:]
        if type(module) is not str or type(name) is not str:
            raise TypeError("a name is no string")
        self._name(module, name)

    def _name(self, module: str, name: str = "") -> None:
        full = f"{module}.{name}"
        if full not in KNOWN:
            _refuse(full)
        self.stack.append(Name(full))

    def _BINPERSID(self) -> None:
        persistent_id = self.stack.pop()
        if (
            type(persistent_id) is not tuple
            or len(persistent_id) != 5
            or persistent_id[0] != "storage"
        ):
            raise TypeError("a persistent id is not that of a storage")
        _, kind, key, _, size = persistent_id
        if type(kind) is not Name or kind.name not in STORAGES or type(key) is not str:
            raise TypeError("a storage is of no known kind")
        if len(key) > MOST_CHARACTERS:
            raise Refused(f"the key of a storage, {short(key)}, is too long; torch writes numbers")
        self.stack.append(Storage(key, STORAGES[kind.name], *sizes((size,))))

    def _REDUCE(self) -> None:
        function, arguments = self._top(2)
        del self.stack[-2:]
        known = type(function) is Name and function.name in CALLS
        if not known or type(arguments) is not tuple:
            raise TypeError("it calls what is no function")
        if function.name == "collections.OrderedDict":
            self.budget -= sum(len(pairs) for pairs in arguments[:1] if type(pairs) is list)
            if self.budget < 0:
                raise Refused(
                    "its pickle makes more of its lists than they hold; it was not loaded"
                )
        self.stack.append(called(function.name, arguments))

    def _BUILD(self) -> None:
        # A state dict's _metadata: the versions of torch's layers, not needed here.
        state = self.stack.pop()
        if type(self.stack[-1]) is not dict or type(state) is not dict:
            raise Refused(
                "its pickle sets the attributes of an object (BUILD), which weights have no use"
                " for; nothing was executed"
            )


def _refuse(name: str) -> NoReturn:
    raise Refused(
        f"its pickle asks for {short(name, 100)}, which is not among what weights consist of; it"
        " was not imported, and nothing was executed. Save the weights alone:"
        " torch.save(model.state_dict(), file)"
    )
