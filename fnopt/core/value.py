"""What a value is: a frozen dataclass that is a pytree of its numbers."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import sys
import typing
from typing import Any

import jax
import numpy as np
from jax.core import Tracer

from fnopt.core.arguments import call_mistake
from fnopt.core.checks import brief
from fnopt.core.fields import Field
from fnopt.core.tracebacks import hides_frames


@typing.dataclass_transform(frozen_default=True)
class Value:
    """A frozen dataclass that is a pytree: its numbers are leaves, the rest is structure.

    A value (a transform or a schedule) is created by calling its class, whose name is therefore a
    function's name: ``adam(1e-3)`` is an ``adam`` and prints as one. Arguments are
    checked and converted in that call alone: a value that is unflattened may hold gradients,
    axis numbers or tracers where its numbers were.

    Equal means the same structure and the same concrete leaves; the hash is the structure's.
    """

    __slots__ = ()  # a transform has its __dict__ from optax's class

    _specs: typing.ClassVar[dict[str, Field]] = {}
    _fields: typing.ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        own_init = "__init__" in vars(cls)
        dataclasses.dataclass(frozen=True, eq=False, repr=False, init=not own_init)(cls)
        # What dataclasses refuses an assignment with does not say what to do instead.
        del cls.__setattr__, cls.__delattr__
        names = tuple(field.name for field in dataclasses.fields(cls))  # pyright: ignore
        hints = _hints(cls)
        cls._fields = names
        cls._specs = {name: _spec(cls, name, hints[name]) for name in names}
        signature = _readable(cls, hints)
        # Of a class with a __new__, inspect (hence optax.inject_hyperparams) would show that one.
        cls.__signature__ = signature.replace(parameters=list(signature.parameters.values())[1:])
        cls.__init__ = _checked(cls, cls.__init__)
        cls.__init__.__signature__ = signature
        _register(cls)

    def __new__(cls, *args: Any, **kwargs: Any) -> typing.Self:
        return _new(cls)

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):  # pyright: ignore[reportArgumentType]
            argument = f"{type(self).__name__}: {field.name}"
            value = getattr(self, field.name)
            value = self._specs[field.name].accept(argument, value, field.default)
            object.__setattr__(self, field.name, value)

    @hides_frames
    def replace(self, **changes: Any) -> typing.Self:
        """A copy with other arguments, which are checked as those of a call are."""
        return dataclasses.replace(self, **changes)  # pyright: ignore[reportArgumentType]

    @classmethod
    def undefined(cls) -> str:
        """What a subclass has yet to define before it can be called; empty if nothing."""
        return ""

    def __setattr__(self, name: str, value: Any) -> None:
        raise dataclasses.FrozenInstanceError(_refused(self, name, value))

    def __delattr__(self, name: str) -> None:
        raise dataclasses.FrozenInstanceError(f"{type(self).__name__} does not change")

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return False
        leaves, structure = jax.tree.flatten(self)
        leaves_of_other, structure_of_other = jax.tree.flatten(other)
        return structure == structure_of_other and all(map(_same, leaves, leaves_of_other))

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(jax.tree.structure(self))

    def __repr__(self) -> str:
        fields = ((f, getattr(self, f.name)) for f in dataclasses.fields(self))  # pyright: ignore
        # None is not shown where it is the default.
        shown = (
            f"{f.name}={_show(x)}" for f, x in fields if x is not None or f.default is not None
        )
        return f"{type(self).__name__}({', '.join(shown)})"


def make(cls: type[Value], fields: dict[str, Any]) -> Any:
    """A value with these fields, unchecked."""
    value = _new(cls)
    vars(value).update(fields)
    return value


def _new(cls: type[Value]) -> Any:
    # A transform is a tuple of two functions, which are its methods.
    return tuple.__new__(cls, (None, None)) if issubclass(cls, tuple) else object.__new__(cls)


def _refused(value: Value, name: str, new: Any) -> str:
    """Why an attribute cannot be assigned, and what to do instead."""
    kind = type(value).__name__
    if name in vars(value):
        return f"{kind} does not change; make another one: tx = tx.replace({name}={brief(new, 40)})"
    if name in value._fields:
        return f"{kind} needs no __init__: {name} is a field, and set by the call of the class"
    return (
        f"{kind} has no argument {name!r}. An argument is a field of the class, {name}: Scalar ="
        " 0.1, instead of an own __init__; what changes from step to step is kept in the state"
    )


def _checked(cls: type[Value], init: Any) -> Any:
    """An ``__init__`` that says what is wrong with the arguments, and what the class lacks."""

    @hides_frames
    @functools.wraps(init)
    def __init__(self: Value, *args: Any, **kwargs: Any) -> None:
        if type(self) is cls and cls.undefined():
            raise TypeError(f"{cls.__name__} must define {cls.undefined()}")
        try:
            init(self, *args, **kwargs)
        except TypeError as error:
            mistake = call_mistake(cls, args, kwargs)
            if mistake:
                raise TypeError(mistake) from None
            raise error

    return __init__


def _hints(cls: type) -> dict[str, Any]:
    """The annotations of a class; names that are local where it is defined are known, too."""
    try:
        return typing.get_type_hints(cls, include_extras=True)
    except NameError:
        frame = sys._getframe(1)
        while frame is not None and frame.f_code.co_name == "__init_subclass__":
            frame = frame.f_back
        names = {} if frame is None else {**frame.f_globals, **frame.f_locals}
        return typing.get_type_hints(cls, None, names, include_extras=True)


def _spec(cls: type, name: str, hint: Any) -> Field:
    for item in getattr(hint, "__metadata__", ()):
        if isinstance(item, Field):
            plain = item.static and item.convert is None and not item.choices
            return dataclasses.replace(item, declared=hint.__origin__) if plain else item
    shown = inspect.formatannotation(hint)
    raise TypeError(
        f"{cls.__name__}.{name} is annotated {shown}; annotate a number by its range, as Scalar,"
        f" Rate, Decay or another name of fnopt.core, and what is no number as Static[{shown}]"
    )


class _Shown(str):
    """A type as a signature shows it: without quotes."""

    def __repr__(self) -> str:
        return str(self)


def _readable(cls: type[Value], hints: dict[str, Any]) -> inspect.Signature:
    """The signature of ``__init__``, with the types that a user knows."""
    signature = inspect.signature(cls.__init__)
    parameters = []
    for name, parameter in signature.parameters.items():
        text, spec = parameter.annotation, cls._specs.get(name)
        if spec is not None:
            field = cls.__dataclass_fields__[name]  # pyright: ignore[reportAttributeAccessIssue]
            declared = getattr(hints[name], "__origin__", hints[name])
            text = spec.annotation(declared, field.default)
        if isinstance(text, str):
            parameter = parameter.replace(annotation=_Shown(text))
        parameters.append(parameter)
    return signature.replace(parameters=parameters, return_annotation=inspect.Signature.empty)


def _register(cls: type[Value]) -> None:
    leaves = tuple(name for name in cls._fields if not cls._specs[name].static)
    static = tuple(name for name in cls._fields if cls._specs[name].static)
    keys = tuple(jax.tree_util.GetAttrKey(name) for name in leaves)

    def flatten(value: Value) -> tuple[Any, Any]:
        fields = vars(value)
        return [fields[name] for name in leaves], tuple(fields[name] for name in static)

    def flatten_with_keys(value: Value) -> tuple[Any, Any]:
        children, structure = flatten(value)
        return list(zip(keys, children, strict=True)), structure

    def unflatten(structure: Any, children: Any) -> Value:
        return make(cls, dict(zip(leaves + static, (*children, *structure), strict=True)))

    jax.tree_util.register_pytree_with_keys(cls, flatten_with_keys, unflatten, flatten)


def _same(a: Any, b: Any) -> bool:
    if a is b:
        return True
    if isinstance(a, Tracer) or isinstance(b, Tracer):
        return False
    return np.array_equal(np.asarray(a), np.asarray(b))


def _show(x: Any) -> str:
    if type(x) is tuple:
        return f"({', '.join(map(_show, x))}{',' if len(x) == 1 else ''})"
    if isinstance(x, jax.Array) and not isinstance(x, Tracer) and x.ndim == 0:
        return f"{x.dtype}[]" if x.is_deleted() else f"{float(x):.6g}"
    if isinstance(x, (jax.Array, jax.ShapeDtypeStruct)) and not isinstance(x, Tracer):
        return f"{x.dtype}{list(x.shape)}"
    if callable(x) and not isinstance(x, Value):
        return getattr(x, "__qualname__", repr(x))
    return repr(x)
