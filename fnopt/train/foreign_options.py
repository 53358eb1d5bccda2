"""What the arguments of other libraries' ``fit`` are called here."""

from __future__ import annotations

from collections.abc import Iterable

from fnopt.core.checks import nearest

_RATE = "a learning rate is an argument of the optimizer, fnopt.adamw(learning_rate)"
_DECAY = "weight decay is an argument of the optimizer, fnopt.adamw(1e-3, weight_decay=…)"
_OPTIMIZER = "the optimizer is the second argument, fit(objective, tx, data, epochs=…)"
_EPOCHS = "it is called epochs="
_KEY = "it is called key="
_STEPS = "the number of passes is epochs=; a callback on_epoch that returns True ends a run"
_WEIGHTS = "weights are an item of the batch, objective(…, weights=lambda batch: batch[2])"
_OF_OBJECTIVE = "it is an argument of the objective, objective(model, loss, metrics=[…])"

_HERE = {
    "lr": _RATE,
    "learning_rate": _RATE,
    "scheduler": "a schedule is given as the learning rate, fnopt.adamw(schedule)",
    "schedule": "a schedule is given as the learning rate, fnopt.adamw(schedule)",
    "weight_decay": _DECAY,
    "optimizer": _OPTIMIZER,
    "opt": _OPTIMIZER,
    "loss": _OF_OBJECTIVE,
    "loss_fn": _OF_OBJECTIVE,
    "metrics": _OF_OBJECTIVE,
    "model": "a model goes into an objective, objective(model, loss), the first argument",
    "n_epochs": _EPOCHS,
    "num_epochs": _EPOCHS,
    "max_epochs": _EPOCHS,
    "nb_epoch": _EPOCHS,
    "steps": _STEPS,
    "max_steps": _STEPS,
    "bs": "it is called batch_size=",
    "seed": _KEY,
    "rng": _KEY,
    "rngs": _KEY,
    "random_state": _KEY,
    "verbose": "progress=False is quiet",
    "shuffle": "give the data as fnopt.data.Arrays(data, shuffle=False)",
    "sample_weight": _WEIGHTS,
    "class_weight": _WEIGHTS,
    "patience": "give early_stopping=early_stopping(patience=5), of fnopt.train",
    "grad_clip": "it is called clip_norm=",
    "max_grad_norm": "it is called clip_norm=",
    "gradient_clip_val": "it is called clip_norm=",
    "accumulate_grad_batches": "it is called accumulate=",
    "gradient_accumulation_steps": "it is called accumulate=",
    "mixed_precision": "it is called precision=, such as 'bfloat16'",
    "dtype": "it is called precision=, such as 'bfloat16'",
    "ema": "give average=ema_of_params(0.999), of fnopt.train",
    "monitor_metric": "it is called monitor=",
    "checkpoint": "it is called checkpoint_dir=",
    "save_dir": "it is called checkpoint_dir=",
    "log_dir": "it is called tensorboard=, or log= for a file of lines of JSON",
}
"""What to give instead, by the name in another library."""


def cure(name: str, known: Iterable[str]) -> str:
    """What to give instead of an unknown option.

    Args:
        name: its name.
        known: the names of all options.
    """
    if name in _HERE:
        return _HERE[name]
    near = nearest(name, known)
    return f"did you mean {near!r}?" if near else "help(fnopt.train.fit) names all options"
