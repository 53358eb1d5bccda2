"""What a transform, a rule, a schedule and a chain are."""

from fnopt.core.checks import did_you_mean as did_you_mean
from fnopt.core.compose import Composed as Composed, chain as chain, named_chain as named_chain
from fnopt.core.fields import DType as DType, Number as Number, Static as Static, Steps as Steps
from fnopt.core.fields import Table as Table
from fnopt.core.moments import abs_sq as abs_sq, bias_correction as bias_correction
from fnopt.core.fields import as_number as as_number, as_numbers as as_numbers
from fnopt.core.moments import global_norm as global_norm
from fnopt.core.moments import moment as moment, real_zeros as real_zeros, zeros as zeros
from fnopt.core.parts import add_decayed_weights as add_decayed_weights, add_l2 as add_l2
from fnopt.core.parts import identity as identity, scale as scale
from fnopt.core.parts import scale_by_learning_rate as scale_by_learning_rate
from fnopt.core.parts import scale_by_schedule as scale_by_schedule, set_to_zero as set_to_zero
from fnopt.core.parts import trace as trace
from fnopt.core.rule import Mask as Mask, Rule as Rule
from fnopt.core.schedule import Decay as Decay, NonNegative as NonNegative, Positive as Positive
from fnopt.core.schedule import Rate as Rate, Scalar as Scalar, Schedule as Schedule
from fnopt.core.schedule import as_schedule as as_schedule, constant_schedule as constant_schedule
from fnopt.core.transform import Inner as Inner, Transform as Transform
from fnopt.core.transform import hyperparameters as hyperparameters
