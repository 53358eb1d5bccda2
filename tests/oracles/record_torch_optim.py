"""Records torch's trajectories for machines without torch: ``python record_torch_optim.py``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from oracles import torch_optim as oracle


def record() -> None:
    found = {}
    for name, settings in oracle.SETTINGS.items():
        found[name] = []
        for given in settings:
            path = oracle.by_torch(name, given)
            seen = [
                {
                    leaf: [float(f"{x:.10g}") for x in value.ravel()]
                    for leaf, value in path[i - 1].items()
                }
                for i in oracle.SEEN
            ]
            found[name].append({"settings": given, "seen": seen})
    lines = [f" {json.dumps(name)}: {json.dumps(runs)}" for name, runs in found.items()]
    oracle.RECORDED.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    record()
