"""``fnopt.minimize`` beside SciPy, optimistix and jaxopt on Moré-Garbow-Hillstrom's problems and CUTEst's.

``python benchmarks/minimize.py --quick`` shows what it does; README.md next to it says what is
compared. What was measured is in the log, and ``--solvers`` measures only some again.
"""  # noqa: E501

from __future__ import annotations

import argparse
import dataclasses
import importlib.metadata
import json
import pathlib
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np
from machine import HERE, machine
from minimize_report import report
from minimize_solvers import SOLVERS, Demand, Solver, counting

sys.path.insert(0, str(HERE.parent / "tests"))
jax.config.update("jax_enable_x64", True)
CUTEST = [name for name in (HERE / "cutest.txt").read_text().split("\n") if name and name[0] != "#"]
# For many starts at once: problems of all sorts, and quick enough for a hundred by each peer.
MANY_STARTS = [
    "Rosenbrock", "Powell badly scaled", "Beale", "Helical valley", "Bard", "Box three-dimensional",
    "Powell singular", "Wood", "Brown and Dennis", "Watson", "Extended Rosenbrock", "Penalty I",
]  # fmt: skip
PEERS = ("scipy", "optimistix", "jaxopt", "sif2jax", "fnopt")


@dataclasses.dataclass(frozen=True)
class Task:
    """A function to minimize, and where to begin."""

    set: str
    name: str
    fun: Callable[[jax.Array], jax.Array]
    x0: np.ndarray


def tasks(sets: Sequence[str]) -> Iterator[Task]:
    if "mgh" in sets:
        import mgh

        for problem in mgh.PROBLEMS:
            yield Task("mgh", problem.name, problem.fun, problem.x0)
    if "cutest" in sets:
        import sif2jax

        by_name = {p.name: p for p in sif2jax.cutest.unconstrained_minimisation_problems}
        for name in CUTEST:
            fun = (lambda p: lambda x: p.objective(x, p.args))(by_name[name])
            yield Task("cutest", name, fun, np.asarray(by_name[name].y0, float))


def timed(call: Callable[[], Any], repetitions: int = 3, at_most: float = 2.0) -> tuple[Any, ...]:
    """What a call returns, the seconds of its first and the least of some more."""
    start = time.perf_counter()
    result = jax.block_until_ready(call())
    first = time.perf_counter() - start
    seconds: list[float] = []
    while len(seconds) < repetitions and sum(seconds) < at_most:
        start = time.perf_counter()
        jax.block_until_ready(call())
        seconds.append(time.perf_counter() - start)
    return result, first, min(seconds)


def one_solve(task: Task, solver: Solver, demand: Demand) -> dict[str, Any]:
    """A solver on a problem from the standard start."""
    solve = solver.build(task.fun, demand)
    result, first, seconds = timed(lambda: solve(task.x0))
    solved = solver.said(result)
    evaluations = solved.evaluations
    if evaluations is None:
        assert solver.traceable is not None
        fun, count = counting(task.fun)
        counted = jax.jit(solver.traceable(fun, demand))
        count[0] = 0
        jax.block_until_ready(counted(task.x0))
        jax.effects_barrier()
        evaluations = count[0]
    value, grads = jax.jit(jax.value_and_grad(task.fun))(np.asarray(solved.x))
    return dict(
        value=float(value),
        largest_grad=float(np.max(np.abs(grads))),
        iterations=solved.iterations,
        evaluations=evaluations,
        products=solved.products,
        first_seconds=first,
        seconds=seconds,
        message=solved.message,
    )


def many_starts(task: Task, solver: Solver, demand: Demand, at_once: bool) -> dict[str, Any]:
    """A solver on a problem from a hundred starts."""
    noise = np.random.RandomState(0).standard_normal((100, task.x0.size))
    starts = task.x0 + 0.1 * np.maximum(1, np.abs(task.x0)) * noise
    if at_once:
        assert solver.traceable is not None
        solve = jax.jit(jax.vmap(solver.traceable(task.fun, demand)))
        result, first, seconds = timed(lambda: solve(starts))
        result = jax.tree.map(np.asarray, result)
        ends = [solver.said(jax.tree.map(lambda x, i=i: x[i], result)) for i in range(100)]
    else:
        solve = solver.build(task.fun, demand)
        result, first, seconds = timed(lambda: [solve(x0) for x0 in starts], repetitions=1)
        ends = [solver.said(end) for end in result]
    value = jax.jit(task.fun)
    return dict(
        starts=len(starts),
        at_once=at_once,
        first_values=[float(value(x0)) for x0 in starts],
        values=[float(value(np.asarray(end.x))) for end in ends],
        first_seconds=first,
        seconds=seconds,
    )


class Log:
    """Records on disk; a new one takes the place of that of the same solver and problem."""

    def __init__(self, path: pathlib.Path):
        self.path = path
        lines = path.read_text().splitlines() if path.exists() else []
        self.records = [json.loads(line) for line in lines]

    def add(self, kind: str, **record: Any) -> None:
        def key(record: dict[str, Any]) -> tuple[Any, ...]:
            return tuple(record.get(k) for k in ("kind", "set", "problem", "solver", "at_once"))

        record = {"kind": kind, **record}
        if kind != "machine":
            self.records = [r for r in self.records if key(r) != key(record)]
        self.records.append(record)

    def save(self) -> None:
        self.path.write_text("".join(json.dumps(record) + "\n" for record in self.records))


def measure(log: Log, chosen: argparse.Namespace, demand: Demand) -> None:
    solvers = {name: SOLVERS[name]() for name in chosen.solvers}
    for task in tasks(chosen.sets):
        if chosen.problems and task.name not in chosen.problems:
            continue
        value = float(jax.jit(task.fun)(task.x0))
        of = dict(set=task.set, problem=task.name)
        for name, solver in solvers.items():
            jax.clear_caches()
            try:
                record = one_solve(task, solver, demand)
            except Exception as error:
                record = dict(value=None, message=f"{type(error).__name__}: {error}"[:200])
            log.add("solve", **of, n=task.x0.size, first_value=value, solver=name, **record)
            shown = {k: v for k, v in record.items() if k not in ("iterations", "products")}
            print(f"{task.name:24} {name:24} {shown}", flush=True)
        if task.name in MANY_STARTS and chosen.starts:
            for name, solver in solvers.items():
                for at_once in (True, False) if solver.traceable else (False,):
                    jax.clear_caches()
                    record = many_starts(task, solver, demand, at_once)
                    log.add("starts", **of, solver=name, **record)
                    print(f"{task.name:24} {name:24} {at_once=} {record['seconds']:.3f} s")
        log.save()


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("--solvers", nargs="+", default=list(SOLVERS), help="names, or the first word of several")
    add("--sets", nargs="+", default=["mgh", "cutest"], help="mgh, cutest")
    add("--problems", nargs="+", default=[], help="only these; default: all of the sets")
    add("--no-starts", dest="starts", action="store_false", help="no hundred starts")
    add("--tag", default="local", help="the log is benchmarks/logs/minimize-TAG.jsonl")
    add("--report", action="store_true", help="only read logs/minimize-TAG*.jsonl")
    add("--picture", help="file for the performance profiles")
    add("--quick", action="store_true", help="a smoke test: Beale's function")
    chosen = parser.parse_args(arguments)
    chosen.solvers = [
        name for name in SOLVERS if any(name == s or name.split()[0] == s for s in chosen.solvers)
    ]
    if chosen.quick:
        chosen.sets, chosen.problems, chosen.starts = ["mgh"], ["Beale"], False
    log = Log(HERE / "logs" / f"minimize-{chosen.tag}.jsonl")
    if chosen.report:
        paths = sorted(log.path.parent.glob(f"minimize-{chosen.tag}*.jsonl"))
        log.records = [record for path in paths for record in Log(path).records]
    else:
        warnings.simplefilter("ignore")  # SciPy's, of line searches that find nothing
        demand = Demand()
        about = machine()
        for package in PEERS:
            try:
                about["versions"][package] = importlib.metadata.version(package)
            except importlib.metadata.PackageNotFoundError:
                about["versions"][package] = None
        command = " ".join(["python", "benchmarks/minimize.py", *sys.argv[1:]])
        options = {**vars(chosen), **dataclasses.asdict(demand)}
        log.add("machine", **{**about, "command": command}, options=options)
        measure(log, chosen, demand)
    report(log.records, chosen.picture)


if __name__ == "__main__":
    main()
