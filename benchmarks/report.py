"""The tables of logs, in Markdown: ``python benchmarks/report.py LOG...``.

The logs are those of ``step.py``, ``unpacking.py``, ``resnet.py`` and ``fit.py``, which print their
tables by the functions here.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from turns import ratios, with_interval

Record = dict[str, Any]
Table = tuple[str, list[list[Any]]]
"""A title, and rows of which the first is the header."""

STEP_PEER = "optax"
RESNET_PEER = "flax documentation's loop"
UNPACKED = "make_train_step, unpacked"
UNPACKING_PEER = "tree"
FIT_PEER = "fnopt fit"


def of_step(records: Sequence[Record]) -> list[Table]:
    """Times of steps, shares of the copy bandwidth, times to trace and compile."""

    def all_of(kind: str) -> list[Record]:
        return [r for r in records if r["kind"] == f"{kind} summary"]

    steps, compiles = all_of("step"), all_of("compile")
    shares = [s for s in steps if s["shares_of_copy_bandwidth"]]
    tables = []
    if steps:
        title = "A step: ms, and the median of the blocks' ratios [95 %]"
        tables.append((title, _to_step_peer(steps, 1e3)))
    if shares:
        names = _names(shares, "shares_of_copy_bandwidth")
        rows = [["tree", "method", *names]]
        for s in shares:
            cells = (with_interval(s["shares_of_copy_bandwidth"].get(name)) for name in names)
            rows.append([s["tree"], s["method"], *cells])
        tables.append(("Bytes read and written a second, as a share of what copies move", rows))
    if compiles:
        title = "Tracing and compiling: s, and ratios as above"
        tables.append((title, _to_step_peer(compiles, 1.0)))
    return tables


def _to_step_peer(summaries: Sequence[Record], unit: float) -> list[list[Any]]:
    names = _names(summaries, "ratios")
    rows: list[list[Any]] = [["tree", "method", STEP_PEER, *names]]
    for s in summaries:
        cells = (with_interval(s["ratios"].get(name)) for name in names)
        rows.append([s["tree"], s["method"], f"{s['seconds'][STEP_PEER] * unit:.3g}", *cells])
    return rows


def _names(summaries: Sequence[Record], key: str) -> list[str]:
    # As of the steps, also where compilations were summarized in the order of their turns.
    return sorted({name for s in summaries for name in s[key]}, key=_place)


def _place(name: str) -> tuple[int, str]:
    order = (STEP_PEER, "fnopt", "optax again", "packed", "packed, gradients as a tree")
    return (order.index(name) if name in order else len(order), name)


def of_unpacking(records: Sequence[Record]) -> list[Table]:
    """Times of loss and gradient, and the counts of their compiled programs."""
    seconds, counts = _blocks(records), _setup(records)["counts"]
    title = "Loss and gradient: ms, ratios [95 %], and the compiled program"
    return [(title, _with_counts(seconds, counts, [UNPACKING_PEER]))]


def of_resnet(records: Sequence[Record]) -> list[Table]:
    """Times of training steps, and the counts of the compiled programs of fnopt's."""
    seconds, counts = _blocks(records), _setup(records)["counts"]
    title = "A training step: ms, ratios [95 %], and the compiled program"
    return [(title, _with_counts(seconds, counts, [RESNET_PEER, UNPACKED]))]


def of_fit(records: Sequence[Record]) -> list[Table]:
    """Times of a step of a run, and how many times those of ``fit`` they are."""
    seconds: dict[str, list[float]] = {}
    for record in records:
        if "steps_per_second" in record:
            seconds.setdefault(record["name"], []).append(1 / record["steps_per_second"])
    found = _intervals(seconds, FIT_PEER)
    rows: list[list[Any]] = [["", "us a step", f"/ {FIT_PEER}"]]
    for name, times in seconds.items():
        rows.append([name, f"{1e6 * statistics.median(times):.0f}", found[name]])
    return [("A step of a run: medians, and ratios [95 %]", rows)]


def _setup(records: Sequence[Record]) -> Record:
    return next(r for r in records if r["kind"] == "setup")


def _blocks(records: Sequence[Record]) -> dict[str, list[float]]:
    blocks = [r["seconds"] for r in records if r["kind"] == "block"]
    return {name: [block[name] for block in blocks] for name in sorted(blocks[0])}


def _with_counts(
    seconds: dict[str, list[float]], counts: dict[str, dict[str, Any]], peers: Sequence[str]
) -> list[list[Any]]:
    columns = list(next(iter(counts.values())))
    found = {peer: _intervals(seconds, peer) for peer in peers}
    rows: list[list[Any]] = [["", "ms", *(f"/ {peer}" for peer in peers), *columns]]
    for name, times in seconds.items():
        cells = (found[peer][name] for peer in peers)
        numbers = (counts.get(name, {}).get(column, "-") for column in columns)
        rows.append([name, f"{1e3 * statistics.median(times):.3g}", *cells, *numbers])
    return rows


def _intervals(seconds: dict[str, list[float]], peer: str) -> dict[str, str]:
    found = ratios(seconds, peer)
    return {name: with_interval(found.get(name)) for name in seconds}


KINDS: dict[str, Callable[[Sequence[Record]], list[Table]]] = {
    "step": of_step,
    "unpacking": of_unpacking,
    "resnet": of_resnet,
    "fit": of_fit,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the tables of the logs that the command line names."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("logs", nargs="+", type=Path, help="files KIND-TAG.jsonl")
    for path in parser.parse_args(arguments).logs:
        kind = path.name.split("-")[0]
        if kind not in KINDS:
            parser.error(f"{path} is none of {', '.join(f'{x}-TAG.jsonl' for x in KINDS)}")
        records = [json.loads(line) for line in path.read_text().splitlines()]
        about = records[0].get("machine", records[0])
        loads = [x["load_average"][0] for x in (about, *records) if x.get("load_average")]
        print(f"\n[`{path.name}`](logs/{path.name}): {', '.join(about['devices'])},")
        print(f"{about['cores']} cores of {about['cpu']},", end=" ")
        print(", ".join(f"{name} {x}" for name, x in about["versions"].items() if x), end=", ")
        print(f"load of {min(loads):.1f} to {max(loads):.1f}" if loads else "load unknown")
        print(f"`{about['command']}`")
        for title, rows in KINDS[kind](records):
            print(f"\n{title}\n\n{_markdown(rows)}")


def _markdown(rows: Sequence[Sequence[Any]]) -> str:
    lines = ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + " --- |" * len(rows[0]), *lines[1:]])


if __name__ == "__main__":
    main()
