"""Who solved what, from the log of ``minimize.py``: tables and performance profiles."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

TAU = 1e-6
"""Part of the way down that a solution may lack."""
MOST = 5000
"""Most evaluations and products of a solution that counts."""
LIBRARIES = {"fnopt": "tab:blue", "scipy": "tab:red", "optimistix": "tab:green", "jaxopt": "0.5"}
DEFAULT = "fnopt default"
STYLES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 3)))
Record = dict[str, Any]


def finite(value: Any) -> float:
    return float(value) if value is not None and math.isfinite(value) else math.inf


def cost(record: Record) -> int:
    """Evaluations and products with the Hessian; a Hessian as a matrix is n products."""
    return record.get("evaluations", 0) + record.get("products", 0)


def lowest(records: Sequence[Record]) -> dict[tuple[str, str], float]:
    """The least value that any solver reached, by set and problem."""
    least: dict[tuple[str, str], float] = {}
    for record in records:
        of = record["set"], record["problem"]
        least[of] = min(least.get(of, math.inf), finite(record["value"]))
    return least


def reached(value: Any, first: float, least: float) -> bool:
    """Whether a value is so near to the least one that the problem counts as solved."""
    return finite(value) - least <= TAU * min(first - least, 1 + abs(least))


def judge(records: Sequence[Record]) -> list[Record]:
    """The solves, each with ``solved`` and ``stationary``; by library, as in its colors."""
    solves = [record for record in records if record["kind"] == "solve"]
    solves.sort(
        key=lambda r: (list(LIBRARIES).index(r["solver"].split()[0]), r["solver"] != DEFAULT)
    )
    least = lowest(solves)
    judged = []
    for record in solves:
        low = least[record["set"], record["problem"]]
        fair = record["value"] is not None and cost(record) <= MOST
        solved = fair and reached(record["value"], record["first_value"], low)
        small = fair and record["largest_grad"] <= 1e-5 * (1 + abs(record["value"]))
        judged.append({**record, "solved": solved, "stationary": bool(small), "least": low})
    return judged


def ratios(judged: Sequence[Record], of: Callable[[Record], float]) -> dict[str, list[float]]:
    """Each solver's cost of a problem over the least one of all solvers; infinite if unsolved."""
    best: dict[tuple[str, str], float] = {}
    for record in judged:
        if record["solved"]:
            key = record["set"], record["problem"]
            best[key] = min(best.get(key, math.inf), of(record))
    by_solver: dict[str, list[float]] = {}
    for record in judged:
        key = record["set"], record["problem"]
        ratio = of(record) / best[key] if record["solved"] else math.inf
        by_solver.setdefault(record["solver"], []).append(ratio)
    return by_solver


def geometric(values: Sequence[float]) -> float:
    return math.exp(statistics.fmean(math.log(value) for value in values)) if values else math.nan


def table(judged: Sequence[Record]) -> list[str]:
    """One line of Markdown for a solver."""
    sets = list(dict.fromkeys(record["set"] for record in judged))
    counts = {s: len({r["problem"] for r in judged if r["set"] == s}) for s in sets}
    heads = [f"{s}, of {counts[s]}" for s in sets]
    lines = [
        f"| solver | {' | '.join(heads)} | all, of {sum(counts.values())} | stationary "
        "| evaluations | run, ms | with compilation, s |",
        "| --- " * (len(sets) + 6) + "|",
    ]
    by_evaluations, by_seconds = ratios(judged, cost), ratios(judged, lambda r: r["seconds"])
    for solver, evaluations in by_evaluations.items():
        mine = [record for record in judged if record["solver"] == solver]
        solved = [record for record in mine if record["solved"]]
        run = [record for record in mine if record["value"] is not None]
        seconds = [ratio for ratio in by_seconds[solver] if ratio < math.inf]
        parts = [str(sum(r["set"] == s for r in solved)) for s in sets]
        lines.append(
            f"| {solver} | {' | '.join(parts)} | {len(solved)} "
            f"| {sum(r['stationary'] for r in mine)} "
            f"| {geometric([e for e in evaluations if e < math.inf]):.2f} "
            f"| {1e3 * geometric([r['seconds'] for r in run]):.2f} ({geometric(seconds):.1f}) "
            f"| {statistics.median([r['first_seconds'] for r in run] or [math.nan]):.2f} |"
        )
    return lines


def starts_table(records: Sequence[Record]) -> list[str]:
    """How long a hundred starts take, at once and one after the other."""
    runs = [record for record in records if record["kind"] == "starts"]
    if not runs:
        return []
    least: dict[tuple[str, int], float] = {}
    for run in runs:
        for start, value in enumerate(run["values"]):
            key = run["problem"], start
            least[key] = min(least.get(key, math.inf), finite(value))
    lines = [
        "| solver | one after the other, s | at once, s | with compilation, s | solved |",
        "| --- " * 5 + "|",
    ]
    for solver in dict.fromkeys(run["solver"] for run in runs):
        mine = [run for run in runs if run["solver"] == solver]
        at_once = [run for run in mine if run["at_once"]]
        in_turn = [run for run in mine if not run["at_once"]]
        ends = [
            reached(value, first, least[run["problem"], start])
            for run in at_once or in_turn
            for start, (value, first) in enumerate(
                zip(run["values"], run["first_values"], strict=True)
            )
        ]
        first = sum(run["first_seconds"] for run in at_once or in_turn)
        once = f"{sum(run['seconds'] for run in at_once):.3f}" if at_once else ""
        lines.append(
            f"| {solver} | {sum(run['seconds'] for run in in_turn):.2f} | {once} "
            f"| {first:.1f} | {100 * np.mean(ends):.1f} % |"
        )
    return lines


def unsolved(judged: Sequence[Record], prefix: str = "fnopt") -> list[str]:
    """What the solvers whose names begin so did not solve."""
    lines = []
    for record in judged:
        if record["solver"].startswith(prefix) and not record["solved"]:
            value = finite(record["value"])
            grad = finite(record.get("largest_grad"))
            others = sum(r["solved"] for r in judged if r["problem"] == record["problem"])
            lines.append(
                f"{record['solver']:20} {record['problem']:24} f {value:.6g} least "
                f"{record['least']:.6g} |g| {grad:.0e} cost {cost(record)} "
                f"solved by {others}: {record['message'][:60]}"
            )
    return lines


def draw(judged: Sequence[Record], path: str) -> None:
    """The performance profiles of Dolan & Moré, *Mathematical Programming* 91 (2002)."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 5), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    panels = (
        (left, cost, "times the fewest evaluations and products", 64),
        (right, lambda r: r["seconds"], "times the shortest run, without compilation", 1024),
    )
    for axes, of, name, most in panels:
        styles = {library: iter(STYLES) for library in LIBRARIES}
        for solver, values in ratios(judged, of).items():
            library = solver.split()[0]
            xs = np.append(np.unique([v for v in values if v < most]), most)
            shares = [np.mean(np.asarray(values) <= x) for x in xs]
            axes.step(
                np.append(1.0, xs), np.append(np.mean(np.asarray(values) <= 1), shares),
                where="post", color=LIBRARIES[library], linestyle=next(styles[library]),
                linewidth=2.5 if solver == DEFAULT else 1.2, label=solver,
            )  # fmt: skip
        axes.set_xscale("log", base=2)
        axes.set_xlim(1, most)
        axes.set_ylim(0, 1)
        axes.grid(alpha=0.3)
        axes.set_xlabel(name)
        axes.xaxis.set_major_formatter(lambda x, _: f"{x:g}")
    left.set_ylabel("share of the problems solved")
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center", frameon=False)
    figure.savefig(path, dpi=100)


def report(records: Sequence[Record], picture: str | None = None) -> None:
    """Prints the tables and what fnopt did not solve; draws where there is a path."""
    judged = judge(records)
    print("\n".join([*table(judged), "", *starts_table(records), "", *unsolved(judged)]))
    if picture:
        draw(judged, picture)
