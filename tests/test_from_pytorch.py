"""The page for those who come from PyTorch: what it shows runs, what it names is there."""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import fnopt

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "from_pytorch.md"
SCRIPTS = ROOT / "examples" / "from_pytorch"
TEXT = PAGE.read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
PROSE = re.sub(r"```.*?```", "", TEXT, flags=re.DOTALL)

pytestmark = [
    pytest.mark.beside_optax,
    pytest.mark.filterwarnings("default"),  # what torch warns of is torch's
]


def needs_torch():
    return pytest.importorskip("torch", reason="this is compared with torch")


@pytest.fixture
def scripts(monkeypatch):
    """Imports a script of the example by its name."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    torch = importlib.import_module("torch") if importlib.util.find_spec("torch") else None
    threads = torch and torch.get_num_threads()
    if torch:
        torch.set_num_threads(1)  # its threads and XLA's would wait for each other
    yield importlib.import_module
    if torch:
        torch.set_num_threads(threads)
    for name in [path.stem for path in SCRIPTS.glob("*.py")]:
        sys.modules.pop(name, None)


def block_with(words):
    (block,) = (block for block in BLOCKS if words in block)
    return block


# What is quoted and what is shown.


@pytest.mark.parametrize("name", ["torch_digits.py", "fnopt_digits.py"])
def test_the_page_quotes_the_whole_script(name):
    assert (SCRIPTS / name).read_text() in BLOCKS


def test_the_page_quotes_how_weights_are_copied():
    block = block_with("def copy_weights")
    assert block in (SCRIPTS / "same_start.py").read_text()


def test_the_first_block_runs():
    namespace: dict = {}
    exec(BLOCKS[0], namespace)
    np.testing.assert_allclose(namespace["params"]["w"], 2.99, atol=0.005)


def test_the_rate_is_read_and_set():
    import fnopt.compat.torch as torch_optim

    tx = torch_optim.AdamW(lr=torch_optim.lr_scheduler.CosineAnnealingLR(0.1, T_max=2))
    params = jnp.ones(3)
    _, state = tx.update(params, tx.init(params), params)
    np.testing.assert_allclose(fnopt.hyperparameters(tx, state)["learning_rate"], 0.05, rtol=1e-6)
    assert torch_optim.AdamW(lr=0.1).replace(lr=0.2) == torch_optim.AdamW(lr=0.2)


def test_the_block_that_converts_a_run_of_torch_runs():
    needs_torch()
    namespace: dict = {}
    exec(block_with("convert(optimizer"), namespace)
    layer, params = namespace["layer"], namespace["params"]
    np.testing.assert_array_equal(params["bias"], layer.bias.detach().numpy())
    grads = jax.tree.map(jnp.ones_like, params)
    updates, _ = namespace["tx"].update(grads, namespace["state"], params)
    assert jax.tree.all(jax.tree.map(lambda u: bool(jnp.isfinite(u).all()), updates))


# What is named.


def resolve(name):
    """The thing of a dotted name, its modules imported on the way."""
    head, *rest = name.split(".")
    found = importlib.import_module(head)
    for i, part in enumerate(rest):
        if not hasattr(found, part):
            importlib.import_module(".".join([head, *rest[: i + 1]]))
        found = getattr(found, part)
    return found


CODE = " ".join(re.findall(r"`([^`]+)`", PROSE))
NAMES = sorted(
    set(re.findall(r"(?<![\w.])(?:fnopt|optax|jax)(?:\.[A-Za-z_]\w*)+", CODE))
    | {f"fnopt.compat.torch.{n}" for n in re.findall(r"\btorch_optim\.([A-WYZ]\w*)", CODE)}
    | {f"fnopt.compat.torch.{n}" for n in re.findall(r"\b(init\.\w+)", CODE)}
)


@pytest.mark.parametrize("name", NAMES)
def test_what_the_page_names_is_there(name):
    resolve(name)


def table(title):
    """The first cells of the rows of the table under a title."""
    section = TEXT.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    return re.findall(r"^\| `(\w+)", section, re.MULTILINE)


OPTIMIZERS = sorted(set(table("Optimizers")) - {"SparseAdam"})
SCHEDULERS = sorted(set(table("Schedulers")))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_of_the_table_is_there(name):
    assert callable(resolve(f"fnopt.compat.torch.{name}"))


@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_scheduler_of_the_table_is_there(name):
    assert callable(resolve(f"fnopt.compat.torch.lr_scheduler.{name}"))


def test_the_tables_have_all_of_torch():
    torch = needs_torch()
    named = {name for name, made in vars(torch.optim).items() if isinstance(made, type)}
    assert set(table("Optimizers")) == named - {"Optimizer"}
    module = torch.optim.lr_scheduler
    got = {name for name in module.__all__ if name != "LRScheduler"}
    assert set(SCHEDULERS) == got


def anchors(text):
    """Those that GitHub and the documentation make of headings."""
    titles = re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", text, flags=re.S), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_links_resolve():
    links = re.findall(r"\]\(([^)]+)\)", PROSE)
    assert len(links) > 8
    for link in links:
        path, _, anchor = link.partition("#")
        target = PAGE.parent / path if path else PAGE
        assert target.exists(), link
        assert not anchor or anchor in anchors(target.read_text()), link


@pytest.mark.parametrize("page", ["README.md", "docs/index.md"])
def test_the_page_is_linked(page):
    assert "from_pytorch" in (ROOT / page).read_text()


# What is claimed.


def path_of(tx, steps=8):
    """Where an optimizer goes from 1 on the parabola, in double precision."""
    with jax.enable_x64(True):
        x = jnp.ones(1)
        state, path = tx.init(x), []
        for _ in range(steps):
            updates, state = tx.update(2 * x, state, x)
            x = optax.apply_updates(x, updates)
            path.append(float(x[0]))
    return path


def path_of_torch(name, arguments, scheduled=False, steps=8):
    torch = needs_torch()
    x = torch.ones(1, dtype=torch.float64, requires_grad=True)
    optimizer = getattr(torch.optim, name)([x], **{"lr": 0.1} | arguments)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 2, 0.1 if scheduled else 1.0)
    path = []
    for _ in range(steps):
        optimizer.zero_grad()
        x.square().sum().backward()
        optimizer.step()
        scheduler.step()
        path.append(x.item())
    return path


STAIRS = fnopt.step_decay(0.1, 0.1, 2)
RMS = {"decay": 0.99, "eps_in_sqrt": False}
SAME = {  # by the tables: what fnopt's own has the same as torch
    "SGD": ({"momentum": 0.9}, fnopt.sgd(0.1, momentum=0.9)),
    "SGD, penalty": (
        {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1},
        fnopt.chain(fnopt.add_l2(0.1), fnopt.sgd(0.1, momentum=0.9, nesterov=True)),
    ),
    "SGD, scheduled": ({"momentum": 0.9}, fnopt.sgd(STAIRS, momentum=0.9)),
    "Adam": ({"eps": 0.01}, fnopt.adam(0.1, eps=0.01)),
    "AdamW": ({"weight_decay": 0.1}, fnopt.adamw(0.1, weight_decay=0.1)),
    "AdamW, scheduled": ({"weight_decay": 0.1}, fnopt.adamw(STAIRS, weight_decay=0.1)),
    "Adamax": ({"eps": 0.01}, fnopt.adamax(0.1, eps=0.01)),
    "RAdam": ({"eps": 1e-13}, fnopt.radam(0.1, eps=1e-13)),
    "RMSprop": ({"eps": 0.01}, fnopt.rmsprop(0.1, eps=0.01, **RMS)),
    "RMSprop, momentum": ({"momentum": 0.9}, fnopt.rmsprop(0.1, momentum=0.9, **RMS)),
    "RMSprop, scheduled": (
        {"momentum": 0.9},
        fnopt.chain(fnopt.rmsprop(1.0, momentum=0.9, **RMS), fnopt.scale_by_schedule(STAIRS)),
    ),
    "Adagrad": ({}, fnopt.adagrad(0.1, initial_accumulator_value=0.0, eps=0.0)),
    "Adadelta": ({"lr": 1.0}, fnopt.adadelta(1.0)),
    "Rprop": ({}, fnopt.rprop(0.1)),
    "ASGD": ({"lambd": 0.1}, fnopt.asgd(0.1, lambd=0.1)),
}
OTHER = {  # by the list of differences: what differs
    "SGD, scheduled": ({"momentum": 0.9}, fnopt.heavy_ball(STAIRS, 0.9)),
    "Adam": ({"amsgrad": True}, fnopt.amsgrad(0.1)),
    "NAdam": ({}, fnopt.nadam(0.1)),
    "RAdam": ({"eps": 0.01}, fnopt.radam(0.1, eps=0.01)),
    "RMSprop": ({}, fnopt.rmsprop(0.1)),
    "RMSprop, scheduled": ({"momentum": 0.9}, fnopt.rmsprop(STAIRS, momentum=0.9, **RMS)),
    "Adagrad": ({}, fnopt.adagrad(0.1)),
    "Rprop": ({}, optax.rprop(0.1)),
    "ASGD, scheduled": ({"lambd": 0.1}, fnopt.asgd(STAIRS, lambd=0.1)),
    "Adafactor": ({"weight_decay": 0.1}, fnopt.adafactor(0.1, weight_decay_rate=0.1)),
}


def apart(name, arguments, tx):
    theirs = path_of_torch(name.partition(",")[0], arguments, "scheduled" in name)
    return np.max(np.abs(np.array(path_of(tx)) - theirs))


@pytest.mark.parametrize("name", SAME)
def test_what_the_page_calls_the_same_is(name):
    # torch keeps the rate of ASGD in float32, and Adagrad's epsilon of 1e-10 is not left out.
    assert apart(name, *SAME[name]) < (1e-7 if name in ("ASGD", "Adagrad") else 1e-12)


@pytest.mark.parametrize("name", OTHER)
def test_what_the_page_calls_different_is(name):
    assert apart(name, *OTHER[name]) > 1e-4


def test_the_formulas_of_what_differs_are_those_of_torch():
    """RAdam's epsilon, AMSGrad's maximum and NAdam's momentum, as the page writes them."""
    b1, b2, eps = 0.9, 0.999, 1e-8

    def path(direction):
        x, m, v, seen, out = 1.0, 0.0, 0.0, {"v": 0.0, "mu": 1.0}, []
        for t in range(1, 9):
            g = 2 * x
            m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
            x -= 0.1 * direction(t, g, m, v, seen)
            out.append(x)
        return out

    def amsgrad(t, g, m, v, seen):
        seen["v"] = max(seen["v"], v)
        return m / (1 - b1**t) / (np.sqrt(seen["v"] / (1 - b2**t)) + eps)

    def nadam(t, g, m, v, seen):
        mu, ahead = (b1 * (1 - 0.5 * 0.96 ** (0.004 * s)) for s in (t, t + 1))
        seen["mu"] *= mu
        mean = ahead * m / (1 - seen["mu"] * ahead) + (1 - mu) * g / (1 - seen["mu"])
        return mean / (np.sqrt(v / (1 - b2**t)) + eps)

    def radam(t, g, m, v, seen):
        limit = 2 / (1 - b2) - 1
        rho = limit - 2 * t * b2**t / (1 - b2**t)
        if rho <= 5:
            return m / (1 - b1**t)
        r = np.sqrt((rho - 4) * (rho - 2) * limit / ((limit - 4) * (limit - 2) * rho))
        return r * m / (1 - b1**t) * np.sqrt(1 - b2**t) / (np.sqrt(v) + 0.01)

    # NAdam's product of momenta is a float32 in torch.
    for name, arguments, direction in (
        ("Adam", {"amsgrad": True}, amsgrad),
        ("NAdam", {}, nadam),
        ("RAdam", {"eps": 0.01}, radam),
    ):
        np.testing.assert_allclose(path(direction), path_of_torch(name, arguments), rtol=1e-8)


def test_the_running_variance_is_unbiased_in_torch_and_biased_in_flax():
    torch = needs_torch()
    nnx = pytest.importorskip("flax.nnx")
    x = np.array([[0.0], [1.0], [2.0], [3.0]], np.float32)
    theirs = torch.nn.BatchNorm1d(1)
    ours = nnx.BatchNorm(1, momentum=0.9, rngs=nnx.Rngs(0))
    outputs = theirs(torch.tensor(x)).detach().numpy(), ours(jnp.array(x))
    np.testing.assert_allclose(*outputs, rtol=1e-5)
    np.testing.assert_allclose(theirs.running_mean.item(), float(ours.mean[0]), rtol=1e-6)
    np.testing.assert_allclose(theirs.running_var.item(), 0.9 + 0.1 * 1.25 * 4 / 3, rtol=1e-6)
    np.testing.assert_allclose(float(ours.var[0]), 0.9 + 0.1 * 1.25, rtol=1e-6)
    assert theirs.eps == ours.epsilon == 1e-5
    assert nnx.BatchNorm(1, rngs=nnx.Rngs(0)).momentum == 0.99
    assert torch.nn.LayerNorm(1).eps == torch.nn.GroupNorm(1, 1).eps == 1e-5
    assert nnx.LayerNorm(1, rngs=nnx.Rngs(0)).epsilon == 1e-6
    assert nnx.GroupNorm(1, num_groups=1, rngs=nnx.Rngs(0)).epsilon == 1e-6


def test_plateau_of_a_constant_negative_metric():
    torch = needs_torch()
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=1)
    ours = fnopt.reduce_on_plateau(patience=1)
    state, scales = ours.init(jnp.zeros(())), []
    for _ in range(4):
        scheduler.step(-1.0)
        update, state = ours.update(jnp.ones(()), state, value=-1.0)
        scales.append(round(float(update), 6))
    assert optimizer.param_groups[0]["lr"] == 1.0
    assert scales == [1.0, 1.0, 0.1, 0.1]


def test_one_cycle_of_optax_is_one_count_later():
    ours = fnopt.onecycle_schedule(0.04, 1.0, 0.04e-4, 10)
    theirs = optax.cosine_onecycle_schedule(10, 1.0)
    np.testing.assert_allclose(
        [ours(t) for t in range(2, 10)], [theirs(t + 1) for t in range(2, 10)], atol=1e-6
    )


# The port.


def test_the_script_of_fnopt_runs(scripts):
    history = scripts("fnopt_digits").main(epochs=1)
    assert history["loss"][0] < 1.5 and history["test_accuracy"][0] > 0.5


def test_the_script_of_torch_runs(scripts):
    needs_torch()
    history = scripts("torch_digits").main(epochs=1)
    assert history["loss"][0] < 1.5 and history["test_accuracy"][0] > 0.5


def test_both_have_the_same_images(scripts):
    needs_torch()
    theirs = scripts("torch_digits").digits()
    for (images, labels), (ours, our_labels) in zip(
        theirs, scripts("fnopt_digits").digits(), strict=True
    ):
        np.testing.assert_array_equal(images.permute(0, 2, 3, 1).numpy(), ours)
        np.testing.assert_array_equal(labels.numpy(), our_labels)


@pytest.mark.parametrize(
    ("dtype", "steps", "rtol"), [("float32", 20, 2e-6), ("float64", 10, 1e-13)]
)
def test_from_the_same_start_they_take_the_same_steps(scripts, dtype, steps, rtol):
    needs_torch()
    with jax.enable_x64(dtype == "float64"):
        theirs, ours = scripts("same_start").same_start(steps=steps, dtype=dtype)
    assert len(ours) == steps and ours[-1] < 0.5 * ours[0]
    np.testing.assert_allclose(ours, theirs, rtol=rtol)


def test_the_picture_can_be_drawn(scripts, tmp_path):
    needs_torch()
    pytest.importorskip("matplotlib")
    plot = scripts("plot")
    losses = {name: np.linspace([1.0], 0.1, plot.EPOCHS).T for name in ("torch", "fnopt")}
    differences = {dtype: np.full((10, plot.STEPS), 1e-7) for dtype in ("float32", "float64")}
    plot.draw(losses, differences).savefig(tmp_path / "picture.png")
    assert (tmp_path / "picture.png").stat().st_size > 10_000
