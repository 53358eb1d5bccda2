"""Methods that need nothing but the gradient, one per file.

Beside their equations they guarantee:

- A quotient whose divisor is 0 is 0: where an eps of 0 meets no gradient, or a gradient whose
  square is too small for its precision (of :class:`sophia`, which clips its steps, only 0 / 0).
- A learning rate of 0 leaves the parameters as they are, except for what a velocity or an average
  of earlier steps still moves, and does no harm to later updates.
- Finite gradients give finite updates and no NaN in the state: where a square is too large for its
  precision, the step is 0 or bounded.
"""
