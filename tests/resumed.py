"""A training that is killed and gone on with: digits, batch norm, dropout, and all there is.

``python resumed.py DATA OUT [FOLDER [N]]``: leaves what it has come to in ``OUT.npz``; with a
folder, goes on from the checkpoints there, and dies at the N-th file opened or renamed in it.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx

import fnopt
from fnopt.train import accuracy, early_stopping, ema_of_params, fit, objective
from fnopt.train.models import MLP


def train(data: str, **options: Any) -> Any:
    """About 100 steps of 2 at a time; early stopping ends them."""
    x, y, test_x, test_y = np.load(data).values()
    model = MLP(64, (16,), 10, dropout=0.2, rngs=nnx.Rngs(0))
    task = objective(
        model, "softmax_cross_entropy_with_integer_labels", metrics={"accuracy": accuracy}
    )
    plateau = fnopt.reduce_on_plateau(0.5, patience=1, monitor="metric", mode="max")
    return fit(
        task,
        fnopt.chain(fnopt.sgd(0.5, momentum=0.9), plateau),
        (x, y),
        epochs=40,
        validation_data=(test_x, test_y),
        monitor="val_accuracy",
        early_stopping=early_stopping(patience=2, mode="max"),
        accumulate=2,
        average=ema_of_params(0.9),
        **options,
    )


def come_to(result: Any) -> dict[str, Any]:
    """All that must be the same, as arrays."""
    got = result.state.stopping_state
    records = [{k: v for k, v in r.items() if k != "seconds"} for r in result.history.records]
    states = result.state.replace(key=jax.random.key_data(result.state.key))
    leaves = jax.tree.leaves((states, result.last.params, got))
    return {f"leaf{i}": np.asarray(x) for i, x in enumerate(leaves)} | {
        "history": json.dumps(records),
        "ended": result.ended,
    }


def die_while_writing(folder: str, number: int) -> None:
    """Arranges for SIGKILL at a file operation in the folder."""
    seen = [0]

    def hook(event: str, args: Any) -> None:
        if event in ("open", "os.rename", "os.mkdir") and folder in str(args[0]):
            seen[0] += 1
            if seen[0] == number:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


if __name__ == "__main__":
    data, out, *rest = sys.argv[1:]
    if not rest:
        result = train(data)
    else:
        folder = rest[0]
        if rest[1:]:
            die_while_writing(folder, int(rest[1]))
        result = train(
            data,
            checkpoint_dir=folder,
            checkpoint_every=4,
            steps_per_call=2,
            resume=True,
            log=Path(folder).parent / "log.jsonl",
            on_step=lambda step, metrics: print(step, flush=True),
        )
    np.savez(out, **come_to(result))
