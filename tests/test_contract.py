"""Every law for every public transform."""

from __future__ import annotations

import pytest
from cases import Case
from laws import LAWS
from shares import in_share
from zoo import CASES

import fnopt
import fnopt.compat.torch

# What a transform is made with, not one itself.
BASES = {
    "Transform", "Rule", "Joint", "Wrapper", "Composed", "MatrixRule", "MatrixOptimizer"
}  # fmt: skip


# What a flag may change. The other laws are about the machinery, which one case of an optimizer
# shows: of its other variants, and of the parts it is made of, make test-all shows them too.
OF_VARIANTS = {
    "agrees_with_optax",
    "agrees_with_oracle",
    "copies_are_equal",
    "init_is_abstract",
    "keeps_bfloat16",
    "keeps_complex64",
    "keeps_float32",
    "prints_as_itself",
    "refuses_a_foreign_state",
    "refuses_bad_numbers",
    "survives_flax_serialization",
    "takes_any_number",
}

# Loops that evaluate compile slowly: of a method of curvature these are shown, of others more.
OF_CURVATURE = OF_VARIANTS | {
    "compiles_once",
    "descends_rosenbrock",
    "is_sharded_as_parameters",
    "resumes_bit_for_bit_by_pickle",
    "rests_at_zero_gradient",
    "takes_any_tree",
    "vmap_equals_loop",
}

# What the core decides, nearly: a quarter of the methods show each of these, another quarter the
# next, and make test-all every one.
OF_THE_CORE = [
    "agrees_with_optax",  # as its oracle says already
    "compiles_once",
    "descends_matrix_bowl",
    "descends_noisy_quadratic",
    "descends_parabola",
    "descends_rosenbrock",
    "has_hypergradients",
    "ignores_unknown_arguments",
    "is_sharded_as_parameters",
    "jit_equals_eager",
    "lives_in_cond",
    "lives_inside_chain",
    "lives_inside_inject_hyperparams",
    "lives_inside_masked",
    "lives_inside_multi_steps",
    "lives_inside_nnx_optimizer",
    "lives_inside_train_state",
    "packs_parameters",
    "packs_slots",
    "rests_at_zero_gradient",
    "resumes_bit_for_bit_by_flax",
    "resumes_bit_for_bit_by_pickle",
    "takes_any_tree",
    "takes_frozen_leaves",
    "takes_schedules_of_fnopt",
    "takes_schedules_of_functions",
    "takes_schedules_of_optax",
    "vmap_equals_loop",
]


# torch's optimizers are made of the same parts; these show what they have of their own.
OF_TORCH = {"AdamW", "NAdam", "LBFGS", "Muon"}


# What the optimizer of the same name shows of the part that its direction is.
OF_THE_WHOLE = {"agrees_with_optax", "agrees_with_oracle"}


WHOLE = {case.name for case in CASES}


def _left_out(case: Case, name: str) -> bool:
    """Whether a law is left to make test-all: by names, so that a new row moves no other."""
    if name in OF_THE_WHOLE and case.name.removeprefix("scale_by_") in WHOLE - {case.name}:
        return True
    return name in OF_THE_CORE and not in_share(case.name, 4, OF_THE_CORE.index(name))


def _contract():
    seen: set[str] = set()
    for case in CASES:
        known = case.home is not fnopt and case.name not in OF_TORCH
        variant = case.name in seen or case.name.startswith("scale_by_") or known
        curved = case.factory.__module__.startswith("fnopt.curvature") or "layers" in case.needs
        seen.add(case.name)
        for name, law in LAWS.items():
            if name in case.not_applicable:
                continue
            marks = [pytest.mark.beside_optax] if law.beside_optax else []
            left = _left_out(case, name)
            left |= curved and name not in OF_CURVATURE
            if left or (variant and name not in OF_VARIANTS):
                marks.append(pytest.mark.slow)
            if name in case.xfail:
                marks.append(pytest.mark.xfail(reason=case.xfail[name], strict=True))
            yield pytest.param(case, name, id=f"{case.id}-{name}", marks=marks)


@pytest.mark.parametrize("case, name", list(_contract()))
def test_law(case: Case, name: str, record_property):
    record_property("method", case.id)
    record_property("law", name)
    LAWS[name].holds_for(case)


@pytest.mark.parametrize("home", [fnopt, fnopt.compat.torch], ids=lambda home: home.__name__)
def test_every_public_transform_has_a_row(home):
    public = {
        name
        for name, thing in vars(home).items()
        if isinstance(thing, type) and issubclass(thing, fnopt.Transform)
    }
    assert {case.name for case in CASES if case.home is home} == public - BASES


def test_laws_of_variants_are_laws():
    assert set(LAWS) > OF_VARIANTS | OF_CURVATURE | {*OF_THE_CORE, *OF_THE_WHOLE}


def test_cases_have_names_of_their_own():
    ids = [case.id for case in CASES]
    assert sorted(set(ids)) == sorted(ids)


def test_exceptions_name_laws_and_reasons():
    for case in CASES:
        exceptions = {**case.not_applicable, **case.xfail}
        assert set(exceptions) <= set(LAWS), case.id
        assert all(exceptions.values()), case.id
