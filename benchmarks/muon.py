"""Muon's iteration as a loop or as copies, and its step beside optax's and torch's.

``python benchmarks/muon.py --quick`` shows what it does; README.md next to it says what is
compared.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax.contrib
from log import Log
from machine import HERE, load_average, machine
from torch_device import torch_device, torch_is_left_out
from turns import median_interval, orders, print_table, ratios, with_interval

import fnopt
from fnopt.matrix.coefficients import JORDAN
from fnopt.matrix.newton_schulz import newton_schulz

RATE = 0.02
BATCHES = {"48 × 64 × 64": (48, 64, 64), "12 × 768 × 768": (12, 768, 768)}
TREES: dict[str, list[tuple[int, int]]] = {
    "48 × 64 × 64": [(64, 64)] * 48,
    "GPT-2 small": [(768, 2304), (768, 768), (768, 3072), (3072, 768)] * 12,
}
"""Kernels of shape (inputs, outputs)."""

Call = Callable[[], Any]


def normal(shape: tuple[int, ...], seed: int, size: float = 1.0) -> jax.Array:
    draws = np.random.RandomState(seed).standard_normal(shape)
    return jnp.asarray(size * draws, jnp.float32)


# ---- The iteration ----


def loop(x: jax.Array, dtype: Any) -> jax.Array:
    return newton_schulz(x, None, JORDAN * 5, dtype)


def copies(x: jax.Array, dtype: Any) -> jax.Array:
    """The same iterations, each written out."""
    for row in JORDAN * 5:
        x = newton_schulz(x, None, [row], dtype)
    return x


def compare_iterations(log: Log, blocks: int, repeats: int, dtype: Any) -> None:
    functions = {"loop": loop, "copies": copies, "loop again": lambda x, d: loop(x, d)}
    for name, shape in BATCHES.items():
        x = normal(shape, 0)
        x = x / jnp.linalg.norm(x, axis=(-2, -1), keepdims=True)
        make = {k: _jitted(f, x, dtype) for k, f in functions.items()}
        seconds, temporary = time_compiles(make, repeats)
        compiled = {k: jax.jit(f, static_argnums=1) for k, f in functions.items()}
        calls = {k: _bound(f, x, dtype) for k, f in compiled.items()}
        report(log, "iteration", name, "loop", time_calls(calls, blocks), seconds, temporary)


def _jitted(function: Any, x: jax.Array, dtype: Any) -> Call:
    return lambda: jax.jit(lambda x: function(x, dtype)).lower(x)


def _bound(function: Any, x: jax.Array, dtype: Any) -> Call:
    return lambda: function(x, dtype)


# ---- A step ----


class Contender:
    """A jitted step of an optimizer on its own parameters, which it writes in place."""

    def __init__(self, make: Callable[[], Any], shapes: Sequence[tuple[int, int]]) -> None:
        self.make = make
        self.params = [normal(shape, i, 0.02) for i, shape in enumerate(shapes)]
        self.grads = [normal(shape, 1000 + i) for i, shape in enumerate(shapes)]
        self.state = make().init(self.params)
        self.step = self.jitted()

    def jitted(self) -> Any:
        tx = self.make()

        def step(params: Any, state: Any, grads: Any) -> Any:
            updates, state = tx.update(grads, state, params)
            return optax.apply_updates(params, updates), state

        return jax.jit(step, donate_argnums=(0, 1))

    def lower(self) -> Any:
        arguments = (self.params, self.state, self.grads)
        shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), arguments)
        return self.jitted().lower(*shapes)

    def __call__(self) -> Any:
        self.params, self.state = self.step(self.params, self.state, self.grads)
        return self.params


def torch_step(shapes: Sequence[tuple[int, int]]) -> Call:
    """A step of ``torch.optim.Muon``, which iterates in bfloat16 and one matrix after the other."""
    import torch

    device = torch_device()
    params = [
        torch.from_numpy(np.asarray(normal(s, i, 0.02)).T.copy()) for i, s in enumerate(shapes)
    ]
    params = [p.to(device).requires_grad_() for p in params]
    for i, (p, shape) in enumerate(zip(params, shapes, strict=True)):
        p.grad = torch.from_numpy(np.asarray(normal(shape, 1000 + i)).T.copy()).to(device)
    optimizer = torch.optim.Muon(params, lr=RATE, weight_decay=0.0)

    def call() -> Any:
        optimizer.step()
        if device != "cpu":
            torch.cuda.synchronize()

    return call


def compare_steps(log: Log, tree: str, blocks: int, repeats: int, dtype: Any) -> None:
    shapes = TREES[tree]
    makes = {
        "optax": lambda: optax.contrib.muon(RATE),
        "fnopt": lambda: fnopt.muon(RATE, ns_dtype=dtype),
        "optax again": lambda: optax.contrib.muon(RATE),
    }
    made = {name: Contender(make, shapes) for name, make in makes.items()}
    for contender in made.values():
        contender()
    gap = max(
        float(jnp.max(jnp.abs(a - b)))
        for a, b in zip(made["fnopt"].params, made["optax"].params, strict=True)
    )
    calls: dict[str, Call] = dict(made)
    reason = torch_is_left_out()
    if reason is None:
        calls["torch"] = torch_step(shapes)
    else:
        print(f"torch is left out: {reason}")
    seconds = time_calls(calls, blocks)
    compiles, temporary = time_compiles({name: c.lower for name, c in made.items()}, repeats)
    share = {}
    if dtype is not None:
        peak = product_rate(dtype)
        work = 5 * sum(map(_operations, shapes))
        share = {name: work / statistics.median(x) / peak for name, x in seconds.items()}
        print(f"products of {dtype}: {peak / 1e12:.0f} TFLOP/s; an update's are {work / 1e12:.2f}")
        print("share of it: " + ", ".join(f"{k} {x:.2f}" for k, x in share.items()))
    report(
        log,
        "step",
        tree,
        "optax",
        seconds,
        compiles,
        temporary,
        largest_difference=gap,
        share=share,
    )


def _operations(shape: tuple[int, int]) -> int:
    """Of one iteration, a product of sizes m, k and n being 2 m k n."""
    m, n = sorted(shape)
    return 2 * m * m * n + 2 * m**3 + 2 * m * m * n


def product_rate(dtype: Any, n: int = 768, batch: int = 48, calls: int = 20) -> float:
    """Operations a second of batched products alone."""
    x = normal((batch, n, n), 0, n**-0.5).astype(dtype)
    product = jax.jit(lambda x: jax.lax.fori_loop(0, calls, lambda _, y: x @ y, x))
    best = min(seconds_of(lambda: product(x), 1) for _ in range(7))
    return calls * batch * 2 * n**3 / best


# ---- Times ----


def seconds_of(call: Call, calls: int) -> float:
    """Seconds a call, of several one after the other with one wait, after one that is not timed."""
    jax.block_until_ready(call())
    start = time.perf_counter()
    for _ in range(calls):
        last = call()
    jax.block_until_ready(last)
    return (time.perf_counter() - start) / calls


def time_calls(calls: dict[str, Call], blocks: int) -> dict[str, list[float]]:
    """Seconds a call of each, in every block."""
    longest = max(seconds_of(call, 1) for call in calls.values())
    each = max(1, min(50, round(0.1 / longest)))
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    rows = orders(list(calls))
    for block in range(blocks):
        for name in rows[block % len(rows)]:
            seconds[name].append(seconds_of(calls[name], each))
    return seconds


def time_compiles(
    lowers: dict[str, Callable[[], Any]], repeats: int
) -> tuple[dict[str, list[float]], dict[str, int]]:
    """Seconds to trace and compile each, and the bytes of its temporaries."""
    seconds: dict[str, list[float]] = {name: [] for name in lowers}
    temporary: dict[str, int] = {}
    rows = orders(list(lowers))
    for repeat in range(-1, repeats):
        for name in rows[repeat % len(rows)]:
            jax.clear_caches()
            gc.collect()
            start = time.perf_counter()
            compiled = lowers[name]().compile()
            if repeat >= 0:  # the first of all pays for imports
                seconds[name].append(time.perf_counter() - start)
            temporary[name] = getattr(compiled.memory_analysis(), "temp_size_in_bytes", 0)
    return seconds, temporary


def report(
    log: Log,
    kind: str,
    name: str,
    peer: str,
    seconds: dict[str, list[float]],
    compiles: dict[str, list[float]],
    temporary: dict[str, int],
    **more: Any,
) -> None:
    """Logs all times and prints medians and ratios to the peer."""
    log(
        kind, name=name, seconds=seconds, compiles=compiles, temporary_bytes=temporary,
        load_average=load_average(), **more,
    )  # fmt: skip
    of_steps, of_compiles = ratios(seconds, peer), ratios(compiles, peer)
    rows: list[Sequence[Any]] = [
        ("", "ms", f"/ {peer}", "trace and compile, s", f"/ {peer}", "temporaries, MB")
    ]
    for who, times in seconds.items():
        compile_times = compiles.get(who)
        rows.append(
            (
                who,
                f"{1e3 * statistics.median(times):.3g}",
                with_interval(of_steps.get(who)),
                f"{median_interval(compile_times)[0]:.3g}" if compile_times else "-",
                with_interval(of_compiles.get(who)),
                f"{temporary[who] / 1e6:.3g}" if who in temporary else "-",
            )
        )
    print_table(f"{kind}, {name}", rows)


# ---- The command ----


def main(arguments: Sequence[str] | None = None) -> None:
    on_gpu = jax.default_backend() == "gpu"
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    trees = list(TREES) if on_gpu else ["48 × 64 × 64"]
    add("--trees", nargs="*", choices=list(TREES), default=trees)
    add("--iterations", action=argparse.BooleanOptionalAction, default=True)
    add("--blocks", type=int, default=40, help="turns of each contender")
    add("--compiles", type=int, default=6, help="compilations of each")
    add("--dtype", default="bfloat16" if on_gpu else None, help="dtype of the iteration")
    add("--tag", default="local", help="the log is benchmarks/logs/muon-TAG.jsonl")
    add("--quick", action="store_true", help="a smoke test: few turns of the small ones")
    chosen = parser.parse_args(arguments)
    if chosen.quick:
        chosen.blocks, chosen.compiles, chosen.trees = 4, 1, ["48 × 64 × 64"]
    jax.config.update("jax_enable_compilation_cache", False)
    path = HERE / "logs" / f"muon-{chosen.tag}.jsonl"
    log = Log(path)
    log("machine", **machine(), options=vars(chosen))
    for tree in chosen.trees:
        compare_steps(log, tree, chosen.blocks, chosen.compiles, chosen.dtype)
    if chosen.iterations:
        compare_iterations(log, chosen.blocks, chosen.compiles, chosen.dtype)
    print(f"\nlog: {path.relative_to(HERE.parent)}")


if __name__ == "__main__":
    main()
