"""A torch run that is converted in its middle goes on as in torch."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import fnopt
import fnopt.compat.torch as ours

torch = pytest.importorskip("torch", reason="what is converted is torch's own")
from torch.optim import lr_scheduler as theirs  # noqa: E402

pytestmark = [
    pytest.mark.beside_optax,  # the loss is written for torch too, and promotes
    pytest.mark.filterwarnings("default"),  # what torch warns of is torch's
]

NAMES = ("first/kernel", "first/bias", "conv/kernel", "last/kernel", "last/bias")


class Run:
    """A small network in torch and by hand, with the optimizer and the scheduler of torch."""

    def __init__(self, make, schedule=None):
        torch.manual_seed(0)
        self.first = torch.nn.Linear(4, 6).double()
        self.conv = torch.nn.Conv1d(2, 3, 2, bias=False).double()
        self.last = torch.nn.Linear(6, 2).double()
        self.tensors = dict(
            zip(NAMES, [*self.first.parameters(), self.conv.weight, *self.last.parameters()],
                strict=True)
        )  # fmt: skip
        rng = np.random.default_rng(0)
        self.inputs, self.targets = rng.normal(size=(8, 4)), rng.normal(size=(8, 2))
        self.optimizer = make(self)
        self.scheduler = None if schedule is None else schedule(self.optimizer)

    def loss(self):
        hidden = torch.tanh(self.first(torch.tensor(self.inputs)))
        convolved = self.conv(hidden.reshape(8, 2, 3))
        return ((self.last(convolved.reshape(8, 6)) - torch.tensor(self.targets)) ** 2).mean()

    def closure(self):
        self.optimizer.zero_grad()
        loss = self.loss()
        loss.backward()
        return loss

    def step(self, scheduled=True):
        loss = self.optimizer.step(self.closure)
        if self.scheduler is not None and scheduled:
            self.scheduler.step()
        return loss.item()


def shapes():
    sizes = {"first": ((4, 6), (6,)), "conv": ((2, 2, 3), None), "last": ((6, 2), (2,))}
    return {
        layer: {
            name: jnp.zeros(shape)
            for name, shape in zip(("kernel", "bias"), pair, strict=True)
            if shape is not None
        }
        for layer, pair in sizes.items()
    }


def loss_of(run):
    def loss(params):
        hidden = jnp.tanh(run.inputs @ params["first"]["kernel"] + params["first"]["bias"])
        signal = hidden.reshape(8, 2, 3)  # examples, channels, places
        kernel = params["conv"]["kernel"]  # places, in, out
        convolved = jnp.stack(
            [jnp.einsum("bik,kio->bo", signal[:, :, i : i + 2], kernel) for i in range(2)], -1
        ).reshape(8, 6)
        outputs = convolved @ params["last"]["kernel"] + params["last"]["bias"]
        return jnp.mean((outputs - run.targets) ** 2)

    return loss


def abstract():
    """Shapes alone, as the conversion needs no more."""
    return jax.eval_shape(shapes)


def assert_goes_on(run, before=10, after=10, **given):
    """Steps torch, converts, and steps both."""
    with jax.enable_x64(True):
        for _ in range(before):
            run.step()
        tx, state, params = ours.convert(
            run.optimizer, run.scheduler, params=abstract(), names=run.tensors, **given
        )
        loss = loss_of(run)
        assert jax.tree.structure(state) == jax.tree.structure(tx.init(params))

        @jax.jit
        def step(params, state):
            value, grads = jax.value_and_grad(loss)(params)
            updates, state = tx.update(grads, state, params, value=value, value_fn=loss)
            return value, optax.apply_updates(params, updates), state

        for i in range(after):
            if len(run.optimizer.param_groups) == 1 and not isinstance(tx, fnopt.groups):
                got = fnopt.hyperparameters(tx, state)["learning_rate"]
                assert float(got) == pytest.approx(float(run.optimizer.param_groups[0]["lr"]))
            value, params, state = step(params, state)
            np.testing.assert_allclose(value, run.step(), rtol=1e-6, err_msg=f"loss {i}")
        for path, tensor in run.tensors.items():
            layer, name = path.split("/")
            expected = ours.flax_layout(path, tensor.detach().numpy())
            np.testing.assert_allclose(params[layer][name], expected, rtol=1e-6, atol=1e-7)
    return tx


def of_all(make, **given):
    return lambda run: make(run.tensors.values(), **given)


def two_groups(run):
    kernels = [p for name, p in run.tensors.items() if name.endswith("kernel")]
    biases = [p for name, p in run.tensors.items() if name.endswith("bias")]
    return torch.optim.AdamW(
        [{"params": kernels, "weight_decay": 0.3}, {"params": biases, "lr": 0.02}],
        lr=0.05,
        weight_decay=0.0,
    )


def test_two_groups_with_a_cosine_go_on():
    run = Run(two_groups, lambda optimizer: theirs.CosineAnnealingLR(optimizer, 25, 1e-3))
    tx = assert_goes_on(run)
    assert "AdamW" in tx.table(shapes()) and "weight_decay=0.3" in tx.table(shapes())


OPTIMIZERS = {
    "SGD": {"lr": 0.1},
    "SGD-momentum": {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01},
    "SGD-dampened": {"lr": 0.1, "momentum": 0.9, "dampening": 0.5},
    "ASGD": {"lr": 0.1, "lambd": 0.1, "t0": 5},
    "Adam": {"lr": 0.05, "betas": (0.8, 0.95), "weight_decay": 0.01},
    "Adam-amsgrad": {"lr": 0.05, "amsgrad": True},
    "Adamax": {"lr": 0.05},
    "Adadelta": {"lr": 1.0},
    "Adagrad": {"lr": 0.1, "lr_decay": 0.1},
    "NAdam": {"lr": 0.05, "decoupled_weight_decay": True, "weight_decay": 0.01},
    "RAdam": {"lr": 0.05, "betas": (0.9, 0.95)},
    "RMSprop": {"lr": 0.01, "momentum": 0.5, "centered": True},
    "Rprop": {"lr": 0.01},
}


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("before", [0, 7])
def test_every_optimizer_goes_on(name, before):
    make = getattr(torch.optim, name.split("-")[0])
    assert_goes_on(Run(of_all(make, **OPTIMIZERS[name])), before, 6)


@pytest.mark.parametrize("name", ["SGD-momentum", "ASGD", "Adam", "Adagrad"])
def test_a_schedule_goes_on(name):
    make = getattr(torch.optim, name.split("-")[0])
    run = Run(
        of_all(make, **OPTIMIZERS[name]), lambda optimizer: theirs.ExponentialLR(optimizer, 0.9)
    )
    assert_goes_on(run, 7, 6)


@pytest.mark.parametrize("line_search", [None, "strong_wolfe"])
@pytest.mark.parametrize("before", [0, 3])
def test_lbfgs_goes_on(line_search, before):
    given = {"lr": 0.3, "max_iter": 4, "history_size": 5, "line_search_fn": line_search}
    assert_goes_on(Run(of_all(torch.optim.LBFGS, **given)), before, 3)


def test_momentum_that_is_cycled_goes_on():
    def schedule(optimizer):
        return theirs.OneCycleLR(optimizer, 0.2, 30)

    assert_goes_on(Run(of_all(torch.optim.SGD, lr=0.1, momentum=0.9), schedule), 8, 8)
    assert_goes_on(Run(of_all(torch.optim.Adam, lr=0.1), schedule), 8, 8)


def only(*expected, make):
    return lambda run: make([p for name, p in run.tensors.items() if name in expected])


def test_what_the_optimizer_has_not_is_frozen():
    run = Run(only("last/kernel", "last/bias", make=lambda p: torch.optim.Adam(p, lr=0.1)))
    tx = assert_goes_on(run, 3, 3)
    assert "frozen: 42" in tx.table(shapes())


def test_matrix_methods_go_on_where_the_layout_lets_them():
    matrices = ("first/kernel", "last/kernel")
    muon = only(*matrices, make=lambda p: torch.optim.Muon(p, adjust_lr_fn="match_rms_adamw"))
    run = Run(muon)
    run.step()
    tx, _, _ = ours.convert(run.optimizer, params=shapes(), names=run.tensors)
    assert "Muon" in repr(tx)
    run = Run(only(*matrices, make=lambda p: torch.optim.Muon(p)))
    with pytest.raises(ValueError, match=r"last/kernel.*root of|first/kernel.*root of"):
        ours.convert(run.optimizer, params=shapes(), names=run.tensors)
    two = only(*matrices, "first/bias", make=lambda p: torch.optim.Adafactor(p, lr=0.1))
    assert_goes_on(Run(two), 4, 4)
    run = Run(of_all(torch.optim.Adafactor))
    run.step()
    for fresh in (run, Run(of_all(torch.optim.Adafactor))):
        with pytest.raises(ValueError, match=r"'conv/kernel'.*two last axes"):
            ours.convert(fresh.optimizer, params=shapes(), names=fresh.tensors)


def test_a_plateau_goes_on():
    run = Run(of_all(torch.optim.SGD, lr=0.1), lambda optimizer: theirs.ReduceLROnPlateau(
        optimizer, factor=0.5, patience=1))  # fmt: skip
    metrics = [3.0, 2.0, 2.5, 2.5, 2.5, 1.0, 1.5, 1.5, 1.5, 1.5]
    with jax.enable_x64(True):
        for metric in metrics[:4]:
            run.step(scheduled=False)
            run.scheduler.step(metric)
        tx, state, params = ours.convert(
            run.optimizer, run.scheduler, params=shapes(), names=run.tensors
        )
        loss, rates = loss_of(run), []
        for i, metric in enumerate(metrics[4:], 1):
            # torch looks at the metric after its step, ours before the next.
            grads = jax.grad(loss)(params)
            given = {} if i == 1 else {"metric": metrics[2 + i], "evaluations": i - 1}
            rates.append(float(fnopt.hyperparameters(tx, state, **given)["learning_rate"]))
            assert rates[-1] == pytest.approx(run.optimizer.param_groups[0]["lr"])
            updates, state = tx.update(grads, state, params, **given)
            params = optax.apply_updates(params, updates)
            np.testing.assert_allclose(loss(params), run.step(False) and run.loss().item())
            run.scheduler.step(metric)
    assert rates[0] > rates[-1]


def test_a_scheduler_of_epochs_goes_on():
    run = Run(of_all(torch.optim.Adam, lr=0.1), lambda optimizer: theirs.StepLR(optimizer, 2, 0.5))
    for step in range(13):  # three epochs of four steps, and one more step
        run.step(scheduled=step % 4 == 3)
    tx, state, _ = ours.convert(
        run.optimizer, run.scheduler, params=shapes(), names=run.tensors, steps_per_epoch=4
    )
    rates = []
    for _ in range(6):
        got = fnopt.hyperparameters(tx, state)
        rates.append(float(got["learning_rate"]))
        _, state = tx.update(shapes(), state, shapes())
    assert rates == pytest.approx([0.05, 0.05, 0.05, 0.025, 0.025, 0.025])
    with pytest.raises(ValueError, match="should have been stepped 2 times, not 3"):
        ours.convert(
            run.optimizer, run.scheduler, params=shapes(), names=run.tensors, steps_per_epoch=5
        )


def test_the_value_alone_needs_no_names():
    run = Run(of_all(torch.optim.Adam, lr=0.1, foreach=True))
    assert ours.convert(run.optimizer) == ours.Converted(ours.Adam(0.1), None, None)
    with pytest.raises(ValueError, match="2 parameter groups; give params= and names="):
        ours.convert(Run(two_groups).optimizer)
    with pytest.raises(ValueError, match="together"):
        ours.convert(run.optimizer, params=shapes())


def test_names_may_be_torchs():
    net = torch.nn.Linear(3, 2)
    optimizer = torch.optim.SGD(net.named_parameters(), lr=0.1)
    params = {"kernel": jnp.zeros((3, 2)), "bias": jnp.zeros(2)}
    names = {"kernel": "weight", "bias": "bias"}
    converted = ours.convert(optimizer, params=params, names=names)
    np.testing.assert_array_equal(converted.params["kernel"], net.weight.detach().numpy().T)
    with pytest.raises(ValueError, match="no parameter 'weights'; did you mean 'weight'"):
        ours.convert(optimizer, params=params, names=names | {"kernel": "weights"})
    unnamed = torch.optim.SGD(net.parameters(), lr=0.1)
    with pytest.raises(ValueError, match="created without names"):
        ours.convert(unnamed, params=params, names=names)


def test_the_weights_are_no_view_of_torchs():
    net = torch.nn.Linear(3, 2)
    names = {"kernel": net.weight, "bias": net.bias}
    params = {"kernel": jnp.zeros((3, 2)), "bias": jnp.zeros(2)}
    converted = ours.convert(torch.optim.SGD(net.parameters()), params=params, names=names)
    before = np.array(converted.params["bias"])
    with torch.no_grad():
        net.bias += 1
    np.testing.assert_array_equal(converted.params["bias"], before)


def test_refuses_what_does_not_fit():
    run = Run(of_all(torch.optim.Adam))
    without = {name: p for name, p in run.tensors.items() if name != "conv/kernel"}
    for names, message in [
        (without, "names lacks 'conv/kernel'"),
        (run.tensors | {"conv/kernels": None}, "did you mean 'conv/kernel'"),
        (run.tensors | {"first/bias": run.tensors["last/bias"]}, r"1 of the optimizer's 5"),
        (
            run.tensors
            | {"first/bias": run.tensors["last/bias"], "last/bias": run.tensors["first/bias"]},
            r"'first/bias' has shape \(6,\), but torch's \(2,\)",
        ),
    ]:
        with pytest.raises(ValueError, match=message):
            ours.convert(run.optimizer, params=shapes(), names=names)

    class Own(torch.optim.SGD):
        pass

    for thing in (Own([run.tensors["last/bias"]]), fnopt.adam(0.1)):
        with pytest.raises(TypeError, match="convert: "):
            ours.convert(thing)
    run.step()
    run.tensors["last/bias"].grad = None
    run.optimizer.step()
    with pytest.raises(ValueError, match=r"stepped differently often \(\[1, 2\] times\)"):
        ours.convert(run.optimizer, params=shapes(), names=run.tensors)


def test_what_needs_no_gradient_is_frozen():
    run = Run(of_all(torch.optim.AdamW, lr=0.1, weight_decay=0.5))
    for name in ("first/kernel", "first/bias", "conv/kernel"):
        run.tensors[name].requires_grad_(False)
    tx = assert_goes_on(run, 3, 3)
    assert "frozen: 42" in tx.table(shapes())


def test_lbfgs_goes_on_beside_frozen_leaves():
    run = Run(only("last/kernel", "last/bias", make=lambda p: torch.optim.LBFGS(p, max_iter=3)))
    assert_goes_on(run, 2, 2)


@pytest.mark.parametrize("make", [torch.optim.SGD, torch.optim.Adam])
def test_a_parameter_that_was_left_out_at_times_is_refused(make):
    run = Run(of_all(make, **({"momentum": 0.9} if make is torch.optim.SGD else {})))
    run.closure()
    run.tensors["last/bias"].grad = None
    run.optimizer.step()
    with pytest.raises(ValueError, match="differently often"):
        ours.convert(run.optimizer, params=abstract(), names=run.tensors)


def test_the_middle_of_an_epoch_is_told_where_torch_does_not_know_it():
    run = Run(
        of_all(torch.optim.SGD, lr=0.1, momentum=0.9), lambda optimizer: theirs.StepLR(optimizer, 1)
    )
    for step in range(7):  # two epochs of three steps, and one more
        run.step(scheduled=step % 3 == 2)
    given = {"params": abstract(), "names": run.tensors, "steps_per_epoch": 3}
    tx, state, _ = ours.convert(run.optimizer, run.scheduler, **given, updates=7)
    rates = []
    for _ in range(3):
        rates.append(float(fnopt.hyperparameters(tx, state)["learning_rate"]))
        _, state = tx.update(shapes(), state, shapes())
    assert rates == pytest.approx([1e-3, 1e-3, 1e-4])
    with pytest.raises(ValueError, match=r"should have been stepped 1 times, not 2.*updates="):
        ours.convert(run.optimizer, run.scheduler, **given, updates=5)


@pytest.mark.parametrize("name", ["ASGD", "Adafactor", "Rprop", "LBFGS"])
def test_a_plateau_behind_what_it_would_not_shorten_is_refused(name):
    run = Run(of_all(getattr(torch.optim, name)), theirs.ReduceLROnPlateau)
    with pytest.raises(ValueError, match="plateau"):
        ours.convert(run.optimizer, run.scheduler)


def test_a_scheduler_that_does_not_fit_is_refused():
    run = Run(of_all(torch.optim.SGD, lr=0.1))
    other = theirs.StepLR(Run(of_all(torch.optim.SGD, lr=0.2)).optimizer, 3)
    with pytest.raises(ValueError, match="another optimizer's"):
        ours.convert(run.optimizer, other)
    with pytest.raises(TypeError, match="one scheduler"):
        ours.convert(run.optimizer, [theirs.StepLR(run.optimizer, 3)])
    run = Run(of_all(torch.optim.SGD, lr=0.1), lambda o: theirs.MultiplicativeLR(o, lambda e: 0.9))
    for _ in range(4):
        run.step()
    for steps, refused in ((4, True), (5, False)):
        if refused:
            with pytest.raises(ValueError, match="4 are behind already"):
                ours.convert(run.optimizer, run.scheduler, steps=steps)
        else:
            ours.convert(run.optimizer, run.scheduler, steps=steps)


def test_a_group_that_came_after_the_scheduler_is_refused():
    run = Run(only("first/kernel", "first/bias", "conv/kernel", make=torch.optim.Adam))
    run.scheduler = theirs.ExponentialLR(run.optimizer, 0.5)
    late = [run.tensors["last/kernel"], run.tensors["last/bias"]]
    run.optimizer.add_param_group({"params": late, "lr": 0.03})
    with pytest.raises(ValueError, match="group 1 was added after the scheduler"):
        ours.convert(run.optimizer, run.scheduler, params=abstract(), names=run.tensors)


def test_one_tensor_is_one_leaf():
    net = torch.nn.Linear(3, 3)
    optimizer = torch.optim.SGD(net.parameters())
    params = {"a": jnp.zeros((3, 3)), "b": jnp.zeros((3, 3)), "bias": jnp.zeros(3)}
    names = {"a": net.weight, "b": net.weight, "bias": net.bias}
    with pytest.raises(ValueError, match="'a' and 'b' are one tensor"):
        ours.convert(optimizer, params=params, names=names)
    with pytest.raises(ValueError, match=r"not its \.data"):
        data = {"a": net.weight.data, "b": net.weight.data, "bias": net.bias}
        ours.convert(optimizer, params=params, names=data)


@pytest.mark.parametrize("name", ["Adam", "Adagrad", "RMSprop"])
def test_complex_parameters_go_on(name):
    theta = torch.tensor([1 + 2j, -0.5 + 0.1j], dtype=torch.complex128, requires_grad=True)
    optimizer = getattr(torch.optim, name)([theta], lr=0.05)

    def step():
        optimizer.zero_grad()
        (theta.abs() ** 4 + theta.real**2).sum().backward()
        optimizer.step()

    for _ in range(3):
        step()
    with jax.enable_x64(True):
        tx, state, params = ours.convert(
            optimizer, params={"w": jnp.zeros(2, jnp.complex128)}, names={"w": theta}
        )
        for _ in range(3):
            step()
            grads = jax.grad(lambda p: jnp.sum(jnp.abs(p["w"]) ** 4 + p["w"].real ** 2))(params)
            grads = jax.tree.map(jnp.conj, grads)
            updates, state = tx.update(grads, state, params)
            params = optax.apply_updates(params, updates)
        np.testing.assert_allclose(params["w"], theta.detach().numpy(), rtol=1e-9)
