"""fnopt.compat.torch.lr_scheduler against torch, live and as recorded, and as values."""

from __future__ import annotations

import json
import math
import pickle
import re
import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from oracles import record_torch_schedulers as oracle
from oracles.record_torch_schedulers import FUNCTIONS, RATE, SCHEDULERS, TRACED, UPDATES

import fnopt
from fnopt.compat.torch import lr_scheduler as ours
from fnopt.core import Schedule

SETTINGS = oracle.settings()
RECORDED = json.loads(oracle.FILE.read_text())
COUNTS = np.arange(UPDATES)
SCHEDULES = [name for name in SETTINGS if "ReduceLROnPlateau" not in name]
PLATEAUS = [name for name in SETTINGS if "ReduceLROnPlateau" in name]
BOTH_PRECISIONS = pytest.mark.parametrize("x64", [True, False], ids=["float64", "float32"])


def label(given: Any) -> str:
    """A name of a case that is the same in every process: functions have addresses."""
    return re.sub(r"<function (\S+) at \w+>", r"\1", str(given))[:60]


def made(setting: oracle.Setting, lr: Any = RATE) -> Any:
    """The schedule of a setting; tables only where they are needed."""
    arguments = dict(setting)
    name = arguments.pop("name")
    for key in ("lr_lambda", "scale_fn"):
        if key in arguments:
            if name == "MultiplicativeLR" or arguments[key] not in TRACED:
                arguments["steps"] = UPDATES
            arguments[key] = FUNCTIONS[arguments[key]]
    if "schedulers" in arguments:
        arguments["schedulers"] = [made(member, lr) for member in setting["schedulers"]]
        arguments["steps"] = UPDATES
    return getattr(ours, name)(lr, **arguments)


def optimizer_of_torch(**arguments: Any) -> Any:
    torch = pytest.importorskip("torch")
    return torch.optim.SGD([torch.zeros(1, requires_grad=True)], **{"lr": RATE} | arguments)


def live(setting: oracle.Setting, steps: int = 0) -> Any:
    """torch's scheduler, stepped so many times."""
    optimizer = optimizer_of_torch(momentum=0.9)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what torch warns of is torch's
        scheduler = oracle.of_torch(setting, optimizer)
        for _ in range(steps):
            optimizer.step()
            scheduler.step()
    return scheduler


def agree(schedule: Schedule, want: list[float], x64: bool) -> None:
    with jax.enable_x64(x64):
        got = np.asarray(schedule(COUNTS))
    assert got.dtype == (np.float64 if x64 else np.float32)
    np.testing.assert_allclose(got, want, rtol=0, atol=RATE * (1e-6 if x64 else 1e-5))


def agree_in_all(name: str, want: dict[str, list[float]], x64: bool) -> None:
    schedule = made(SETTINGS[name])
    agree(schedule, want["lr"], x64)
    if "momentum" in want:
        agree(schedule.momentum, want["momentum"], x64)


@BOTH_PRECISIONS
@pytest.mark.parametrize("name", SCHEDULES)
def test_the_rates_are_those_recorded_of_torch(name, x64):
    agree_in_all(name, RECORDED[name], x64)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", SCHEDULES)
def test_the_record_is_what_live_torch_does(name):
    # Which the rates above are therefore as near to.
    pytest.importorskip("torch")
    want = oracle.record(SETTINGS[name])
    assert set(want) == set(RECORDED[name])
    for key, values in want.items():
        np.testing.assert_allclose(RECORDED[name][key], values, rtol=1e-9, atol=1e-15)


def test_the_record_has_every_setting():
    assert sorted(RECORDED) == sorted(SETTINGS)
    assert {setting["name"] for setting in SETTINGS.values()} == {*SCHEDULERS, "ReduceLROnPlateau"}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("x64", [False, True])
@pytest.mark.parametrize("name", PLATEAUS)
def test_a_plateau_is_that_recorded_of_torch(name, x64):
    setting = dict(SETTINGS[name])
    del setting["name"]
    metrics = oracle.metrics(setting)
    with jax.enable_x64(x64):
        rates = RATE * scales(ours.ReduceLROnPlateau(RATE, **setting), jnp.array(metrics))
    expected = [RECORDED[name]["lr"]]
    try:
        expected.append(oracle.record(SETTINGS[name])["lr"])
    except ImportError:
        pass
    for want in expected:
        np.testing.assert_allclose(rates, want, rtol=0, atol=RATE * 1e-6)
    assert min(RECORDED[name]["lr"]) < RATE


# Quirks that random settings do not meet.


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "setting",
    [
        {"name": "ConstantLR", "factor": 0.5, "total_iters": 0},
        {"name": "LinearLR", "start_factor": 0.5, "total_iters": 0},
        {"name": "LinearLR", "start_factor": 0.5, "end_factor": 0.0, "total_iters": 5},
        {"name": "PolynomialLR", "total_iters": 0},
        {"name": "PolynomialLR", "total_iters": 5, "power": 0.0},
        {"name": "MultiStepLR", "milestones": [9, 0, 9, 0, 3], "gamma": 0.5},
        {"name": "ExponentialLR", "gamma": 0.0},
        {"name": "StepLR", "step_size": 3, "gamma": 0.0},
        {"name": "CosineAnnealingLR", "T_max": 1, "eta_min": 0.1},
        {"name": "CosineAnnealingWarmRestarts", "T_0": 1, "T_mult": 1},
        {"name": "OneCycleLR", "max_lr": 0.5, "total_steps": 60, "pct_start": 0.0},
        {
            "name": "OneCycleLR",
            "max_lr": 0.5,
            "total_steps": 60,
            "pct_start": 0.01,
            "three_phase": True,
        },
        {"name": "OneCycleLR", "max_lr": 0.5, "total_steps": 60, "pct_start": 1.0},
        {
            "name": "OneCycleLR",
            "max_lr": 0.5,
            "total_steps": 60,
            "pct_start": 0.5,
            "three_phase": True,
        },
        {"name": "CyclicLR", "base_lr": 0.5, "max_lr": 0.1, "step_size_up": 3},
        {
            "name": "SequentialLR",  # a member that is never there, and one from the beginning
            "schedulers": [
                {"name": "StepLR", "step_size": 3},
                {"name": "LinearLR"},
                {"name": "ExponentialLR", "gamma": 0.9},
                {"name": "ConstantLR", "total_iters": 0},
                {"name": "MultiStepLR", "milestones": [0, 2]},
            ],
            "milestones": [0, 7, 7, 20],
        },
        {
            "name": "SequentialLR",
            "schedulers": [
                {"name": "StepLR", "step_size": 3},
                {"name": "ConstantLR", "total_iters": 0, "factor": 0.25},
            ],
            "milestones": [7],
        },
        {
            "name": "SequentialLR",  # begins in a factor that a member's constructor changed
            "schedulers": [{"name": "OneCycleLR", "max_lr": 0.4, "total_steps": 60}],
            "milestones": [],
        },
        {
            "name": "SequentialLR",
            "schedulers": [
                {
                    "name": "SequentialLR",
                    "schedulers": [
                        {
                            "name": "SequentialLR",
                            "schedulers": [
                                {"name": "PolynomialLR", "total_iters": 30},
                                {"name": "ExponentialLR", "gamma": 0.9},
                            ],
                            "milestones": [1],
                        },
                        {"name": "CosineAnnealingLR", "T_max": 9},
                    ],
                    "milestones": [12],
                },
                {"name": "CosineAnnealingWarmRestarts", "T_0": 4},
            ],
            "milestones": [40],
        },
    ],
    ids=lambda setting: setting["name"],
)
def test_odd_settings_are_those_of_live_torch(setting):
    pytest.importorskip("torch")
    want = oracle.record(setting)["lr"]
    agree(made(setting), want, x64=True)
    agree(made(setting), want, x64=False)


def test_after_its_end_a_cycle_stays_and_torch_raises():
    setting = {"name": "OneCycleLR", "max_lr": 0.5, "total_steps": 10}
    schedule = made(setting)
    np.testing.assert_array_equal(schedule(np.arange(9, 15)), np.full(6, schedule(9)))
    live(setting, 10)
    with pytest.raises(ValueError, match="Tried to step 11"):
        live(setting, 11)


def test_a_table_stays_at_its_last():
    for name in ("LambdaLR", "MultiplicativeLR"):
        schedule = getattr(ours, name)(RATE, FUNCTIONS["wave"], steps=5)
        assert len(set(np.asarray(schedule(np.arange(4, 9))).tolist())) == 1


def test_a_function_is_asked_for_counts_at_a_time_or_one_by_one():
    def branching(epoch):
        return jax.lax.cond(epoch < 5, lambda: 1.0, lambda: 0.5)

    schedule = ours.LambdaLR(1.0, branching)
    np.testing.assert_array_equal(schedule(COUNTS), np.where(COUNTS < 5, 1.0, 0.5))
    np.testing.assert_allclose(schedule(COUNTS), [schedule(k) for k in range(UPDATES)])


# Refusals.

BAD = [
    ("ConstantLR", {"factor": 1.5}, {"factor": 1.0}),
    ("ConstantLR", {"factor": -0.1}, {"factor": 0.1}),
    ("LinearLR", {"start_factor": 0.0}, {"start_factor": 1e-3}),
    ("LinearLR", {"start_factor": 1.1}, {"start_factor": 1.0}),
    ("LinearLR", {"end_factor": 1.1}, {"end_factor": 1.0}),
    ("LinearLR", {"end_factor": -0.1}, {"end_factor": 0.0}),
    ("CosineAnnealingWarmRestarts", {"T_0": 0}, {"T_0": 1}),
    ("CosineAnnealingWarmRestarts", {"T_0": 1.5}, {"T_0": 2}),
    ("CosineAnnealingWarmRestarts", {"T_0": 3, "T_mult": 0}, {"T_0": 3, "T_mult": 1}),
    ("CosineAnnealingWarmRestarts", {"T_0": 3, "T_mult": 1.5}, {"T_0": 3, "T_mult": 2}),
    ("CosineAnnealingWarmRestarts", {"T_0": 3, "eta_min": "0"}, {"T_0": 3, "eta_min": 0}),
    ("MultiplicativeLR", {"lr_lambda": 0.5}, {"lr_lambda": FUNCTIONS["wave"]}),
    (
        "MultiplicativeLR",
        {"lr_lambda": [FUNCTIONS["wave"]] * 2},
        {"lr_lambda": FUNCTIONS["inverse"]},
    ),
    ("LambdaLR", {"lr_lambda": [FUNCTIONS["wave"]] * 2}, {"lr_lambda": FUNCTIONS["inverse"]}),
    ("LambdaLR", {"lr_lambda": 0.5}, {"lr_lambda": FUNCTIONS["inverse"]}),
    (
        "CyclicLR",
        {"base_lr": 0.1, "max_lr": 1, "mode": "square"},
        {"base_lr": 0.1, "max_lr": 1, "mode": "square", "scale_fn": FUNCTIONS["inverse"]},
    ),
    ("OneCycleLR", {"max_lr": 1}, {"max_lr": 1, "total_steps": 9}),
    ("OneCycleLR", {"max_lr": 1, "epochs": 3}, {"max_lr": 1, "epochs": 3, "steps_per_epoch": 2}),
    (
        "OneCycleLR",
        {"max_lr": 1, "steps_per_epoch": 3},
        {"max_lr": 1, "total_steps": 9, "steps_per_epoch": 4},
    ),
    (
        "OneCycleLR",
        {"max_lr": 1, "epochs": 0, "steps_per_epoch": 2},
        {"max_lr": 1, "epochs": 1, "steps_per_epoch": 2},
    ),
    (
        "OneCycleLR",
        {"max_lr": 1, "epochs": 2, "steps_per_epoch": 2.5},
        {"max_lr": 1, "epochs": 2, "steps_per_epoch": 3},
    ),
    ("OneCycleLR", {"max_lr": 1, "total_steps": 0}, {"max_lr": 1, "total_steps": 1}),
    ("OneCycleLR", {"max_lr": 1, "total_steps": 9.5}, {"max_lr": 1, "total_steps": 9}),
    (
        "OneCycleLR",
        {"max_lr": 1, "total_steps": 9, "pct_start": 1.1},
        {"max_lr": 1, "total_steps": 9, "pct_start": 1.0},
    ),
    (
        "OneCycleLR",
        {"max_lr": 1, "total_steps": 9, "pct_start": -0.1},
        {"max_lr": 1, "total_steps": 9, "pct_start": 0.0},
    ),
    (
        "OneCycleLR",
        {"max_lr": 1, "total_steps": 9, "anneal_strategy": "cosine"},
        {"max_lr": 1, "total_steps": 9, "anneal_strategy": "cos"},
    ),
    ("ReduceLROnPlateau", {"factor": 1.0}, {"factor": 0.99}),
    ("ReduceLROnPlateau", {"mode": "least"}, {"mode": "max"}),
    ("ReduceLROnPlateau", {"threshold_mode": "relative"}, {"threshold_mode": "abs"}),
    ("ReduceLROnPlateau", {"min_lr": [0.1, 0.1]}, {"min_lr": 0.1}),
    ("StepLR", {"step_size": 3, "last": 1}, {"step_size": 3, "gamma": 1}),
    ("StepLR", {}, {"step_size": 1}),
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "bad", "good"), BAD, ids=label)
def test_what_torch_refuses_is_refused_and_what_it_takes_is_taken(name, bad, good):
    refusals = (ValueError, TypeError)
    tabulated = {"steps": 9} if name == "MultiplicativeLR" else {}
    with pytest.raises(refusals):
        getattr(ours, name)(RATE, **bad, **tabulated)
    getattr(ours, name)(RATE, **good, **tabulated)
    torch = pytest.importorskip("torch")
    theirs = getattr(torch.optim.lr_scheduler, name)
    with pytest.raises(refusals):
        theirs(optimizer_of_torch(momentum=0.9), **bad)
    theirs(optimizer_of_torch(momentum=0.9), **good)


STEP, PLATEAU = {"name": "StepLR", "step_size": 3}, {"name": "ReduceLROnPlateau"}
CHAIN = {"name": "ChainedScheduler", "schedulers": [STEP]}
BAD_CONTAINERS = [
    ({"name": "SequentialLR", "schedulers": [], "milestones": []}, "at least one"),
    ({"name": "SequentialLR", "schedulers": [STEP, STEP], "milestones": []}, "need 1 milestone"),
    ({"name": "SequentialLR", "schedulers": [STEP, STEP], "milestones": [3, 5]}, "got 2"),
    ({"name": "SequentialLR", "schedulers": [STEP, PLATEAU], "milestones": [3]}, "a metric"),
    ({"name": "SequentialLR", "schedulers": [STEP, CHAIN], "milestones": [3]}, "the first only"),
    (
        {
            "name": "SequentialLR",
            "schedulers": [
                STEP,
                {"name": "SequentialLR", "schedulers": [STEP, STEP], "milestones": [3]},
            ],
            "milestones": [3],
        },
        "the first only",
    ),
    ({"name": "ChainedScheduler", "schedulers": []}, "at least one"),
    ({"name": "ChainedScheduler", "schedulers": [STEP, PLATEAU]}, "a metric"),
]


def parts(setting: oracle.Setting) -> Any:
    if setting == PLATEAU:
        return ours.ReduceLROnPlateau(RATE)
    if "schedulers" not in setting:
        return made(setting)
    container = getattr(ours, setting["name"])
    milestones = [setting["milestones"]] if "milestones" in setting else []
    members = [parts(member) for member in setting["schedulers"]]
    return container(RATE, members, *milestones, steps=UPDATES)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("setting", "says"), BAD_CONTAINERS, ids=label)
def test_what_torch_does_not_put_together_is_refused(setting, says):
    with pytest.raises((ValueError, TypeError), match=says):
        parts(setting)
    pytest.importorskip("torch")
    # torch raises only at the milestone where it cannot restart a container.
    with pytest.raises((ValueError, TypeError, NotImplementedError)):
        live(setting, 5)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: ours.StepLR(-1.0, 3), r"StepLR: lr must lie in \[0, inf\), got -1"),
        (lambda: ours.StepLR(0.1, 0), r"StepLR: step_size must lie in \[1, inf\), got 0"),
        (lambda: ours.MultiStepLR(0.1, [3, -1]), "MultiStepLR: milestones: must be whole numbers"),
        (
            lambda: ours.LinearLR(0.1, total_iters=4.5),
            "total_iters must be a whole number",
        ),
        (
            lambda: ours.SequentialLR(0.1, [ours.StepLR(0.1, 3), ours.StepLR(0.1, 3)], [4.5]),
            "SequentialLR: milestones: must be whole numbers.*got .4.5.",
        ),
        (
            lambda: ours.SequentialLR(0.1, [ours.StepLR(0.1, 3)] * 3, [5, 4]),
            "SequentialLR: milestones must not fall",
        ),
        (lambda: ours.LambdaLR(0.1, FUNCTIONS["wave"]), r"LambdaLR: lr_lambda cannot.*give steps="),
        (lambda: ours.LambdaLR(0.1, FUNCTIONS["wave"], 0), "steps must be at least 1, got 0"),
        (
            lambda: ours.CyclicLR(0.1, 0.1, 1.0, scale_fn=FUNCTIONS["wave"]),
            "CyclicLR: scale_fn cannot be traced.*give steps=",
        ),
        (
            lambda: ours.OneCycleLR(0.1, 1.0, 9, pct_start=0.6, three_phase=True),
            "OneCycleLR: pct_start must be at most 0.5 for three phases.*got 0.6",
        ),
        (lambda: ours.OneCycleLR(0.1, 1.0, 9.5), "total_steps must be a whole number in.*got 9.5"),
        (
            lambda: ours.ChainedScheduler(0.1, [ours.CosineAnnealingLR(0.1, 9)]),
            "ChainedScheduler: CosineAnnealingLR does not just multiply the rate.*give steps=",
        ),
        (
            lambda: ours.SequentialLR(0.1, [ours.OneCycleLR(0.1, 1, 9), ours.StepLR(0.1, 3)], [5]),
            "SequentialLR: a OneCycleLR is among others.*give steps=",
        ),
        (
            lambda: ours.ChainedScheduler(0.1, [ours.StepLR(0.2, 9)]),
            r"schedulers\[0\] has lr=0.2, but in torch all.*lr=0.1: give both the same",
        ),
        (
            lambda: ours.SequentialLR(0.1, [fnopt.linear_schedule(1, 0, 3)], []),
            "schedulers: must be schedules of.*joined by fnopt.join_schedules",
        ),
        (
            lambda: jax.jit(
                lambda lr: ours.ChainedScheduler(lr, [ours.CosineAnnealingLR(lr, 9)], 9)(1)
            )(0.1),
            "ChainedScheduler: its numbers must be known.*make it outside of jit",
        ),
    ],
    ids=label,
)
def test_refusals_name_the_cure(make, says):
    with pytest.raises((ValueError, TypeError), match=says):
        make()


# Values.


def of_each() -> dict[str, Any]:
    return {name: made(SETTINGS[f"{name} 0"]) for name in SCHEDULERS}


@pytest.mark.parametrize("name", [*SCHEDULERS, "any chain", "nested SequentialLR"])
def test_is_a_value(name):
    schedule, again = (made(SETTINGS[f"{name} 0"]) for _ in range(2))
    assert schedule == again == pickle.loads(pickle.dumps(schedule)) == schedule.replace()
    assert hash(schedule) == hash(again)
    assert made(SETTINGS[f"{name} 0"], lr=0.2) != schedule
    assert "table" not in repr(schedule)
    names = {name: getattr(ours, name) for name in SCHEDULERS}
    functions = {name: function for name, function in FUNCTIONS.items()}
    assert eval(repr(schedule), names | functions) == schedule
    traces = []

    @jax.jit
    def rate(schedule, count):
        traces.append(count)
        return schedule(count)

    for lr in (0.1, 0.2, 0.3):
        one = made(SETTINGS[f"{name} 0"], lr=lr)
        np.testing.assert_allclose(rate(one, 7), one(7), rtol=1e-5)
    assert len(traces) == 1


def test_prints_as_it_is_written():
    assert repr(ours.StepLR(0.1, 30)) == "StepLR(lr=0.1, step_size=30.0, gamma=0.1)"
    assert repr(ours.LambdaLR(0.1, FUNCTIONS["wave"], 9)) == (
        "LambdaLR(lr=0.1, lr_lambda=wave, steps=9)"
    )


@pytest.mark.parametrize("name", SCHEDULERS)
def test_several_are_each_of_them(name):
    several = [made(SETTINGS[f"{name} 0"], lr=lr) for lr in (0.1, 0.2)]
    batch = jax.tree.map(lambda *x: jnp.stack(list(map(jnp.asarray, x))), *several)
    got = jax.jit(jax.vmap(lambda schedule: schedule(COUNTS)))(batch)
    np.testing.assert_allclose(got, [one(COUNTS) for one in several], rtol=1e-5, atol=1e-6)


def test_a_table_can_be_made_of_known_numbers_while_tracing():
    setting = SETTINGS["any chain 0"]
    got = jax.jit(lambda counts: made(setting)(counts))(COUNTS)
    np.testing.assert_allclose(got, made(setting)(COUNTS), rtol=1e-6)


def test_several_factors_are_each_of_them():
    gammas = jnp.array([0.3, 0.5, 0.9])

    def rates(gamma):
        chained = ours.ChainedScheduler(
            RATE, [ours.ExponentialLR(RATE, gamma), ours.StepLR(RATE, 4, gamma)]
        )
        later = [ours.LinearLR(RATE), ours.MultiStepLR(RATE, [9, 12], gamma)]
        return chained(COUNTS) + ours.SequentialLR(RATE, later, [8])(COUNTS)

    one = jax.jit(rates)
    got = jax.jit(jax.vmap(rates))(gammas)
    np.testing.assert_allclose(got, [one(gamma) for gamma in gammas], rtol=1e-5)


@pytest.mark.parametrize("name", sorted(set(SCHEDULERS) - {"CyclicLR", "OneCycleLR"}))
def test_a_rate_is_proportional_to_lr(name):
    # What has another end than zero is proportional in its distance from it.
    setting = dict(SETTINGS[f"{name} 0"])
    setting |= {"eta_min": 0.0} if "eta_min" in setting else {}
    if name == "SequentialLR":
        setting |= {"schedulers": [STEP, {"name": "LinearLR"}], "milestones": [4]}
    schedule = made(setting)

    def rate(schedule):
        return schedule(13)

    value, grads = jax.jit(jax.value_and_grad(rate))(schedule)
    lrs = [grads.lr, *(member.lr for member in getattr(grads, "schedulers", ()))]
    np.testing.assert_allclose(sum(lrs), value / RATE, rtol=1e-5)
    assert value != 0


def test_gradients_reach_the_lengths():
    grads = jax.grad(lambda schedule: schedule(4))(ours.CosineAnnealingLR(1.0, 10))
    np.testing.assert_allclose(
        grads.T_max, 0.5 * math.pi * 0.4 / 10 * math.sin(0.4 * math.pi), 1e-5
    )
    grads = jax.grad(lambda schedule: schedule(4))(ours.OneCycleLR(0.1, 1.0, 20))
    assert grads.max_lr != 0 and grads.total_steps != 0 and grads.lr == 0


def test_another_rate_of_a_container_is_that_of_its_members():
    for name in ("SequentialLR", "nested SequentialLR", "ChainedScheduler", "any chain"):
        setting = SETTINGS[f"{name} 0"]
        assert made(setting).replace(lr=0.2) == made(setting, lr=0.2)


def test_without_a_cycled_momentum_there_is_none():
    assert ours.OneCycleLR(0.1, 1.0, 9, cycle_momentum=False).momentum is None
    assert ours.CyclicLR(0.1, 0.1, 1.0, cycle_momentum=False).momentum is None
    schedule = ours.OneCycleLR(0.1, 1.0, 20)
    tx = fnopt.sgd(schedule, momentum=schedule.momentum)
    told = fnopt.hyperparameters(tx, tx.init(jnp.zeros(3)))
    np.testing.assert_allclose(told["learning_rate"], 0.04, rtol=1e-6)


# Reading a live scheduler.


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("stepped", [0, 10])
@pytest.mark.parametrize("name", [name for name in SCHEDULES if name.endswith("0")])
def test_a_live_scheduler_is_read(name, stepped):
    pytest.importorskip("torch")
    schedule = ours.of_torch(live(SETTINGS[name], stepped), steps=UPDATES)
    assert type(schedule).__name__ == SETTINGS[name]["name"]
    agree(schedule, RECORDED[name]["lr"], x64=True)
    if "momentum" in RECORDED[name]:
        agree(schedule.momentum, RECORDED[name]["momentum"], x64=True)


@pytest.mark.filterwarnings("ignore")
def test_a_live_scheduler_is_read_by_groups():
    torch = pytest.importorskip("torch")
    theirs = torch.optim.lr_scheduler
    groups = [{"params": [torch.zeros(1, requires_grad=True)], "lr": lr} for lr in (0.1, 0.2)]
    optimizer = torch.optim.SGD(groups, momentum=0.9)
    scheduler = theirs.LambdaLR(optimizer, [FUNCTIONS["wave"], FUNCTIONS["inverse"]])
    assert ours.of_torch(scheduler, 1) == ours.LambdaLR(0.2, FUNCTIONS["inverse"])
    assert ours.of_torch(scheduler, 0, steps=9) == ours.LambdaLR(0.1, FUNCTIONS["wave"], 9)
    with pytest.raises(ValueError, match="give steps="):
        ours.of_torch(scheduler, 0)
    optimizer = torch.optim.SGD(groups, momentum=0.9)
    scheduler = theirs.OneCycleLR(optimizer, [0.5, 0.6], 9, cycle_momentum=False)
    assert float(ours.of_torch(scheduler, 1)(0)) == pytest.approx(0.6 / 25)
    assert ours.of_torch(scheduler, 1).momentum is None


@pytest.mark.filterwarnings("ignore")
def test_what_is_not_known_of_a_live_scheduler_is_refused():
    torch = pytest.importorskip("torch")
    theirs = torch.optim.lr_scheduler

    class Halving(theirs.ExponentialLR):
        pass

    optimizer = optimizer_of_torch()
    with pytest.raises(TypeError, match="Halving is no scheduler"):
        ours.of_torch(Halving(optimizer, 0.5))
    with pytest.raises(TypeError, match="Halving is no scheduler"):
        ours.of_torch(theirs.ChainedScheduler([Halving(optimizer_of_torch(), 0.5)]))
    scheduler = live(STEP, 2)
    scheduler.optimizer.param_groups[0]["lr"] = 1.0
    with pytest.raises(ValueError, match="the optimizer's rate is 1, but after 2 updates"):
        ours.of_torch(scheduler)
    optimizer = optimizer_of_torch()
    members = [theirs.StepLR(optimizer, 3), theirs.ExponentialLR(optimizer, 0.9)]
    members.insert(1, theirs.OneCycleLR(optimizer, 0.5, 9, cycle_momentum=False))
    scheduler = theirs.SequentialLR(optimizer, members, [4, 6])
    with pytest.raises(ValueError, match="has the base rate"):
        ours.of_torch(scheduler, steps=9)


# ReduceLROnPlateau.


def scales(tx: Any, metrics: Any, state: Any = None) -> Any:
    """What a unit update is multiplied by at every step, in one loop."""

    def step(state, pair):
        update, state = tx.update(jnp.ones(()), state, metric=pair[0], evaluations=pair[1])
        return state, update

    state = tx.init(jnp.ones(())) if state is None else state
    rows = (metrics, state.evaluations + jnp.arange(1, len(metrics) + 1, dtype=jnp.int32))
    return jax.lax.scan(step, state, rows)[1]


def rates_of_torch(metrics: list[float], **arguments: Any) -> list[float]:
    torch = pytest.importorskip("torch")
    optimizer = optimizer_of_torch()
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, **arguments)
    rates = []
    for metric in metrics:
        scheduler.step(metric)
        rates.append(optimizer.param_groups[0]["lr"])
    return rates


LENGTH = 24
FIGURE = (
    st.sampled_from([-1.0, 0.0, 0.5, 0.95, 1.0, math.nan, math.inf, -math.inf])
    | st.integers(-4, 4).map(float)
    | st.floats(-2, 2, width=32, allow_subnormal=False)
)
ARGUMENTS = st.fixed_dictionaries(
    {
        "factor": st.floats(0.01, 0.99) | st.just(0.0),
        "patience": st.integers(0, 3),
        "threshold": st.sampled_from([0.0, 1e-4, 0.05, 0.5, 1.0, 2.0]),
        "cooldown": st.integers(0, 3),
        "min_lr": st.sampled_from([0.0, 0.1, 0.5]),
        "eps": st.sampled_from([0.0, 1e-8, 0.02]),
    }
)


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("threshold_mode", ["rel", "abs"])
def test_a_plateau_is_that_of_live_torch(mode, threshold_mode):
    pytest.importorskip("torch")
    modes = {"mode": mode, "threshold_mode": threshold_mode}
    compiled = jax.jit(lambda tx, metrics: scales(tx, metrics))

    @hypothesis_settings(max_examples=100, deadline=None, derandomize=True)
    @given(ARGUMENTS, st.lists(FIGURE, min_size=LENGTH, max_size=LENGTH))
    def check(arguments, metrics):
        want = rates_of_torch(metrics, **arguments, **modes)
        tx = ours.ReduceLROnPlateau(RATE, **arguments, **modes)
        # In double precision the same comparisons are made of the same numbers.
        got = RATE * compiled(tx, np.array(metrics))
        np.testing.assert_allclose(got, want, rtol=1e-12)

    with jax.enable_x64(True):
        check()
    assert compiled._cache_size() == 1


def test_a_plateau_watches_the_loss_or_evaluations():
    tx = ours.ReduceLROnPlateau(RATE, factor=0.5, patience=0, monitor="value")
    state = tx.init(jnp.ones(()))
    with pytest.raises(ValueError, match=r"ReduceLROnPlateau watches the loss.*value=loss"):
        tx.update(jnp.ones(()), state)
    for _ in range(2):
        update, state = tx.update(jnp.ones(()), state, value=1.0)
    assert float(update) == 0.5
    tx = ours.ReduceLROnPlateau(RATE, factor=0.5, patience=0)
    got, state = [], tx.init(jnp.ones(()))
    for evaluations in (0, 1, 1, 2, 2, 2, 5):
        update, state = tx.update(jnp.ones(()), state, metric=1.0, evaluations=evaluations)
        got.append(float(update))
    assert got == [1, 1, 1, 0.5, 0.5, 0.5, 0.25]
    told = fnopt.hyperparameters(fnopt.chain(fnopt.sgd(RATE), tx), (optax_state(tx), state))
    np.testing.assert_allclose(told["learning_rate"], RATE * 0.25, rtol=1e-6)


def optax_state(tx: Any) -> Any:
    return fnopt.chain(fnopt.sgd(RATE), tx).init(jnp.ones(()))[0]


def test_several_plateaus_are_each_of_them():
    several = [ours.ReduceLROnPlateau(RATE, factor=f, patience=p) for f, p in ((0.5, 0), (0.1, 2))]
    batch = jax.tree.map(lambda *x: jnp.stack(list(map(jnp.asarray, x))), *several)
    metrics = jnp.array([3.0, 2.0, 2.0, 2.5, 1.9, 1.9, 1.9, 1.9])
    got = jax.vmap(scales, in_axes=(0, None))(batch, metrics)
    np.testing.assert_allclose(got, [scales(tx, metrics) for tx in several], rtol=1e-6)
    assert len(set(map(tuple, got.tolist()))) == 2


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("stepped", [0, 10])
def test_a_live_plateau_is_read_with_its_state(stepped):
    torch = pytest.importorskip("torch")
    setting = dict(SETTINGS["ReduceLROnPlateau 0"])
    del setting["name"]
    optimizer = optimizer_of_torch()
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, **setting)
    metrics = oracle.metrics(setting)
    for metric in metrics[:stepped]:
        scheduler.step(metric)
    tx, state = ours.of_torch(scheduler)
    assert int(state.evaluations) == 0  # a run counts its own
    got = float(tx.lr) * scales(tx, jnp.array(metrics[stepped:]), state)
    np.testing.assert_allclose(got, RECORDED["ReduceLROnPlateau 0"]["lr"][stepped:], rtol=1e-5)


def test_a_plateau_is_a_value():
    tx = ours.ReduceLROnPlateau(RATE, "max", patience=2, monitor="value")
    again = pickle.loads(pickle.dumps(tx))
    assert tx == again == eval(repr(tx), {"ReduceLROnPlateau": ours.ReduceLROnPlateau})
    assert hash(tx) == hash(again) and tx != tx.replace(patience=3)
