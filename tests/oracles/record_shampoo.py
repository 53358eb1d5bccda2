"""Records shampoo.json: what the authors' program, and its port to torch, do with given gradients.

``pip install --no-deps optax-shampoo==0.0.6 pytorch_optimizer==4.1.0``, then run this file by its
path. The first is the program of Anil et al. as of 2022, whose names of jax are restored here.
"""

from __future__ import annotations

import itertools
import json
import types
from pathlib import Path
from typing import Any

import jax
import jax.experimental.pjit
import jax.numpy as jnp
import numpy as np

FILE = Path(__file__).with_name("shampoo.json")
SETTINGS: dict[str, dict[str, Any]] = {
    "plain": {"beta2": 0.9},
    "blocks": {"beta2": 0.9, "block_size": 3, "graft_type": "ADAGRAD"},
    "seldom": {"beta2": 1.0, "preconditioning_compute_steps": 3},
}


def gradients() -> list[np.ndarray]:
    """Eight of a matrix of 6 by 6, so that the first statistic is not singular."""
    draw = np.random.RandomState(0)
    return [draw.normal(size=(6, 6)) for _ in range(8)]


def _while_loop(cond: Any, body: Any, start: Any) -> Any:
    """jax's, for a start whose dtypes need not be those that the loop keeps."""
    kept = jax.eval_shape(body, start)
    start = jax.tree.map(lambda x, like: jnp.asarray(x, like.dtype), start, kept)
    return jax.lax.while_loop(cond, body, start)


def of_the_authors(settings: dict[str, Any]) -> list[Any]:
    """The updates of their program at a rate of 1."""
    for name in ("tree_map", "tree_flatten", "tree_unflatten"):
        setattr(jax, name, getattr(jax.tree_util, name))
    jax.experimental.pjit.PartitionSpec = jax.sharding.PartitionSpec  # pyright: ignore
    from optax_shampoo import distributed_shampoo as program  # pyright: ignore

    program.lax = types.SimpleNamespace(**{**vars(jax.lax), "while_loop": _while_loop})
    settings = {"block_size": 128, **settings}
    settings["graft_type"] = program.GraftingType[settings.get("graft_type", "SGD")]
    tx = program.distributed_shampoo(
        1.0,
        start_preconditioning_step=0,
        best_effort_shape_interpretation=False,
        diagonal_epsilon=1e-10,
        **settings,
    )
    params = jnp.zeros((6, 6))
    state, updates = tx.init(params), []
    for grad in gradients():
        update, state = tx.update(jnp.asarray(grad), state, params)
        updates.append(np.asarray(update).tolist())
    return updates


def of_torch(settings: dict[str, Any]) -> list[Any]:
    """The updates of the port at a rate of 1."""
    import torch
    from pytorch_optimizer import ScalableShampoo  # pyright: ignore
    from pytorch_optimizer.optimizer.shampoo import LayerWiseGrafting  # pyright: ignore

    settings = {"block_size": 128, **settings}
    settings["graft_type"] = LayerWiseGrafting[settings.get("graft_type", "SGD")]
    param = torch.zeros(6, 6, dtype=torch.float64, requires_grad=True)
    optimizer = ScalableShampoo(
        [param],
        lr=1.0,
        betas=(0.9, settings.pop("beta2")),
        start_preconditioning_step=1,
        shape_interpretation=False,
        **{"preconditioning_compute_steps": 1, **settings},
    )
    points = [np.zeros((6, 6))]
    for grad in gradients():
        param.grad = torch.tensor(grad)
        optimizer.step()
        points.append(param.detach().numpy().copy())
    return [(b - a).tolist() for a, b in itertools.pairwise(points)]


if __name__ == "__main__":
    made = {"authors": of_the_authors, "torch": of_torch}
    found: dict[str, Any] = {}
    for program, run in made.items():
        for name, settings in SETTINGS.items():
            if program == "torch" and name == "seldom":
                continue  # its first root is that of the third update
            found[f"{program}-{name}"] = run(settings)
    FILE.write_text(json.dumps(found) + "\n")
