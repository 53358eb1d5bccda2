"""optax's own tests, as it ships them, with fnopt's functions in the place of optax's."""

from __future__ import annotations

import importlib
import re
import types
import unittest
from collections.abc import Iterator
from typing import Any

import pytest
from shares import in_share

for name in ("absl", "scipy", "sklearn"):
    pytest.importorskip(name, reason=f"optax's tests import {name}")

from optax._src import base  # noqa: E402
from optax.schedules import _join  # noqa: E402

import fnopt  # noqa: E402

SUITES = [
    "optax._src.alias_test",
    "optax._src.combine_test",
    "optax._src.factorized_test",
    "optax._src.float64_test",
    "optax._src.lookahead_test",
    "optax._src.transform_test",
    "optax.contrib._common_test",
    "optax.contrib._complex_valued_test",
    "optax.contrib._galore_test",
    "optax.contrib._muon_test",
    "optax.contrib._mechanic_test",
    "optax.contrib._privacy_test",
    "optax.contrib._reduce_on_plateau_test",
    "optax.contrib._sam_test",
    "optax.contrib._schedule_free_test",
    "optax.schedules._inject_test",
    "optax.schedules._join_test",
    "optax.schedules._schedule_test",
    "optax.transforms._accumulation_test",
    "optax.transforms._adding_test",
    "optax.transforms._clipping_test",
    "optax.transforms._combining_test",
    "optax.transforms._conditionality_test",
    "optax.transforms._constraining_test",
    "optax.transforms._freezing_test",
    "optax.transforms._layouts_test",
    "optax.transforms._masking_test",
    "optax.transforms._monitoring_test",
]

LATER = {
    "lbfgs": "comes with the curvature methods",
}
"""Optimizers of optax that are left to other families."""

_INTEGERS = "it updates integers, which fnopt refuses by their path"
_MESSAGE = "it expects an older jax's message, and fails with optax's own function too"
_PLATEAU = "optax's patience is one less, and it calls a metric in the cooldown a bad one"
EXCEPTIONS: dict[str, str] = {
    r"ExtraArgsTest\.test_extra_args(_positional_params)?$": _INTEGERS,
    "test_inject_hyperparams_starts_with_step_count_zero": _INTEGERS,
    "_adding_test.AddingTest.test_none_argument": "fnopt refuses gradients of another structure"
    " than the parameters, a None in the place of an array too",
    "test_learning_rate_not_reduced_after_end_scale_is_reached": _PLATEAU,
    "test_learning_rate_reduced_after_cooldown_period_is_over": _PLATEAU,
    "float64_test.*_fromage": "optax's fromage, which the test holds, decays by a negative number",
    "transform_test.*test_centralize_[23]d": "fnopt's units are on the last axis, as in Flax;"
    " centralize('first') is optax's",
    "transform_test.*test_lion_invalid_mode": "fnopt refuses it when it is made, not in update",
    "transform_test.*test_scale_by_polyak_l1_norm": "it gives gradients of another structure, which"
    " fnopt refuses before it misses the value",
    "_clipping_test.*test_clip_by_block_rms": "it wants 1 to 7 places, and optax's own fails",
    "FreezeTest.test_bad_structure_raises": _MESSAGE,
    "SelectiveTransformTest.test_selective_bad_structure": _MESSAGE,
    "_muon_test.MuonTest.test_dim_nums_combinations": "it finds mu by positions in optax's state",
    "_galore_test.GaLoreTest.test_mu_dtype_controls_moment_dtype": "fnopt keeps squares in float32",
}
"""Tests that cannot pass, by a pattern of their name, each with its reason; they must fail."""


def shared(module: Any) -> dict[str, Any]:
    """What fnopt has by a name that a module of optax has too, and calls."""
    return {
        name: thing
        for name, thing in vars(fnopt).items()
        if not name.startswith("_")
        and not isinstance(thing, types.ModuleType)
        and callable(getattr(module, name, None))
        and getattr(module, name) is not thing
    }


def cases_of(suite: unittest.TestSuite) -> Iterator[unittest.TestCase]:
    for test in suite:
        yield from cases_of(test) if isinstance(test, unittest.TestSuite) else [test]


def optimizer_of(case: unittest.TestCase) -> str | None:
    """The optimizer that a parameterized test names."""
    named = re.search(r"opt_name='(\w+?)(_mom)?'", str(case))
    return named and named[1]


def name_of(case: unittest.TestCase) -> str:
    """Its module, class and method and the optimizer; other parameters print their addresses."""
    *_, module, kind, method = case.id().split()[0].split(".")
    wrapper = re.search(r"wrapper_name='(\w+)'", str(case))
    parts = [f"{module}.{kind}.{method}", optimizer_of(case), wrapper and wrapper[1]]
    return "-".join(part for part in parts if part)


# What costs most of all, and the zoo shows as well: draws against an oracle, dtypes, each clip.
LONG = re.compile(
    r"test_add_noise_has_correct_variance|test_multi_steps_mixed_precision|test_adaptive_grad_clip$"
    r"|test_hyperparam_dtypes_bf16"
)


def collected() -> Iterator[Any]:
    seen: set[str] = set()
    for suite in SUITES:
        module = importlib.import_module(suite)
        for case in cases_of(unittest.defaultTestLoader.loadTestsFromModule(module)):
            if optimizer_of(case) in LATER or type(case).__name__ == "LBFGSTest":
                continue
            name = name_of(case)
            # In make test one of each; methods differ by an index behind their name. That every
            # optimizer converges is a law of the zoo too.
            kind = re.sub(r"\d+(?=$|-)", "", name)
            converges = re.fullmatch(r".*\.test_optimiz(ation|ers)", kind.split("-")[0])
            later = kind in seen or converges or LONG.search(kind.split("-")[0])
            # Of Muon's, a few at the most are more than its laws in the zoo.
            later = later or "_muon_test.MuonTest.test_dim_nums" in name
            # Of what is run for each optimizer, a sixth of them show each.
            later = later or (optimizer_of(case) and not in_share(kind, 6))
            marks: list[Any] = [pytest.mark.slow] if later else []
            seen.add(kind)
            reasons = [why for pattern, why in EXCEPTIONS.items() if re.search(pattern, name)]
            marks += [pytest.mark.xfail(reason=why, strict=True) for why in reasons]
            yield pytest.param(module, case, id=name, marks=marks)


@pytest.fixture
def in_optaxs_place(monkeypatch):
    def put(module: Any) -> None:
        modules = [x for x in vars(module).values() if isinstance(x, types.ModuleType)]
        for used in modules:
            if used.__name__.startswith("optax") and used.__name__ != "optax.tree":
                for name, function in shared(used).items():
                    monkeypatch.setattr(used, name, function)
        monkeypatch.setattr(_join, "join_schedules", fnopt.join_schedules)
        # A test is left out by optax unless the learning rate is annotated as one that may be
        # scheduled; this is what fnopt's annotation reads.
        monkeypatch.setattr(base, "Schedule", "Rate")

    return put


@pytest.mark.beside_optax
@pytest.mark.filterwarnings("default")  # what optax's tests warn of is theirs
@pytest.mark.parametrize(("module", "case"), list(collected()))
def test_passes_optaxs(module, case, in_optaxs_place):
    in_optaxs_place(module)
    case.debug()


def test_every_optimizer_that_optax_tests_is_fnopts():
    for suite in ("optax._src.alias_test", "optax.contrib._common_test"):
        module = importlib.import_module(suite)
        tables = [rows for name, rows in vars(module).items() if name.endswith("_UNDER_TEST")]
        named = {row["opt_name"] for rows in tables for row in rows}
        named |= {row.get("wrapper_name") for rows in tables for row in rows} - {None}
        assert {name for name in named - set(LATER) if not hasattr(fnopt, name)} == set()
