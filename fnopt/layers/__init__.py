"""The layers of a traced program, of any framework, also stacked ones in loops."""

from fnopt.core.exports import public as _public
from fnopt.layers.gradients import Backward as Backward
from fnopt.layers.gradients import backward as backward
from fnopt.layers.gradients import by_repetition as by_repetition
from fnopt.layers.gradients import rows_by_unit as rows_by_unit
from fnopt.layers.layers import UNSEEN as UNSEEN
from fnopt.layers.layers import Layer as Layer
from fnopt.layers.layers import Layers as Layers
from fnopt.layers.layers import Loop as Loop
from fnopt.layers.program import Program as Program
from fnopt.layers.program import trace as trace
from fnopt.layers.repetitions import Repetition as Repetition

__all__ = _public(globals())  # pyright: ignore[reportUnsupportedDunderAll]
