"""An update of nothing is nothing: trees without leaves, labels and groups that no leaf has."""

from __future__ import annotations

import zlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import Case
from laws import assert_close, avals, extra
from shares import in_share
from zoo import CASES

import fnopt

# One case of every public transform that stands for an optimizer or a part of one.
ONCE = list({(case.home.__name__, case.name): case for case in reversed(CASES)}.values())
JOINT = ["prodigy", "dog", "dowg", "momo", "momo_adam", "dadapt_sgd", "dadapt_adamw", "dadapt_lion"]


def needed(case: Case) -> dict[str, Any]:
    return extra(case, jnp.ones(()), loss=lambda params: jnp.ones(()))


def assert_sound(tree: Any) -> None:
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        if jnp.issubdtype(jnp.result_type(leaf), jnp.floating):
            assert not np.any(np.isnan(leaf)), jax.tree_util.keystr(path)


# A part on its own is empty as in the optimizer made of it.
PARTS = [
    pytest.param(
        case,
        id=case.id,
        marks=pytest.mark.slow
        if case.name.startswith("scale_by_") or not in_share(case.name, 2)
        else (),
    )
    for case in ONCE
]


@pytest.mark.parametrize("case", PARTS)
def test_an_update_of_nothing_is_nothing(case: Case):
    tx, given = case.make(), needed(case)
    examples = case.name in ("dpsgd", "differentially_private_aggregate")
    trees = [{}, [], (None,), {"a": None, "b": [(), {}]}]
    for nothing in trees if examples else [*trees, {"a": jnp.zeros((0, 3))}]:
        given |= {"grad": nothing} if "grad" in given else {}
        state = first = tx.init(nothing)
        for _ in range(2):
            updates, state = tx.update(nothing, state, nothing, **given)
            assert_close(updates, nothing)
        assert avals(state) == avals(first)
        assert_sound(state)


HOSTS = ["partition", "masked", "groups"]
HOSTED = [
    # In make test every case in one host, those that are formulas on all leaves in each.
    pytest.param(case, host, id=f"{case.id}-{host}", marks=() if often else pytest.mark.slow)
    for case in ONCE
    for i, host in enumerate(HOSTS)
    for often in [case.name in JOINT or zlib.crc32(case.id.encode()) % len(HOSTS) == i]
]


@pytest.mark.parametrize(("case", "host"), HOSTED)
def test_a_label_that_no_leaf_has_has_no_part_in_an_update(case: Case, host: str):
    """The other leaves go as without it."""
    tx, given = case.make(), needed(case)
    params = {"w": jnp.ones((2, 3)), "b": [jnp.full(3, 2.0), None]}
    other = fnopt.sgd(0.5)
    if host == "partition":
        whole = fnopt.partition({"rest": other, "nobody": tx}, "rest")
    elif host == "masked":
        whole = fnopt.chain(fnopt.masked(tx, {"w": False, "b": False}), other)
    else:  # of a group it is the part that is empty
        none = fnopt.partition({"rest": fnopt.sgd(0.5), "nobody": tx}, lambda tree: "rest")
        whole = fnopt.groups(("b/*", none), ("*", {}), base=other)
    state = first = whole.init(params)
    given |= {"grad": params} if "grad" in given else {}
    for _ in range(2):
        updates, state = whole.update(params, state, params, **given)
        assert_close(updates, jax.tree.map(lambda x: -0.5 * x, params))
    assert avals(state) == avals(first)
    assert_sound(state)


@pytest.mark.parametrize("name", [*JOINT, "lamb", "adamw", "schedule_free_adamw"])
def test_a_method_of_all_leaves_may_be_wrapped_and_have_none(name: str):
    make = getattr(fnopt, name)
    inner = make(1e-2) if make._fields[0] == "learning_rate" else make()
    value_fn = lambda params: sum(map(jnp.sum, jax.tree.leaves(params)), jnp.zeros(()))  # noqa: E731
    given = {"value": jnp.ones(()), "value_fn": value_fn, "grad_fn": jax.grad(value_fn)}
    ascent = fnopt.chain(fnopt.normalize(), fnopt.sgd(0.1))
    for tx in (
        fnopt.chain(fnopt.clip_by_global_norm(1.0), inner),
        fnopt.lookahead(inner, 2, 0.5),
        fnopt.sam(inner, ascent, opaque_mode=True),
        fnopt.sam(inner, ascent),
        fnopt.MultiSteps(inner, 2),
        fnopt.kahan(inner),
        fnopt.cautious(inner),
        fnopt.mechanize(inner),
        fnopt.apply_if_finite(inner, 3),
        fnopt.schedule_free(inner, 0.1),
        fnopt.flatten(inner),
        fnopt.split_real_and_imaginary(inner),
        fnopt.conditionally_mask(inner, lambda count: count % 2 == 0),
        fnopt.chain(inner, fnopt.apply_every(2), fnopt.ema(0.5)),
    ):
        for nothing in ({}, [None]):
            state = first = tx.init(nothing)
            for _ in range(3):
                updates, state = tx.update(nothing, state, nothing, **given)
                assert_close(updates, nothing)
            assert avals(state) == avals(first), tx
            assert_sound(state)
