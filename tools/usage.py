"""A line that makes each method, and a few lines in which an optimizer is used."""

from __future__ import annotations

import inspect
from typing import Any

import fnopt
from fnopt.registry import body

USUAL_RATE = 1e-3
WIDTH = 100
CALLS = {
    # Optimizers.
    "adam": "adam(1e-3)",
    "adamc": "adamc(fnopt.cosine_decay_schedule(1e-3, 1000), peak_value=1e-3, weight_decay=0.1)",
    "adamw": "adamw(1e-3, weight_decay=0.1)",
    "grafted": "grafted(fnopt.scale_by_shampoo(), fnopt.scale_by_adam())",
    "hyperball": "hyperball(fnopt.scale_by_adam(), 0.01, other=fnopt.adamw(1e-3))",
    "lbfgsb": "lbfgsb(lower=0.0)",
    "lion": "lion(1e-4, weight_decay=0.1)",
    "sgd": "sgd(0.1, momentum=0.9)",
    # Wrappers.
    "MultiSteps": "MultiSteps(fnopt.adamw(1e-3), every_k_schedule=4)",
    "apply_if_finite": "apply_if_finite(fnopt.adamw(1e-3), max_consecutive_errors=5)",
    "cautious": "cautious(fnopt.adamw(1e-3))",
    "conditionally_mask": ("conditionally_mask(fnopt.adamw(1e-3), lambda step: step % 2 == 0)"),
    "conditionally_transform": (
        "conditionally_transform(fnopt.clip(1.0), lambda step: step < 1000)"
    ),
    "ema_nesterov": "ema_nesterov(fnopt.adamw(1e-3))",
    "flatten": "flatten(fnopt.adamw(1e-3))",
    "gauss_newton_bartlett_estimator_diag_hessian": (
        'gauss_newton_bartlett_estimator_diag_hessian("normal")'
    ),
    "groups": 'groups(("*bias", {"weight_decay": 0.0}), ("*", {}), base=fnopt.adamw(1e-3))',
    "kahan": "kahan(fnopt.adamw(1e-3))",
    "lookahead": "lookahead(fnopt.sgd(0.1), sync_period=6, slow_step_size=0.5)",
    "masked": 'masked(fnopt.add_decayed_weights(0.1), mask="*kernel")',
    "mechanize": "mechanize(fnopt.sgd(1.0))",
    "named_chain": 'named_chain(("clip", fnopt.clip(1.0)), ("adam", fnopt.adam(1e-3)))',
    "chain": "chain(fnopt.clip_by_global_norm(1.0), fnopt.adamw(1e-3))",
    "outer_step": "outer_step(fnopt.adamw(1e-3), sync_period=30)",
    "packed": "packed(fnopt.adamw(1e-3))",
    "partition": (
        'partition({"body": fnopt.sgd(0.01), "head": fnopt.adam(1e-3)},'
        ' {"conv": "body", "dense": "head"})'
    ),
    "primal_averaging": "primal_averaging(fnopt.adamw(1e-3))",
    "sam": "sam(fnopt.adamw(1e-3), fnopt.chain(fnopt.normalize(), fnopt.sgd(0.05)))",
    "schedule_free": "schedule_free(fnopt.sgd(0.1), learning_rate=0.1)",
    "split_real_and_imaginary": "split_real_and_imaginary(fnopt.adam(1e-3))",
    # Parts.
    "add_cautious_weight_decay": "add_cautious_weight_decay(0.1)",
    "add_corrected_weight_decay": (
        "add_corrected_weight_decay(0.1, fnopt.cosine_decay_schedule(1e-3, 1000), peak_value=1e-3)"
    ),
    "adaptive_grad_clip": "adaptive_grad_clip(0.01)",
    "add_noise": "add_noise(eta=0.01, gamma=0.55)",
    "clip": "clip(1.0)",
    "clip_by_block_rms": "clip_by_block_rms(1.0)",
    "clip_by_global_norm": "clip_by_global_norm(1.0)",
    "differentially_private_aggregate": (
        "differentially_private_aggregate(l2_norm_clip=1.0, noise_multiplier=1.1, key=0)"
    ),
    "ema": "ema(0.9)",
    "measure_with_ema": "measure_with_ema(optax.tree.norm, decay=0.9)",
    "monitor": 'monitor({"gradient": optax.tree.norm})',
    "scale": "scale(-1e-3)",
    "scale_by_dog": 'scale_by_dog(("distance", 1e-6))',
    "scale_by_learning_rate": "scale_by_learning_rate(1e-3)",
    "scale_by_schedule": "scale_by_schedule(fnopt.linear_schedule(1.0, 0.0, 1000))",
    "scale_by_tree": 'scale_by_tree({"body": 0.1, "head": 1.0})',
    "snapshot": 'snapshot("gradient", lambda grads: grads)',
    "trace": "trace(0.9)",
    # Schedules.
    "add_schedules": (
        "add_schedules([fnopt.linear_schedule(0.1, 0.0, 1000), fnopt.constant_schedule(0.01)])"
    ),
    "ademamix_alpha_schedule": "ademamix_alpha_schedule(5.0, 1000)",
    "ademamix_b3_schedule": "ademamix_b3_schedule(0.9, 0.9999, 1000)",
    "by_epoch": "by_epoch(fnopt.step_decay(0.1, 0.5, every=10), steps_per_epoch=100)",
    "chebyshev_schedule": "chebyshev_schedule(1.0, 20.0, 32)",
    "constant_schedule": "constant_schedule(0.1)",
    "cosine_annealing_schedule": "cosine_annealing_schedule(0.1, 1000)",
    "cosine_decay_schedule": "cosine_decay_schedule(0.1, 1000)",
    "cosine_onecycle_schedule": "cosine_onecycle_schedule(1000, 0.1)",
    "cosine_warm_restarts": "cosine_warm_restarts(0.1, 100, 2)",
    "cyclic_schedule": "cyclic_schedule(0.001, 0.1, 100)",
    "exponential_decay": "exponential_decay(0.1, 100, 0.5)",
    "inverse_sqrt_schedule": "inverse_sqrt_schedule(0.0, 0.1, 100)",
    "inverse_time_decay": "inverse_time_decay(0.1, 100, 1.0)",
    "join_schedules": (
        "join_schedules([fnopt.linear_schedule(0.0, 0.1, 100),"
        " fnopt.cosine_decay_schedule(0.1, 900)], [100])"
    ),
    "linear_onecycle_schedule": "linear_onecycle_schedule(1000, 0.1)",
    "linear_schedule": "linear_schedule(0.1, 0.0, 1000)",
    "multiplicative_schedule": "multiplicative_schedule(0.1, lambda count: 0.99, 1000)",
    "multiply_schedules": (
        "multiply_schedules([fnopt.linear_schedule(0.0, 1.0, 100),"
        " fnopt.inverse_time_decay(0.1, 100, 1.0)])"
    ),
    "natural_exponential_decay": "natural_exponential_decay(0.1, 0.001)",
    "negate_schedule": "negate_schedule(fnopt.linear_schedule(0.1, 0.0, 1000))",
    "onecycle_schedule": "onecycle_schedule(0.004, 0.1, 0.0, 1000)",
    "piecewise_constant_schedule": "piecewise_constant_schedule(0.1, {300: 0.1, 600: 0.1})",
    "piecewise_interpolate_schedule": (
        'piecewise_interpolate_schedule("linear", 0.1, {300: 0.5, 600: 0.1})'
    ),
    "power_cool_schedule": "power_cool_schedule(0.1, 300, 700)",
    "polynomial_schedule": "polynomial_schedule(0.1, 0.0, 3, 1000)",
    "rex_schedule": "rex_schedule(0.1, 1000)",
    "sgdr_schedule": (
        'sgdr_schedule([{"init_value": 0.0, "peak_value": 0.1, "warmup_steps": 10,'
        ' "decay_steps": 100}])'
    ),
    "step_decay": "step_decay(0.1, 0.5, every=100)",
    "warmup_constant_schedule": "warmup_constant_schedule(0.0, 0.1, 100)",
    "warmup_cosine_decay_schedule": "warmup_cosine_decay_schedule(0.0, 0.1, 100, 1000)",
    "warmup_exponential_decay_schedule": (
        "warmup_exponential_decay_schedule(0.0, 0.1, 100, 100, 0.5)"
    ),
    "warmup_polynomial_decay_schedule": "warmup_polynomial_decay_schedule(0.0, 0.1, 100, 1000)",
    "wsd_schedule": "wsd_schedule(0.0, 0.1, 100, 700, 200)",
}
"""What makes a method where a learning rate alone does not, or says too little."""
STEPS = {
    "add_decayed_weights": (
        "fnopt.chain(fnopt.scale_by_adam(), {}, fnopt.scale_by_learning_rate(1e-3))"
    ),
    "add_cautious_weight_decay": (
        "fnopt.chain(fnopt.scale_by_adam(), {}, fnopt.scale_by_learning_rate(1e-3))"
    ),
    "add_corrected_weight_decay": (
        "fnopt.chain(fnopt.scale_by_adam(), {}, fnopt.scale_by_learning_rate(1e-3))"
    ),
    "apply_every": "fnopt.chain(fnopt.sgd(0.1), {})",
    "correct_by_mars": "fnopt.chain({}, fnopt.adamw(1e-3))",
    "ema": "fnopt.chain({}, fnopt.scale_by_learning_rate(0.1))",
    "gauss_newton_bartlett_estimator_diag_hessian": "{}",
    "hutchinson_estimator_diag_hessian": "{}",
    "identity": "{}",
    "keep_params_nonnegative": "fnopt.chain(fnopt.adam(1e-3), {})",
    "keep_norm": "fnopt.chain(fnopt.adam(1e-3), {})",
    "measure_with_ema": 'fnopt.monitor({{"mean norm": {}}})',
    "normalize_by_update_norm": (
        "fnopt.chain(fnopt.scale_by_adam(), {}, fnopt.scale_by_learning_rate(0.1))"
    ),
    "qk_clip": "fnopt.chain(fnopt.muon(0.02), {})",
    "reduce_on_plateau": "fnopt.chain(fnopt.adam(1e-3), {})",
    "scale": "fnopt.chain(fnopt.scale_by_adam(), {})",
    "scale_by_adabound": "fnopt.chain({}, fnopt.scale_by_learning_rate(1.0))",
    "scale_by_adadelta": "fnopt.chain({}, fnopt.scale_by_learning_rate(1.0))",
    "scale_by_cocob": "{}",
    "scale_by_dog": "fnopt.chain({}, fnopt.scale_by_learning_rate(1.0))",
    "scale_by_dowg": "fnopt.chain({}, fnopt.scale_by_learning_rate(1.0))",
    "scale_by_learning_rate": "fnopt.chain(fnopt.scale_by_adam(), {})",
    "scale_by_madgrad": "{}",
    "scale_by_param_block_norm": (
        "fnopt.chain(fnopt.scale_by_adam(), {}, fnopt.scale_by_learning_rate(1e-3))"
    ),
    "scale_by_param_block_rms": (
        "fnopt.chain(fnopt.scale_by_adam(), {}, fnopt.scale_by_learning_rate(1e-3))"
    ),
    "scale_by_polyak": "fnopt.chain({}, fnopt.scale_by_learning_rate(1.0))",
    "scale_by_rprop": "fnopt.chain({}, fnopt.scale(-1.0))",
    "scale_by_schedule": "fnopt.chain(fnopt.sgd(0.1), {})",
    "scale_to_param_norm": (
        "fnopt.chain(fnopt.scale_by_adam(), {}, fnopt.scale_by_learning_rate(0.01))"
    ),
    "scale_by_trust_ratio": (
        "fnopt.chain(fnopt.scale_by_adam(), {}, fnopt.scale_by_learning_rate(1e-3))"
    ),
    "set_to_zero": "{}",
    "trace": "fnopt.chain({}, fnopt.scale_by_learning_rate(0.1))",
}
"""How a part becomes a step where it stands neither before a learning rate nor before Adam."""
ARGUMENTS = {
    "momo": ", value=loss(w)",
    "momo_adam": ", value=loss(w)",
    "hutchinson_estimator_diag_hessian": ", value_fn=lambda w: jnp.sum(w**2)",
    "scale_by_newton": ", value_fn=lambda w: jnp.sum(w**2)",
    "scale_by_polyak": ", value=jnp.sum(w**2)",
    "scale_by_nonmonotone_linesearch": ", value_fn=lambda w: jnp.sum(w**2)",
    "scale_by_sophia": ", value_fn=lambda w: jnp.sum(w**2)",
    "adahessian": ", value_fn=loss",
    "gauss_newton_bartlett_estimator_diag_hessian": (
        ", evaluation=fnopt.core.Evaluation.of_outputs(lambda w: 3.0 * w, lambda z: jnp.sum(z**2))"
    ),
    "scale_by_adahessian": ", value_fn=lambda w: jnp.sum(w**2)",
    "scale_by_gauss_newton": (
        ", evaluation=fnopt.core.Evaluation.of_outputs(lambda w: 3.0 * w, lambda z: jnp.sum(z**2))"
    ),
    "scale_by_natural_gradient": (
        ", evaluation=fnopt.core.Evaluation.of_outputs(lambda w: 3.0 * w, lambda z: jnp.sum(z**2))"
    ),
    "sophia": ", value_fn=loss",
    "sophia_h": ", value_fn=loss",
}
"""Extra arguments of ``update``."""
PARAMS = {"split_real_and_imaginary": "jnp.array([1.0 + 2.0j, 3.0j])"}
"""Parameters where those of the examples do not suit."""


def made(name: str) -> str:
    """What makes a method, such as ``fnopt.adam(1e-3)``."""
    if name in CALLS:
        return f"fnopt.{CALLS[name]}"
    make = getattr(fnopt, name)
    rate = inspect.signature(make).parameters.get("learning_rate")
    values = dict(make.example)
    if rate and rate.default is rate.empty:
        values = {"learning_rate": make.usual_rate or USUAL_RATE, **values}
    return f"fnopt.{name}({', '.join(f'{key}={value!r}' for key, value in values.items())})"


def laid_out(line: str) -> str:
    """A call in as many lines as it needs, as ruff has them."""
    if len(line) <= WIDTH:
        return line
    head, _, inner = line[:-1].partition("(")
    if len(inner) + 4 <= WIDTH:
        return f"{head}(\n    {inner}\n)"
    arguments, depth = [""], 0
    for sign in inner:
        depth += (sign in "([{") - (sign in ")]}")
        if sign == "," and not depth:
            arguments.append("")
        else:
            arguments[-1] += sign
    return f"{head}(\n" + "".join(f"    {argument.strip()},\n" for argument in arguments) + ")"


def usage(name: str) -> str:
    """A line that makes a schedule or a transform to be used; empty for a function."""
    method = getattr(fnopt, name)
    family = getattr(method, "family", "")
    if not family:
        return ""
    if family == "schedules":
        return laid_out(f"schedule = {made(name)}")
    if family != "parts":
        return laid_out(f"tx = {made(name)}")
    usual = "scale_by_learning_rate(1e-3)" if name.startswith("scale_by") else "adam(1e-3)"
    step = STEPS.get(name, f"fnopt.chain({{}}, fnopt.{usual})")
    return laid_out(f"tx = {step.format(made(name))}")


def typed(lines: str) -> str:
    """Lines as they are typed: with prompts."""
    return ">>> " + lines.replace("\n", "\n... ")


def example(name: str) -> str:
    """Lines in which a method is used: those of its docstring, or others that suit its kind."""
    method = getattr(fnopt, name)
    if written := body(method)[1]:
        return written
    family = getattr(method, "family", "")
    if not family:
        return ""
    if family == "schedules":
        return schedule_example(name)
    if family in ("parts", "wrappers"):
        return f""">>> import fnopt, jax.numpy as jnp, optax
{typed(usage(name))}
>>> w = {PARAMS.get(name, "jnp.array([1.0, -2.0, 3.0])")}
>>> state = tx.init(w)
>>> updates, state = tx.update(2 * w, state, w{ARGUMENTS.get(name, "")})
>>> w = optax.apply_updates(w, updates)"""
    return f""">>> import fnopt, jax, jax.numpy as jnp, optax
>>> def loss(w):
...     return jnp.sum((w - 1.0) ** 2)
{typed(usage(name))}
>>> w = jnp.zeros(3)
>>> state = tx.init(w)
>>> for _ in range(10):
...     grads = jax.grad(loss)(w)
...     updates, state = tx.update(grads, state, w{ARGUMENTS.get(name, "")})
...     w = optax.apply_updates(w, updates)"""


def schedule_example(name: str) -> str:
    """A schedule and its value at a few counts."""
    counts = (0, 50, 100, 500, 1000)
    schedule: Any = eval(made(name), {"fnopt": fnopt})
    values = [float(f"{float(schedule(count)):.3g}") for count in counts]
    return f""">>> import fnopt
{typed(usage(name))}
>>> [float(f"{{schedule(count):.3g}}") for count in {counts}]
{values}"""
