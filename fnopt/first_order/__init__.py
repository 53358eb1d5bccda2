"""Methods that need nothing but the gradient, one a file.

What they hold to, beside their equations: a quotient whose divisor is 0 is 0, be it that an eps of
0 meets no gradient, or one whose square is too small for its precision (of :class:`sophia` only
0 / 0 is, since its steps are clipped). A rate of 0 leaves the parameters in place, but for what a
velocity or an average of earlier steps still moves, and spoils nothing for the updates after it.
Finite gradients give finite updates, and no NaN in the state: where a square is too large for its
precision, the step is 0 or bounded.
"""
