"""Wrong inputs of minimize and what is answered: one sentence or two, with cause and cure."""

from __future__ import annotations

import math
import re
import traceback
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_minimize import full_newton

import fnopt

X = jnp.ones(2)
NEWTON = full_newton()


def bowl(x):
    return jnp.sum(x**2)


def logarithm(x):
    return jnp.sum(jnp.log(x["w"]))


def of_numpy(x):
    return np.sum(np.asarray(x) ** 2)


def decides(x):
    return bowl(x) if x[0] > 0 else -bowl(x)


def counts(x, n):
    return sum(bowl(x) for _ in range(n))


def minimize(*args: Any, **kwargs: Any) -> Any:
    return lambda: fnopt.minimize(*args, **{"method": NEWTON, **kwargs})


class Row(NamedTuple):
    """A wrong input, and patterns of the cause and of the cure."""

    name: str
    call: Any
    error: type[Exception]
    cause: str
    cure: str


ROWS = [
    Row("no_scalar", minimize(lambda x: x**2, X), TypeError,
        r"fun must return a scalar, got float32\[2\]", r"jnp.sum.*fnopt.least_squares"),
    Row("one_element", minimize(lambda x: x[:1], X), TypeError,
        r"scalar, got float32\[1\]", r"return one number"),
    Row("integer", minimize(lambda x: jnp.int32(1), X), TypeError,
        r"scalar, got int32\[\]", "a real floating-point number"),
    Row("complex", minimize(lambda x: jax.lax.complex(*x), X), TypeError,
        r"scalar, got complex64\[\]", "a real floating-point number"),
    Row("nothing", minimize(lambda x: None, X), TypeError, "scalar, got None", "return one number"),
    Row("pair", minimize(lambda x: (bowl(x), x), X), TypeError,
        r"scalar, got \(float32\[\], float32\[2\]\)", "has_aux=True"),
    Row("no_pair", minimize(bowl, X, has_aux=True), TypeError,
        r"has_aux=True fun must return a pair.*float32\[\]", "return loss, aux"),
    Row("nan_at_start", minimize(logarithm, {"w": -X}), ValueError,
        "the loss at x0 is nan", "another x0.*jnp.where"),
    Row("gradient_at_start", minimize(lambda x: jnp.sqrt(x["w"][0]), {"w": 0 * X}), ValueError,
        r"the gradient at x0 is not finite in x0\['w'\]", "another x0"),
    Row("crossed", minimize(bowl, {"w": X}, bounds=({"w": X}, {"w": X - 2})), ValueError,
        r"lower bound of params\['w'\] is above the upper", "exchange them"),
    Row("no_bounds", minimize(bowl, X, method="adam", bounds=(0, 1)), ValueError,
        "adam takes no bounds", "method='lbfgsb'.*jnp.exp"),
    Row("lists", minimize(bowl, X, bounds=([0, 1], [0, 2])), TypeError,
        r"\(lower, upper\) or pairs of variables", r"jnp.array\(lower\).*list of tuples"),
    Row("few_pairs", minimize(bowl, jnp.ones(3), bounds=[(0, 1)] * 2), TypeError,
        "bounds must be a pair", r"\(low, high\) for each"),
    Row("pairs_of_a_tuple", minimize(lambda x: x[0] ** 2 + x[1] ** 2, (1.0, 1.0),
        bounds=[(0, 1), (0, 1)]), TypeError, r"bounds must be a pair", "for a vector x0 a list"),
    Row("nan_in_bounds", minimize(bowl, X, bounds=(np.array([0, np.nan]), 1)), ValueError,
        r"lower bound of params is NaN, array\(\[ 0\., nan\]\)", "None or an infinite number"),
    Row("shape_of_bounds", minimize(bowl, X, bounds=(jnp.ones(3), 2)), ValueError,
        r"bound of params has shape \(3,\)", r"expected that of the parameter, \(2,\)"),
    Row("complex_in_bounds", minimize(lambda z: jnp.abs(z), 1j, bounds=(0, 1)), TypeError,
        "complex parameters have no bounds", "split_real_and_imaginary"),
    Row("jac", minimize(bowl, X, jac=jax.grad(bowl)), TypeError,
        "no argument 'jac'", "jax differentiates fun itself; leave it out"),
    Row("hess", minimize(bowl, X, hess=jax.hessian(bowl)), TypeError, "'hess'", "leave it out"),
    Row("options", minimize(bowl, X, options={"maxiter": 3}), TypeError, "'options'", "maxiter=…"),
    Row("callback", minimize(bowl, X, callback=print), TypeError, "'callback'", "jax.debug.print"),
    Row("constraints", minimize(bowl, X, constraints=()), TypeError, "'constraints'", "penalty"),
    Row("kwargs", minimize(bowl, X, kwargs={}), TypeError, "'kwargs'", "lambda x: fun"),
    Row("disp", minimize(bowl, X, disp=True), TypeError, "'disp'", "print the result"),
    Row("misspelt", minimize(bowl, X, maxiters=3), TypeError,
        "no argument 'maxiters'", "did you mean 'maxiter'"),
    Row("no_such", minimize(bowl, X, zz=3), TypeError, "no argument 'zz'", "it has fun, x0, args"),
    Row("no_x0", minimize(bowl), TypeError, "missing.*'x0'", r"Call fnopt.minimize\(fun, x0\)"),
    Row("method", minimize(bowl, X, method="adamm"), ValueError,
        "no method 'adamm'", r"did you mean 'adam'\? fnopt.optimizers\(\)"),
    Row("scipy_s_alone", minimize(bowl, X, method="Nelder-Mead"), ValueError,
        "no method 'Nelder-Mead'", r"fnopt.optimizers\(\) has all"),
    Row("of_residuals", minimize(bowl, X, method="levenberg_marquardt"), ValueError,
        "the evaluation has no outputs", r"fnopt.least_squares\(residuals, x0\)"),
    Row("needs_more", minimize(bowl, X, method="dpsgd"), TypeError,
        "dpsgd needs l2_norm_clip, noise_multiplier, seed", r"as a value, fnopt.dpsgd\("),
    Row("uncalled", minimize(bowl, X, method=fnopt.adam), TypeError,
        "adam is a class", r"call it.*fnopt.adam\("),
    Row("number_as_method", minimize(bowl, X, method=0.1), TypeError,
        "expected a transform, of fnopt or of optax, got 0.1", "fnopt.scale"),
    Row("numpy", minimize(of_numpy, X), TypeError,
        "fun gives a traced array to NumPy", r"jax.numpy.*jax.pure_callback"),
    Row("math", minimize(lambda x: math.sqrt(x[0]), X), TypeError,
        r"fun needs the value of a traced array", "jnp.where"),
    Row("if", minimize(decides, X), TypeError, "as an `if`, float", r"jax.lax.cond"),
    Row("range", minimize(counts, X, 3), TypeError, "fun needs the value", "close over"),
    Row("args", minimize(bowl, X, (1, 2)), TypeError,
        r"fun is called as fun\(x, args\[0\], args\[1\]\), and too many", r"args=\(…\)"),
    Row("no_args", minimize(counts, X), TypeError,
        r"called as fun\(x\), and missing a required argument: 'n'", r"lambda x: fun\(x, a\)"),
    Row("swapped", minimize(X, bowl), TypeError,
        "fun must be a function of x, got", r"minimize\(fun, x0\)"),
    Row("text", minimize(bowl, {"w": "a"}), TypeError,
        r"x0\['w'\] is 'a' \(str\)", "an array of numbers or a tree"),
    Row("function_as_x0", minimize(bowl, bowl), TypeError,
        "x0 is <function bowl", "where the search begins"),
    Row("none", minimize(bowl, None), TypeError, "x0 is None", "where the search begins"),
    Row("list", minimize(lambda x: jnp.sum((x - 1.0) ** 2), [1.0, 2.0]), TypeError,
        r"fun raised TypeError \(unsupported operand.*x0 is a list", r"jnp.array\(\[…\]\)"),
    Row("list_in_args", minimize(lambda x, a: jnp.sum((x - a) ** 2), X, [1.0, 2.0]), TypeError,
        r"fun raised TypeError.*args\[0\] is a list", r"jnp.array\(\[…\]\)"),
    Row("text_in_args", minimize(lambda x, a: bowl(x), X, "fast"), TypeError,
        r"args\[0\] is 'fast' \(str\)", r"close over it, as in minimize\(lambda x: fun"),
    Row("tol", minimize(bowl, X, tol=-1), ValueError, "tol must be one number.*got -1", "negative"),
    Row("tol_of_text", minimize(bowl, X, tol="1e-3"), TypeError, "tol must be a number", "'1e-3'"),
    Row("ftol", minimize(bowl, X, ftol=np.nan), ValueError, "ftol must be one number", "nan"),
    Row("maxiter", minimize(bowl, X, maxiter=1.5), TypeError, "maxiter must be an integer", "1.5"),
    Row("few", minimize(bowl, X, maxiter=-1), ValueError, "maxiter must be at least 0", "-1"),
    Row("by_hand", lambda: NEWTON.update(X, NEWTON.init(X), X), ValueError,
        "full_newton needs a function of the parameters", "value_fn=…"),
]  # fmt: skip


@pytest.mark.parametrize("row", [pytest.param(row, id=row.name) for row in ROWS])
def test_a_mistake_is_answered(row: Row):
    with pytest.raises(row.error) as refusal:
        row.call()
    text = str(refusal.value)
    assert re.search(row.cause, text), text
    assert re.search(row.cure, text), text
    assert len(text) <= 400 and "\n" not in text
    assert type(refusal.value) is row.error


def test_a_mistake_within_the_function_shows_its_line():
    jax.config.update("jax_traceback_filtering", "auto")
    try:
        with pytest.raises(TypeError) as refusal:
            fnopt.minimize(of_numpy, X, method=NEWTON)
    finally:
        jax.config.update("jax_traceback_filtering", "off")
    lines = [entry.name for entry in traceback.extract_tb(refusal.value.__traceback__)]
    assert "of_numpy" in lines and len(lines) <= 4
