"""Functional optimization for JAX: an optimizer is a value."""

# By hand: base classes, the parts that methods share, functions. Names alone, no code.
from optax import LookaheadParams as LookaheadParams
from optax import apply_updates as apply_updates
from optax import incremental_update as incremental_update
from optax import periodic_update as periodic_update
from optax import stateless as stateless
from optax import stateless_with_tree_map as stateless_with_tree_map
from optax import with_extra_args_support as with_extra_args_support
from optax.contrib import GaLoreDimensionNumbers as GaLoreDimensionNumbers

from fnopt.core import Composed as Composed
from fnopt.core import Joint as Joint
from fnopt.core import Packed as Packed
from fnopt.core import Packing as Packing
from fnopt.core import Rule as Rule
from fnopt.core import Schedule as Schedule
from fnopt.core import Transform as Transform
from fnopt.core import Wrapper as Wrapper
from fnopt.core import add_decayed_weights as add_decayed_weights
from fnopt.core import add_l2 as add_l2
from fnopt.core import add_schedules as add_schedules
from fnopt.core import by_epoch as by_epoch
from fnopt.core import chain as chain
from fnopt.core import constant_schedule as constant_schedule
from fnopt.core import ema as ema
from fnopt.core import hyperparameters as hyperparameters
from fnopt.core import identity as identity
from fnopt.core import multiply_schedules as multiply_schedules
from fnopt.core import named_chain as named_chain
from fnopt.core import negate_schedule as negate_schedule
from fnopt.core import scale as scale
from fnopt.core import scale_by_learning_rate as scale_by_learning_rate
from fnopt.core import scale_by_schedule as scale_by_schedule
from fnopt.core import set_to_zero as set_to_zero
from fnopt.core import trace as trace
from fnopt.core.select import decay_mask as decay_mask
from fnopt.core.subpackages import attribute as __getattr__  # noqa: F401 - Python calls it
from fnopt.core.subpackages import names as __dir__  # noqa: F401
from fnopt.first_order.asgd import asgd_eval_params as asgd_eval_params
from fnopt.first_order.schedule_free_eval import (
    schedule_free_eval_params as schedule_free_eval_params,
)
from fnopt.matrix.choice import MuonDimensionNumbers as MuonDimensionNumbers
from fnopt.matrix.layers_seen import matrices_of as matrices_of
from fnopt.matrix.optimizer import MatrixOptimizer as MatrixOptimizer
from fnopt.matrix.rule import MatrixRule as MatrixRule
from fnopt.matrix.table import matrices_table as matrices_table
from fnopt.registry import optimizer as optimizer
from fnopt.registry import optimizers as optimizers
from fnopt.registry import schedules as schedules
from fnopt.schedule.plot import plot as plot
from fnopt.solve.least_squares import least_squares as least_squares
from fnopt.solve.minimize import minimize as minimize
from fnopt.wrap.adaptive_grad_clip import unitwise_clip as unitwise_clip
from fnopt.wrap.adaptive_grad_clip import unitwise_norm as unitwise_norm
from fnopt.wrap.masked import freeze as freeze
from fnopt.wrap.partition import multi_transform as multi_transform
from fnopt.wrap.partition import selective_transform as selective_transform
from fnopt.wrap.per_example import per_example_global_norm_clip as per_example_global_norm_clip
from fnopt.wrap.per_example import per_example_layer_norm_clip as per_example_layer_norm_clip
from fnopt.wrap.skip import skip_large_updates as skip_large_updates
from fnopt.wrap.skip import skip_not_finite as skip_not_finite

# From here on written by `make generate`: the transforms and schedules of all modules.
# isort: off
from fnopt.curvature.adahessian import adahessian as adahessian
from fnopt.curvature.barzilai_borwein import barzilai_borwein as barzilai_borwein
from fnopt.curvature.bfgs import bfgs as bfgs
from fnopt.curvature.gauss_newton import gauss_newton as gauss_newton
from fnopt.curvature.gauss_newton import scale_by_gauss_newton as scale_by_gauss_newton
from fnopt.curvature.gauss_newton_bartlett import (
    gauss_newton_bartlett_estimator_diag_hessian as gauss_newton_bartlett_estimator_diag_hessian,
)
from fnopt.curvature.lbfgs import lbfgs as lbfgs
from fnopt.curvature.lbfgsb import lbfgsb as lbfgsb
from fnopt.curvature.levenberg_marquardt import levenberg_marquardt as levenberg_marquardt
from fnopt.curvature.natural_gradient import natural_gradient as natural_gradient
from fnopt.curvature.natural_gradient import scale_by_natural_gradient as scale_by_natural_gradient
from fnopt.curvature.newton import newton as newton
from fnopt.curvature.newton_cg import newton_cg as newton_cg
from fnopt.curvature.nonlinear_cg import nonlinear_cg as nonlinear_cg
from fnopt.curvature.scale_by_adahessian import scale_by_adahessian as scale_by_adahessian
from fnopt.curvature.scale_by_backtracking_linesearch import (
    scale_by_backtracking_linesearch as scale_by_backtracking_linesearch,
)
from fnopt.curvature.scale_by_barzilai_borwein import (
    scale_by_barzilai_borwein as scale_by_barzilai_borwein,
)
from fnopt.curvature.scale_by_bfgs import scale_by_bfgs as scale_by_bfgs
from fnopt.curvature.scale_by_hager_zhang_linesearch import (
    scale_by_hager_zhang_linesearch as scale_by_hager_zhang_linesearch,
)
from fnopt.curvature.scale_by_lbfgs import scale_by_lbfgs as scale_by_lbfgs
from fnopt.curvature.scale_by_newton import scale_by_newton as scale_by_newton
from fnopt.curvature.scale_by_nonlinear_cg import scale_by_nonlinear_cg as scale_by_nonlinear_cg
from fnopt.curvature.scale_by_nonmonotone_linesearch import (
    scale_by_nonmonotone_linesearch as scale_by_nonmonotone_linesearch,
)
from fnopt.curvature.scale_by_zoom_linesearch import (
    scale_by_zoom_linesearch as scale_by_zoom_linesearch,
)
from fnopt.curvature.sophia_g import sophia_g as sophia_g
from fnopt.curvature.sophia_h import sophia_h as sophia_h
from fnopt.curvature.trust_newton import trust_newton as trust_newton
from fnopt.first_order.acprop import acprop as acprop
from fnopt.first_order.acprop import scale_by_acprop as scale_by_acprop
from fnopt.first_order.adabelief import adabelief as adabelief
from fnopt.first_order.adabelief import scale_by_belief as scale_by_belief
from fnopt.first_order.adabound import adabound as adabound
from fnopt.first_order.adabound import scale_by_adabound as scale_by_adabound
from fnopt.first_order.adadelta import adadelta as adadelta
from fnopt.first_order.adadelta import scale_by_adadelta as scale_by_adadelta
from fnopt.first_order.adafactor import adafactor as adafactor
from fnopt.first_order.adagrad import adagrad as adagrad
from fnopt.first_order.adagrad import scale_by_rss as scale_by_rss
from fnopt.first_order.adam import adam as adam
from fnopt.first_order.adam import scale_by_adam as scale_by_adam
from fnopt.first_order.adam_mini import adam_mini as adam_mini
from fnopt.first_order.adam_mini import scale_by_adam_mini as scale_by_adam_mini
from fnopt.first_order.adamax import adamax as adamax
from fnopt.first_order.adamax import scale_by_adamax as scale_by_adamax
from fnopt.first_order.adamaxw import adamaxw as adamaxw
from fnopt.first_order.adamc import adamc as adamc
from fnopt.first_order.adamp import adamp as adamp
from fnopt.first_order.adamw import adamw as adamw
from fnopt.first_order.adan import adan as adan
from fnopt.first_order.adan import scale_by_adan as scale_by_adan
from fnopt.first_order.ademamix import ademamix as ademamix
from fnopt.first_order.ademamix import scale_by_ademamix as scale_by_ademamix
from fnopt.first_order.adopt import adopt as adopt
from fnopt.first_order.adopt import scale_by_adopt as scale_by_adopt
from fnopt.first_order.aggmo import aggmo as aggmo
from fnopt.first_order.aggmo import scale_by_aggmo as scale_by_aggmo
from fnopt.first_order.amsgrad import amsgrad as amsgrad
from fnopt.first_order.amsgrad import scale_by_amsgrad as scale_by_amsgrad
from fnopt.first_order.asgd import asgd as asgd
from fnopt.first_order.block import clip_by_block_rms as clip_by_block_rms
from fnopt.first_order.block import scale_by_param_block_norm as scale_by_param_block_norm
from fnopt.first_order.block import scale_by_param_block_rms as scale_by_param_block_rms
from fnopt.first_order.came import came as came
from fnopt.first_order.came import scale_by_came as scale_by_came
from fnopt.first_order.centralize import centralize as centralize
from fnopt.first_order.cocob import cocob as cocob
from fnopt.first_order.cocob import scale_by_cocob as scale_by_cocob
from fnopt.first_order.corrected_weight_decay import (
    add_corrected_weight_decay as add_corrected_weight_decay,
)
from fnopt.first_order.dadapt_adamw import dadapt_adamw as dadapt_adamw
from fnopt.first_order.dadapt_lion import dadapt_lion as dadapt_lion
from fnopt.first_order.dadapt_sgd import dadapt_sgd as dadapt_sgd
from fnopt.first_order.distance_over_gradients import (
    scale_by_distance_over_gradients as scale_by_distance_over_gradients,
)
from fnopt.first_order.dog import dog as dog
from fnopt.first_order.dog import scale_by_dog as scale_by_dog
from fnopt.first_order.dowg import dowg as dowg
from fnopt.first_order.dowg import scale_by_dowg as scale_by_dowg
from fnopt.first_order.factored import scale_by_factored_rms as scale_by_factored_rms
from fnopt.first_order.fromage import fromage as fromage
from fnopt.first_order.grokfast import grokfast_ema as grokfast_ema
from fnopt.first_order.grokfast import grokfast_ma as grokfast_ma
from fnopt.first_order.heavy_ball import heavy_ball as heavy_ball
from fnopt.first_order.hutchinson import (
    hutchinson_estimator_diag_hessian as hutchinson_estimator_diag_hessian,
)
from fnopt.first_order.hypergradient import hypergradient_adam as hypergradient_adam
from fnopt.first_order.hypergradient import hypergradient_sgd as hypergradient_sgd
from fnopt.first_order.lamb import lamb as lamb
from fnopt.first_order.laprop import laprop as laprop
from fnopt.first_order.laprop import scale_by_laprop as scale_by_laprop
from fnopt.first_order.lars import lars as lars
from fnopt.first_order.lion import lion as lion
from fnopt.first_order.lion import scale_by_lion as scale_by_lion
from fnopt.first_order.madgrad import madgrad as madgrad
from fnopt.first_order.madgrad import scale_by_madgrad as scale_by_madgrad
from fnopt.first_order.mars import correct_by_mars as correct_by_mars
from fnopt.first_order.mars import mars as mars
from fnopt.first_order.momo import momo as momo
from fnopt.first_order.momo_adam import momo_adam as momo_adam
from fnopt.first_order.nadam import nadam as nadam
from fnopt.first_order.nadamw import nadamw as nadamw
from fnopt.first_order.noisy_sgd import add_noise as add_noise
from fnopt.first_order.noisy_sgd import noisy_sgd as noisy_sgd
from fnopt.first_order.normalize import normalize as normalize
from fnopt.first_order.normalize import normalize_by_update_norm as normalize_by_update_norm
from fnopt.first_order.novograd import novograd as novograd
from fnopt.first_order.novograd import scale_by_novograd as scale_by_novograd
from fnopt.first_order.optimistic_adam import optimistic_adam as optimistic_adam
from fnopt.first_order.optimistic_adam import optimistic_adam_v2 as optimistic_adam_v2
from fnopt.first_order.optimistic_gradient_descent import (
    optimistic_gradient_descent as optimistic_gradient_descent,
)
from fnopt.first_order.optimistic_gradient_descent import (
    scale_by_optimistic_gradient as scale_by_optimistic_gradient,
)
from fnopt.first_order.polyak_sgd import polyak_sgd as polyak_sgd
from fnopt.first_order.polyak_sgd import scale_by_polyak as scale_by_polyak
from fnopt.first_order.primal_averaging import primal_averaging as primal_averaging
from fnopt.first_order.prodigy import prodigy as prodigy
from fnopt.first_order.qhadam import qhadam as qhadam
from fnopt.first_order.qhadam import scale_by_qhadam as scale_by_qhadam
from fnopt.first_order.qhm import qhm as qhm
from fnopt.first_order.qhm import scale_by_qhm as scale_by_qhm
from fnopt.first_order.quickprop import quickprop as quickprop
from fnopt.first_order.radam import radam as radam
from fnopt.first_order.radam import scale_by_radam as scale_by_radam
from fnopt.first_order.rms import scale_by_rms as scale_by_rms
from fnopt.first_order.rms import scale_by_stddev as scale_by_stddev
from fnopt.first_order.rmsprop import rmsprop as rmsprop
from fnopt.first_order.rprop import rprop as rprop
from fnopt.first_order.rprop import scale_by_rprop as scale_by_rprop
from fnopt.first_order.scale_by_sophia import scale_by_sophia as scale_by_sophia
from fnopt.first_order.schedule_free import schedule_free as schedule_free
from fnopt.first_order.schedule_free_adamw import schedule_free_adamw as schedule_free_adamw
from fnopt.first_order.schedule_free_adamw import schedule_free_sgd as schedule_free_sgd
from fnopt.first_order.sgd import sgd as sgd
from fnopt.first_order.sgdp import sgdp as sgdp
from fnopt.first_order.sgdw import sgdw as sgdw
from fnopt.first_order.sign_sgd import scale_by_sign as scale_by_sign
from fnopt.first_order.sign_sgd import sign_sgd as sign_sgd
from fnopt.first_order.signum import signum as signum
from fnopt.first_order.simplified_ademamix import (
    scale_by_simplified_ademamix as scale_by_simplified_ademamix,
)
from fnopt.first_order.simplified_ademamix import simplified_ademamix as simplified_ademamix
from fnopt.first_order.sm3 import scale_by_sm3 as scale_by_sm3
from fnopt.first_order.sm3 import sm3 as sm3
from fnopt.first_order.sophia import sophia as sophia
from fnopt.first_order.stable_adamw import stable_adamw as stable_adamw
from fnopt.first_order.swats import swats as swats
from fnopt.first_order.trust_ratio import scale_by_trust_ratio as scale_by_trust_ratio
from fnopt.first_order.yogi import scale_by_yogi as scale_by_yogi
from fnopt.first_order.yogi import yogi as yogi
from fnopt.matrix.adamuon import adamuon as adamuon
from fnopt.matrix.dion2 import dion2 as dion2
from fnopt.matrix.galore import galore as galore
from fnopt.matrix.grafting import grafted as grafted
from fnopt.matrix.hyperball import hyperball as hyperball
from fnopt.matrix.keep_norm import keep_norm as keep_norm
from fnopt.matrix.kfac import kfac as kfac
from fnopt.matrix.kl_soap import kl_soap as kl_soap
from fnopt.matrix.muon import muon as muon
from fnopt.matrix.muown import muown as muown
from fnopt.matrix.normuon import normuon as normuon
from fnopt.matrix.orthogonal import scale_by_orthogonalization as scale_by_orthogonalization
from fnopt.matrix.psgd_kron import psgd_kron as psgd_kron
from fnopt.matrix.qk_clip import qk_clip as qk_clip
from fnopt.matrix.scale_by_adamuon import scale_by_adamuon as scale_by_adamuon
from fnopt.matrix.scale_by_dion2 import scale_by_dion2 as scale_by_dion2
from fnopt.matrix.scale_by_galore import scale_by_galore as scale_by_galore
from fnopt.matrix.scale_by_kfac import scale_by_kfac as scale_by_kfac
from fnopt.matrix.scale_by_kl_soap import scale_by_kl_soap as scale_by_kl_soap
from fnopt.matrix.scale_by_muon import scale_by_muon as scale_by_muon
from fnopt.matrix.scale_by_muown import scale_by_muown as scale_by_muown
from fnopt.matrix.scale_by_normuon import scale_by_normuon as scale_by_normuon
from fnopt.matrix.scale_by_psgd_kron import scale_by_psgd_kron as scale_by_psgd_kron
from fnopt.matrix.scale_by_scion import scale_by_scion as scale_by_scion
from fnopt.matrix.scale_by_shampoo import scale_by_shampoo as scale_by_shampoo
from fnopt.matrix.scale_by_shape import scale_by_shape as scale_by_shape
from fnopt.matrix.scale_by_soap import scale_by_soap as scale_by_soap
from fnopt.matrix.scale_to_param_norm import scale_to_param_norm as scale_to_param_norm
from fnopt.matrix.scion import scion as scion
from fnopt.matrix.shampoo import shampoo as shampoo
from fnopt.matrix.soap import soap as soap
from fnopt.schedule.ademamix import ademamix_alpha_schedule as ademamix_alpha_schedule
from fnopt.schedule.ademamix import ademamix_b3_schedule as ademamix_b3_schedule
from fnopt.schedule.chebyshev import chebyshev_schedule as chebyshev_schedule
from fnopt.schedule.cyclic import cosine_annealing_schedule as cosine_annealing_schedule
from fnopt.schedule.cyclic import cyclic_schedule as cyclic_schedule
from fnopt.schedule.cyclic import onecycle_schedule as onecycle_schedule
from fnopt.schedule.decay import cosine_decay_schedule as cosine_decay_schedule
from fnopt.schedule.decay import linear_schedule as linear_schedule
from fnopt.schedule.decay import polynomial_schedule as polynomial_schedule
from fnopt.schedule.decay import rex_schedule as rex_schedule
from fnopt.schedule.exponential import exponential_decay as exponential_decay
from fnopt.schedule.exponential import inverse_time_decay as inverse_time_decay
from fnopt.schedule.exponential import natural_exponential_decay as natural_exponential_decay
from fnopt.schedule.exponential import step_decay as step_decay
from fnopt.schedule.join import join_schedules as join_schedules
from fnopt.schedule.join import multiplicative_schedule as multiplicative_schedule
from fnopt.schedule.piecewise import cosine_onecycle_schedule as cosine_onecycle_schedule
from fnopt.schedule.piecewise import linear_onecycle_schedule as linear_onecycle_schedule
from fnopt.schedule.piecewise import piecewise_constant_schedule as piecewise_constant_schedule
from fnopt.schedule.piecewise import (
    piecewise_interpolate_schedule as piecewise_interpolate_schedule,
)
from fnopt.schedule.plateau import reduce_on_plateau as reduce_on_plateau
from fnopt.schedule.power_cool import power_cool_schedule as power_cool_schedule
from fnopt.schedule.restarts import cosine_warm_restarts as cosine_warm_restarts
from fnopt.schedule.restarts import sgdr_schedule as sgdr_schedule
from fnopt.schedule.stable import inverse_sqrt_schedule as inverse_sqrt_schedule
from fnopt.schedule.stable import wsd_schedule as wsd_schedule
from fnopt.schedule.warmup import warmup_constant_schedule as warmup_constant_schedule
from fnopt.schedule.warmup import warmup_cosine_decay_schedule as warmup_cosine_decay_schedule
from fnopt.schedule.warmup import (
    warmup_exponential_decay_schedule as warmup_exponential_decay_schedule,
)
from fnopt.schedule.warmup import (
    warmup_polynomial_decay_schedule as warmup_polynomial_decay_schedule,
)
from fnopt.wrap.adaptive_grad_clip import adaptive_grad_clip as adaptive_grad_clip
from fnopt.wrap.apply_every import apply_every as apply_every
from fnopt.wrap.cautious import cautious as cautious
from fnopt.wrap.cautious_weight_decay import add_cautious_weight_decay as add_cautious_weight_decay
from fnopt.wrap.clip import clip as clip
from fnopt.wrap.clip import clip_by_global_norm as clip_by_global_norm
from fnopt.wrap.conditional import conditionally_mask as conditionally_mask
from fnopt.wrap.conditional import conditionally_transform as conditionally_transform
from fnopt.wrap.constrain import keep_params_nonnegative as keep_params_nonnegative
from fnopt.wrap.constrain import zero_nans as zero_nans
from fnopt.wrap.ema_nesterov import ema_nesterov as ema_nesterov
from fnopt.wrap.finite import apply_if_finite as apply_if_finite
from fnopt.wrap.groups import groups as groups
from fnopt.wrap.kahan import kahan as kahan
from fnopt.wrap.layout import flatten as flatten
from fnopt.wrap.layout import split_real_and_imaginary as split_real_and_imaginary
from fnopt.wrap.lookahead import lookahead as lookahead
from fnopt.wrap.masked import masked as masked
from fnopt.wrap.mechanize import mechanize as mechanize
from fnopt.wrap.monitor import measure_with_ema as measure_with_ema
from fnopt.wrap.monitor import monitor as monitor
from fnopt.wrap.multi_steps import MultiSteps as MultiSteps
from fnopt.wrap.outer_step import outer_step as outer_step
from fnopt.wrap.packed import packed as packed
from fnopt.wrap.partition import partition as partition
from fnopt.wrap.privacy import differentially_private_aggregate as differentially_private_aggregate
from fnopt.wrap.privacy import dpsgd as dpsgd
from fnopt.wrap.sam import sam as sam
from fnopt.wrap.scale_by_tree import scale_by_tree as scale_by_tree
from fnopt.wrap.snapshot import snapshot as snapshot
