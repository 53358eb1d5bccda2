"""Optuna's trials: each is the run of a sweep, pruned where the study says so."""

import re
import signal
import sys

import jax
import numpy as np
import pytest
from models import blobs, function_task

import fnopt
from fnopt.sweeps import (
    choice,
    integers,
    log_uniform,
    optuna_objective,
    optuna_sweep,
    sweep,
    uniform,
)
from fnopt.sweeps.keeper import Keeper

optuna = pytest.importorskip("optuna")

# Flax mixes dtypes and ranks freely, so these run in jax's default mode.
pytestmark = pytest.mark.beside_optax

DATA, VALIDATION = blobs(72), blobs(30, seed=1)
SMALL = dict(batch_size=24, validation_data=VALIDATION, epochs=3)
RANGES = {"learning_rate": log_uniform(1e-4, 1.0), "b1": uniform(0.8, 0.95), "weight_decay": 0.01}
PRUNED, COMPLETE, FAIL = (
    getattr(optuna.trial.TrialState, name) for name in ("PRUNED", "COMPLETE", "FAIL")
)


@pytest.fixture(autouse=True)
def quiet():
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    yield
    optuna.logging.set_verbosity(before)


LINEAR = function_task()


def study_of(direction="minimize", pruner=None, seed=0):
    sampler = optuna.samplers.RandomSampler(seed=seed)
    pruner = pruner or optuna.pruners.NopPruner()
    return optuna.create_study(direction=direction, sampler=sampler, pruner=pruner)


def trial_function(**changes):
    usual = dict(objective=LINEAR, make=fnopt.adamw, data=DATA, hyperparameters=RANGES, **SMALL)
    return optuna_objective(**{**usual, **changes})


def one_sweep(study, **changes):
    usual = dict(objective=LINEAR, make=fnopt.adamw, data=DATA, hyperparameters=RANGES, n=4)
    return optuna_sweep(study, **{**usual, **SMALL, **changes})


def whole_sweep(trials, **changes):
    entrants = [fnopt.adamw(**trial.params, weight_decay=0.01) for trial in trials]
    return sweep(LINEAR, entrants, DATA, **{**SMALL, **changes})


def test_trials_are_the_runs_of_a_sweep_and_one_program(caplog):
    task, study = function_task(), study_of()
    with jax.log_compiles(True), caplog.at_level("WARNING"):
        study.optimize(trial_function(objective=task, seeds=3), n_trials=4)
    text = "\n".join(record.getMessage() for record in caplog.records)
    assert len(re.findall(r"Finished XLA compilation of jit\(run_epoch\)", text)) == 1
    whole = whole_sweep(study.trials, seeds=3)
    for place, trial in enumerate(study.trials):
        assert set(trial.params) == {"learning_rate", "b1"}
        curves = np.array([run.curves["val_loss"] for run in whole.runs[3 * place : 3 * place + 3]])
        medians = np.median(curves, axis=0)
        assert trial.value == pytest.approx(float(np.median(curves.min(axis=1))), rel=1e-5)
        reported = trial.intermediate_values
        assert list(reported) == [1, 2, 3]
        np.testing.assert_allclose(list(reported.values()), medians, rtol=1e-5)
    assert study.best_value == pytest.approx(whole.best().median, rel=1e-5)


def test_the_study_prunes_a_trial():
    class AfterTheSecond(optuna.pruners.BasePruner):
        def prune(self, study, trial):
            return trial.last_step == 2

    study = study_of(pruner=AfterTheSecond())
    study.optimize(trial_function(), n_trials=1)
    (trial,) = study.trials
    assert trial.state == PRUNED and list(trial.intermediate_values) == [1, 2]
    whole = whole_sweep([trial])
    assert trial.value == pytest.approx(whole.runs[0].curves["val_loss"][1], rel=1e-5)


def test_a_trial_that_diverges_is_pruned():
    def make(rate):
        return fnopt.sgd(rate)

    study = study_of()
    for rate in (1e38, 0.1):
        study.enqueue_trial({"rate": rate})
    ranges = {"rate": log_uniform(1e-3, 2e38)}
    study.optimize(trial_function(make=make, hyperparameters=ranges), n_trials=2)
    assert [trial.state for trial in study.trials] == [PRUNED, COMPLETE]
    assert study.trials[0].intermediate_values == {}
    for rate in (1e38, 0.1):
        study.enqueue_trial({"rate": rate})
    result = one_sweep(study, make=make, hyperparameters=ranges, n=2)
    assert [run.diverged for run in result.runs] == [True, False]
    assert [trial.state for trial in study.trials[2:]] == [PRUNED, COMPLETE]
    assert study.trials[3].value == pytest.approx(study.trials[1].value, rel=1e-5)


def test_a_fixed_trial_and_choices_of_any_kind():
    schedules = fnopt.cosine_decay_schedule(0.1, 9), fnopt.exponential_decay(0.1, 3, 0.5)
    ranges = {"learning_rate": choice(*schedules), "nesterov": choice(True, False)}
    run = trial_function(make=fnopt.adam, hyperparameters=ranges)
    texts = [repr(schedule) for schedule in schedules]
    for place, schedule in enumerate(schedules):
        for nesterov in (True, False):
            fixed = {"learning_rate": texts[place], "nesterov": nesterov}
            value = run(optuna.trial.FixedTrial(fixed))
            alone = sweep(LINEAR, fnopt.adam(schedule, nesterov=nesterov), DATA, **SMALL)
            assert value == pytest.approx(alone.best().median, rel=1e-5)


def test_many_trials_are_one_sweep():
    study = study_of("maximize")
    result = one_sweep(study, seeds=3, monitor="val_accuracy")
    assert (result.programs, len(result.runs), len(study.trials)) == (1, 12, 4)
    for place, trial in enumerate(study.trials):
        runs = result.runs[3 * place : 3 * place + 3]
        curves = np.array([run.curves["val_accuracy"] for run in runs])
        assert (
            trial.state == COMPLETE and runs[0].entrant.hyperparameters["b1"] == trial.params["b1"]
        )
        assert trial.value == pytest.approx(np.median(curves.max(axis=1)))
        reported = trial.intermediate_values
        assert reported == pytest.approx(dict(enumerate(np.median(curves, axis=0), start=1)))
    assert study.best_value == result.best().median
    one_sweep(study, n=2, monitor="val_accuracy")
    assert len(study.trials) == 6
    rates = [trial.params["learning_rate"] for trial in study.trials]
    assert len(set(rates)) == 6


def test_a_sampler_learns_from_sweeps():
    sampler = optuna.samplers.TPESampler(seed=0, n_startup_trials=8, constant_liar=True)
    study = optuna.create_study(sampler=sampler)
    ranges = {"learning_rate": log_uniform(1e-6, 1.0)}
    for _ in range(3):
        one_sweep(study, hyperparameters=ranges, n=8, make=fnopt.sgd)
    rates = np.array([trial.params["learning_rate"] for trial in study.trials])
    assert np.median(np.log10(rates[16:])) > np.median(np.log10(rates[:8])) + 0.5


def test_trials_of_a_sweep_that_raises_have_failed(monkeypatch):
    study = study_of()

    def interrupted(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("fnopt.sweeps.trials.sweep", interrupted)
    with pytest.raises(KeyboardInterrupt):
        one_sweep(study)
    assert [trial.state for trial in study.trials] == [FAIL] * 4


@pytest.mark.parametrize("seeds", [1, 2])
def test_of_an_interrupted_sweep_whole_trials_alone_have_values(seeds, monkeypatch, caplog):
    """The first chunk is whole, the second ends after an epoch, and the third does not begin."""
    options = dict(seeds=seeds, n=12 // seeds, make=fnopt.sgd, same_order=True)
    options["hyperparameters"] = {"learning_rate": log_uniform(1e-4, 1e-2)}
    with caplog.at_level("INFO", "fnopt"):
        whole = one_sweep(study_of(), **options)
    need, unit = re.findall(r"all at once: about ([\d.]+) (\w+)", caplog.text)[-1]
    see, seen = Keeper.see, []

    def signalled(keeper, metrics):
        see(keeper, metrics)
        seen.append(len(metrics["loss"]))
        if len(seen) == 4:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Keeper, "see", signalled)
    study = study_of()
    result = one_sweep(study, memory=f"{0.5 * float(need)}{unit}", **options)
    assert result.interrupted and len(seen) == 4 and seen[0] + seen[3] < 12
    for place, trial in enumerate(study.trials):
        if (place + 1) * seeds <= seen[0]:
            records = whole.runs[place * seeds : (place + 1) * seeds]
            best = [np.min(record.curves["val_loss"]) for record in records]
            assert trial.state == COMPLETE and trial.value == pytest.approx(np.median(best))
        else:
            assert trial.state == FAIL and trial.value is None
    assert {trial.state for trial in study.trials} == {COMPLETE, FAIL}


def test_no_trial_stays_running_where_telling_raises(monkeypatch):
    study = study_of()

    def lost(*_):
        raise OSError("the storage is gone")

    monkeypatch.setattr("fnopt.sweeps.studies.score", lost)
    with pytest.raises(OSError, match="storage"):
        one_sweep(study)
    assert [trial.state for trial in study.trials] == [FAIL] * 4


def test_integers_are_suggested_as_integers():
    def make(steps, learning_rate=0.1):
        return fnopt.sgd(fnopt.cosine_decay_schedule(learning_rate, steps))

    study, ranges = study_of(), {"steps": integers(3, 5)}
    run = trial_function(make=make, hyperparameters=ranges)
    study.optimize(run, n_trials=2)
    one_sweep(study, make=make, hyperparameters=ranges)
    drawn = [trial.params["steps"] for trial in study.trials]
    assert all(type(x) is int and 3 <= x <= 5 for x in drawn) and len(set(drawn)) > 1
    ends = study.trials[0].distributions["steps"]
    assert (ends.low, ends.high) == (3, 5)


def test_a_trial_has_the_precision_of_its_runs():
    study, options = study_of(), dict(precision="bfloat16")
    study.optimize(trial_function(**options), n_trials=1)
    value = whole_sweep(study.trials, **options).best().median
    assert study.best_value == pytest.approx(value, rel=1e-5)
    assert study.best_value != pytest.approx(whole_sweep(study.trials).best().median, rel=1e-5)
    untouched = study_of()
    with pytest.raises(ValueError, match="bfloat15"):
        one_sweep(untouched, precision="bfloat15")
    assert untouched.trials == []


@pytest.mark.parametrize(
    "changes, error, words",
    [
        (dict(hyperparameters={"learning_rat": uniform(0, 1)}), TypeError,
         "adamw has no hyperparameter 'learning_rat'; did you mean 'learning_rate'"),
        (dict(hyperparameters={"learning_rate": [0.1, 1]}), TypeError, "choice(0.1, 1) draws"),
        (dict(hyperparameters={"learning_rate": 0.1}), ValueError, "nothing is drawn for adamw"),
        (dict(hyperparameters=[0.1]), TypeError, "must be a dict from names to distributions"),
        (dict(make="adamw"), TypeError, "make must be what returns an optimizer"),
        (dict(epochs=0), ValueError, "epochs must be at least 1"),
        (dict(monitor="val_los"), ValueError, "did you mean 'val_loss'"),
        (dict(data=iter([DATA])), TypeError, "data must be arrays in memory"),
        (dict(seeds=0), ValueError, "seeds, where it is a number, must be at least 1"),
    ],
)  # fmt: skip
def test_a_mistake_is_refused_before_a_trial(changes, error, words):
    with pytest.raises(error) as refusal:
        trial_function(**changes)
    assert words in str(refusal.value) and len(str(refusal.value)) <= 400
    assert str(refusal.value).startswith("optuna_objective: ")
    study = study_of()
    with pytest.raises(error) as refusal:
        one_sweep(study, **changes)
    assert words in str(refusal.value)
    assert str(refusal.value).startswith("optuna_sweep: ") and study.trials == []


def test_other_mistakes():
    with pytest.raises(ValueError, match=r"val_loss is better the smaller .* is maximize"):
        one_sweep(study_of("maximize"))
    study = study_of("maximize")
    with pytest.raises(ValueError, match=r"optuna.create_study\(direction='minimize'\) fits it"):
        study.optimize(trial_function(), n_trials=1)
    with pytest.raises(ValueError, match="n must be at least 1, got 0"):
        one_sweep(study_of(), n=0)
    with pytest.raises(TypeError, match="study must be a study"):
        one_sweep("study")
    assert study_of().trials == []


def test_without_optuna_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ImportError, match=r"optuna_objective needs Optuna: pip install 'fnopt\["):
        trial_function()
