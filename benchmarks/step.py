"""An optimizer's step compared with optax's and torch's: the times to run and to compile it.

``python benchmarks/step.py --quick`` shows what it does; README.md next to it says what is compared
and how the comparison is kept fair.
"""

from __future__ import annotations

import argparse
import dataclasses
import gc
import importlib.metadata
import json
import math
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
from trees import TREES

import fnopt

HERE = pathlib.Path(__file__).resolve().parent

# The same numbers for all three libraries. torch's RMSProp adds eps to the root.
METHODS: dict[str, dict[str, Any]] = {
    "adamw": dict(learning_rate=1e-3, b1=0.9, b2=0.999, eps=1e-8, weight_decay=1e-2),
    "sgd": dict(learning_rate=1e-3, momentum=0.9),
    "rmsprop": dict(learning_rate=1e-3, decay=0.9, eps=1e-8, eps_in_sqrt=False),
}
# Not timed; and what updates need besides gradients.
LEFT_OUT = {
    "dpsgd": "takes the gradients of single examples",
    "galore": "its time is that of the SVD",
    "sophia": "needs the loss as a function",
}
NEEDS_VALUE = {"momo", "momo_adam", "polyak_sgd"}
PEER = "optax"
AGAIN = "optax again"
TORCH = "torch"


class NotComparable(Exception):
    """Two contenders do not do the same."""


def peer_of(method: str) -> Any:
    """optax's function of the same name, or None."""
    return getattr(optax, method, None) or getattr(optax.contrib, method, None)


def shared_methods() -> list[str]:
    """The optimizers that both have."""
    shared = [name for name in fnopt.optimizers() if peer_of(name) is not None]
    return [name for name in shared if name not in LEFT_OUT]


def contenders(method: str, as_argument: bool = True) -> dict[str, Any]:
    """Optimizers by name. optax is there twice: its difference from itself is noise."""
    make_optax, make_fnopt = peer_of(method), getattr(fnopt, method)
    usual = {"learning_rate": 1e-3} if "learning_rate" in make_fnopt._fields else {}
    numbers = METHODS.get(method, usual)
    optimizers = {
        PEER: make_optax(**numbers),
        "fnopt": make_fnopt(**numbers),
        AGAIN: make_optax(**numbers),
    }
    if as_argument:
        optimizers["fnopt as argument"] = jax.tree.map(np.float32, make_fnopt(**numbers))
    return optimizers


def new_step(tx: Any, method: str, as_argument: bool) -> Any:
    """A jitted step that no other shares a cache with, as ``step(params, opt_state, grads, *tx)``.

    State goes in and comes out in one order. Crossed, every buffer is copied.
    """
    extra = {"value": jnp.ones(())} if method in NEEDS_VALUE else {}

    def closed_over(params: Any, opt_state: Any, grads: Any) -> tuple[Any, Any]:
        updates, opt_state = tx.update(grads, opt_state, params, **extra)
        return optax.apply_updates(params, updates), opt_state

    def with_argument(params: Any, opt_state: Any, grads: Any, tx: Any) -> tuple[Any, Any]:
        updates, opt_state = tx.update(grads, opt_state, params, **extra)
        return optax.apply_updates(params, updates), opt_state

    return jax.jit(with_argument if as_argument else closed_over, donate_argnums=(0, 1))


def is_argument(name: str) -> bool:
    return name.endswith("as argument")


# ---- Time of a step ----


class Track:
    """The parameters and the state that all steps of jax take turns on.

    They work on the same buffers, since two copies of a state differ in speed by where they lie.
    """

    def __init__(
        self, method: str, params: Any, optimizers: dict[str, Any], gradients: Sequence[Any]
    ) -> None:
        self.gradients = gradients
        self.steps, self.structures, self.extra = {}, {}, {}
        shapes = None
        for name, tx in optimizers.items():
            state = jax.eval_shape(tx.init, params)
            self.structures[name] = jax.tree.structure(state)
            these = [(x.shape, x.dtype) for x in jax.tree.leaves(state)]
            if shapes not in (None, these):
                raise NotComparable(f"{name} keeps another state than {PEER}")
            shapes = these
            self.steps[name] = new_step(tx, method, is_argument(name))
            self.extra[name] = (jax.device_put(tx),) if is_argument(name) else ()
        self.init = optimizers[PEER].init
        self.reset(params)

    def reset(self, params: Any) -> None:
        """Starts again from a copy of these parameters."""
        self.params = jax.tree.map(jnp.array, params)
        self.state = jax.tree.leaves(jax.jit(self.init)(self.params))

    def run(self, name: str, steps: int) -> float:
        """Seconds for some steps, called as a training loop would: one after the other, waiting
        for the last."""
        step, extra, gradients = self.steps[name], self.extra[name], self.gradients
        params, state = self.params, jax.tree.unflatten(self.structures[name], self.state)
        jax.block_until_ready((params, state))
        start = time.perf_counter()
        for i in range(steps):
            params, state = step(params, state, gradients[i % len(gradients)], *extra)
        jax.block_until_ready((params, state))
        seconds = time.perf_counter() - start
        self.params, self.state = params, jax.tree.leaves(state)
        return seconds

    def in_place(self, name: str) -> bool:
        """Whether a step writes its results where its arguments were."""

        def addresses() -> list[int]:
            return [x.unsafe_buffer_pointer() for x in jax.tree.leaves((self.params, self.state))]

        self.run(name, 1)
        before = addresses()
        self.run(name, 1)
        return before == addresses()


class TorchTrack:
    """The same for torch, on its own parameters and the same gradients."""

    def __init__(self, method: str, params: Any, gradients: Sequence[Any]) -> None:
        import torch

        numbers = dict(METHODS[method])
        lr = numbers.pop("learning_rate")
        # torch has no fused RMSProp; on a CPU its own choice is faster than foreach.
        make, kind = {
            "adamw": (torch.optim.AdamW, "fused"),
            "sgd": (torch.optim.SGD, "fused"),
            "rmsprop": (torch.optim.RMSprop, "default"),
        }[method]
        options = {
            "adamw": lambda n: dict(
                betas=(n["b1"], n["b2"]), eps=n["eps"], weight_decay=n["weight_decay"]
            ),
            "sgd": lambda n: dict(momentum=n["momentum"]),
            "rmsprop": lambda n: dict(alpha=n["decay"], eps=n["eps"]),
        }[method](numbers)
        self.kind = kind
        self.params = [torch.from_dlpack(x).clone() for x in jax.tree.leaves(params)]
        self.gradients = [[torch.from_dlpack(x) for x in jax.tree.leaves(g)] for g in gradients]
        options |= {kind: True} if kind == "fused" else {}
        self.optimizer = make(self.params, lr=lr, **options)
        on_gpu = self.params[0].is_cuda
        self.wait = torch.cuda.synchronize if on_gpu else lambda: None

    def run(self, steps: int) -> float:
        self.wait()
        start = time.perf_counter()
        for i in range(steps):
            grads = self.gradients[i % len(self.gradients)]
            for param, grad in zip(self.params, grads, strict=True):
                param.grad = grad
            self.optimizer.step()
        self.wait()
        return time.perf_counter() - start


def new_tree(shapes: Any, seed: int, size: float) -> Any:
    draw = np.random.default_rng(seed)
    return jax.tree.map(
        # A copy: jax may use NumPy's own memory, and could then not give it away.
        lambda shape: jnp.array(size * draw.standard_normal(shape, dtype=np.float32), copy=True),
        shapes,
        is_leaf=lambda x: isinstance(x, tuple),
    )


def difference(moved: Any, expected: Any, start: Any) -> float:
    """The largest difference of any leaf, as a share of how far that leaf has moved."""

    def of_leaf(a: Any, b: Any, start: Any) -> float:
        a, b = (np.asarray(x) for x in (a, b))
        return float(np.max(np.abs(a - b)) / np.max(np.abs(b - np.asarray(start))))

    leaves = (jax.tree.leaves(tree) for tree in (moved, expected, start))
    return max(of_leaf(*three) for three in zip(*leaves, strict=True))


def verify(track: Track, torch_track: TorchTrack | None, params: Any) -> dict[str, float]:
    """Raises NotComparable unless all give the same parameters after three steps."""
    track.run(PEER, 3)
    expected, differences = jax.device_get(track.params), {}
    # A parameter is rounded to 6e-8 of itself, and has moved by a hundredth or so.
    tolerance = 1e-5 + 1e-6 * max(
        float(np.max(np.abs(b)) / np.max(np.abs(b - np.asarray(a))))
        for a, b in zip(jax.tree.leaves(params), jax.tree.leaves(expected), strict=True)
    )
    for name in track.steps:
        track.reset(params)
        track.run(name, 3)
        differences[name] = difference(track.params, expected, params)
    if torch_track is not None:
        torch_track.run(3)
        moved = [param.cpu().numpy() for param in torch_track.params]
        differences[TORCH] = difference(moved, expected, params)
    for name, share in differences.items():
        if not share <= tolerance:
            raise NotComparable(
                f"{name} is another method than {PEER}: {share:.2g} of the way apart"
            )
    return differences


def orders(names: Sequence[str]) -> list[list[str]]:
    """Orders in which each has every position and every predecessor equally often (Williams)."""
    n = len(names)
    first = [0]
    for i in range(1, n):
        first.append((first[-1] + (i if i % 2 else n - i)) % n)
    rows = [[names[(position + shift) % n] for position in first] for shift in range(n)]
    # Of an odd number it takes each row in both directions.
    return rows + [row[::-1] for row in rows] if n % 2 else rows


def time_steps(
    method: str, tree: str, options: Options, log: Callable[..., None]
) -> dict[str, Any]:
    shapes = TREES[tree]()
    params = new_tree(shapes, seed=0, size=0.02)
    # Two gradients, so that nothing adapts to a value that never changes.
    gradients = [new_tree(shapes, seed=seed, size=1.0) for seed in (1, 2)]
    track = Track(method, params, contenders(method, options.as_argument), gradients)
    with_torch = options.torch and method in METHODS
    torch_track = TorchTrack(method, params, gradients) if with_torch else None
    agreement = verify(track, torch_track, params)
    in_place = {name: track.in_place(name) for name in track.steps}
    del params
    # As many steps as make a turn that a clock's and a scheduler's grain do not show in.
    one = min(track.run(PEER, 2) / 2 for _ in range(3))
    steps = min(max(2, math.ceil(options.turn_ms / 1e3 / one)), 1000)
    log("setup", tree=tree, method=method, steps=steps, agreement=agreement, in_place=in_place)

    names = list(track.steps)
    rows = orders(names)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    gc.collect()
    gc.disable()
    for block in range(options.blocks):
        order = rows[block % len(rows)]
        times = {}
        for name in order:
            track.run(name, 1)  # not timed: the caches are as the one before left them
            times[name] = track.run(name, steps) / steps
        if torch_track is not None:
            # Last and by itself: torch's idle threads go on spinning for some time.
            torch_track.run(1)
            times[TORCH] = torch_track.run(steps) / steps
            time.sleep(0.02)
        for name, value in times.items():
            seconds.setdefault(name, []).append(value)
        log("block", tree=tree, method=method, block=block, order=order, seconds=times)
    gc.enable()
    kind = None if torch_track is None else torch_track.kind
    return summarize("step", tree, method, seconds, log, in_place=in_place, torch=kind)


# ---- Time to trace and compile ----


_warm: list[str] = []
"""Who has compiled anything in this process."""


def time_compiles(
    method: str, tree: str, options: Options, log: Callable[..., None]
) -> dict[str, Any]:
    params = jax.tree.map(
        lambda shape: jax.ShapeDtypeStruct(shape, jnp.float32),
        TREES[tree](),
        is_leaf=lambda x: isinstance(x, tuple),
    )
    seconds: dict[str, list[float]] = {}
    temporary = {}
    rows = orders(list(contenders(method, options.as_argument)))
    for repeat in range(0 if _warm else -1, options.compiles):
        for name in rows[repeat % len(rows)]:
            tx = contenders(method)[name]
            state = jax.eval_shape(tx.init, params)
            jax.clear_caches()
            gc.collect()
            start = time.perf_counter()
            step = new_step(tx, method, is_argument(name))
            lowered = step.lower(params, state, params, *([tx] if is_argument(name) else []))
            middle = time.perf_counter()
            compiled = lowered.compile()
            end = time.perf_counter()
            memory = compiled.memory_analysis()
            temporary[name] = getattr(memory, "temp_size_in_bytes", None)
            if repeat < 0:
                _warm.append(name)  # the first of all pays for imports
                continue
            seconds.setdefault(name, []).append(end - start)
            log(
                "compile", tree=tree, method=method, repeat=repeat, contender=name,
                trace=middle - start, compile=end - middle, temporary_bytes=temporary[name],
            )  # fmt: skip
    return summarize("compile", tree, method, seconds, log, temporary_bytes=temporary)


# ---- Summaries ----


def median_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """The median, and the order statistics that enclose it with 95 % (or all, of fewer than 6)."""
    ordered, n = sorted(values), len(values)
    lowest, below = 0, 0.0
    for k in range(n):
        below += math.comb(n, k) / 2**n
        if below > 0.025:
            break
        lowest = k + 1
    lowest = max(lowest - 1, 0)
    return statistics.median(ordered), ordered[lowest], ordered[n - 1 - lowest]


def summarize(
    kind: str, tree: str, method: str, seconds: dict[str, list[float]], log: Any, **more: Any
) -> dict[str, Any]:
    ratios = {
        name: median_interval([a / b for a, b in zip(times, seconds[PEER], strict=True)])
        for name, times in seconds.items()
        if name != PEER
    }
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    summary = dict(tree=tree, method=method, n=len(seconds[PEER]), seconds=medians, ratios=ratios)
    log(f"{kind} summary", **summary, **more)
    return summary


def show(title: str, unit: float, summaries: Sequence[dict[str, Any]]) -> None:
    names = list(dict.fromkeys(name for s in summaries for name in s["ratios"]))
    header = ["tree", "method", PEER, *(f"{name} / {PEER}" for name in names)]
    rows = [header]
    for s in summaries:
        cells = [s["tree"], s["method"], f"{s['seconds'][PEER] * unit:.3f}"]
        for name in names:
            ratio = s["ratios"].get(name)
            cells.append("-" if ratio is None else "{:.3f} [{:.3f}, {:.3f}]".format(*ratio))
        rows.append(cells)
    widths = [max(len(row[i]) for row in rows) for i in range(len(header))]
    print(f"\n{title}")
    for row in rows:
        print(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        )


def machine() -> dict[str, Any]:
    def version(package: str) -> str | None:
        try:
            return importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            return None

    def output(*command: str) -> str | None:
        try:
            return subprocess.run(
                command, cwd=HERE, capture_output=True, text=True, check=True
            ).stdout.strip()
        except (OSError, subprocess.CalledProcessError):
            return None

    cpu = platform.processor() or platform.machine()
    info = pathlib.Path("/proc/cpuinfo")
    if info.exists():
        named = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        cpu = named[0].split(":", 1)[1].strip() if named else cpu
    load = os.getloadavg() if hasattr(os, "getloadavg") else None
    return dict(
        cpu=cpu,
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        load_average=load,
        system=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        devices=sorted({f"{d.platform}: {d.device_kind}" for d in jax.devices()}),
        versions={name: version(name) for name in ("jax", "jaxlib", "optax", "numpy", "torch")},
        xla_flags=os.environ.get("XLA_FLAGS", ""),
        commit=output("git", "describe", "--always", "--dirty"),
        command=" ".join(["python", "benchmarks/step.py", *sys.argv[1:]]),
        started=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    )


@dataclasses.dataclass(frozen=True)
class Options:
    methods: list[str]
    trees: list[str]
    blocks: int
    compiles: int
    turn_ms: float
    torch: bool
    as_argument: bool
    tag: str


def options(arguments: Sequence[str] | None = None) -> Options:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("--methods", nargs="+", default=list(METHODS), help="or all: every one that optax has")
    add("--trees", nargs="+", choices=list(TREES), default=list(TREES))
    add("--blocks", type=int, default=100, help="turns of each contender at each tree and method")
    add("--compiles", type=int, default=12, help="compilations of each; 0 leaves them out")
    add("--turn-ms", type=float, default=30.0, help="how long a turn should last, at least 2 steps")
    add(
        "--torch",
        action=argparse.BooleanOptionalAction,
        help="compare with torch; if it is installed",
    )
    add("--as-argument", action=argparse.BooleanOptionalAction, default=True)
    add("--tag", default="local", help="the log is benchmarks/logs/step-TAG.jsonl")
    add("--quick", action="store_true", help="a smoke test: 4 blocks and 2 compilations of mlp")
    options = vars(parser.parse_args(arguments))
    if options.pop("quick"):
        options |= dict(trees=["mlp"], blocks=4, compiles=2)
    if options["torch"] is None:
        import importlib.util

        options["torch"] = importlib.util.find_spec("torch") is not None
    known = shared_methods()
    if options["methods"] == ["all"]:
        options["methods"] = known
    for method in options["methods"]:
        if method not in known:
            parser.error(f"no method {method!r}; known: {', '.join(known)}")
    return Options(**options)


def main(arguments: Sequence[str] | None = None) -> None:
    chosen = options(arguments)
    # Or the second compilation would be a look-up.
    jax.config.update("jax_enable_compilation_cache", False)
    torch_too = chosen.torch
    if torch_too:
        import torch

        if jax.default_backend() != "cpu" and not torch.cuda.is_available():
            print("torch is left out: it does not see the accelerator that jax uses")
            torch_too = False
        else:
            torch.set_grad_enabled(False)
    chosen = dataclasses.replace(chosen, torch=torch_too)

    path = HERE / "logs" / f"step-{chosen.tag}.jsonl"
    path.parent.mkdir(exist_ok=True)
    with path.open("w") as file:

        def log(kind: str, **record: Any) -> None:
            file.write(json.dumps({"kind": kind, **record}) + "\n")
            file.flush()

        about = machine()
        log("machine", **about, options=dataclasses.asdict(chosen))
        print(json.dumps(about, indent=1))
        steps, compiles = [], []
        for tree in chosen.trees:
            for method in chosen.methods:
                start = time.perf_counter()
                try:
                    if chosen.blocks:
                        steps.append(time_steps(method, tree, chosen, log))
                    if chosen.compiles:
                        compiles.append(time_compiles(method, tree, chosen, log))
                except NotComparable as error:
                    log("left out", tree=tree, method=method, reason=str(error))
                    print(f"{tree} {method} is left out: {error}")
                print(f"{tree} {method}: {time.perf_counter() - start:.0f} s", flush=True)
        if steps:
            show("A step: ms, and the median of the blocks' ratios [95 %]", 1e3, steps)
        if compiles:
            show("Tracing and compiling: s, and ratios as above", 1.0, compiles)
    print(f"\nlog: {path.relative_to(HERE.parent)}")


if __name__ == "__main__":
    main()
