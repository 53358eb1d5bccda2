"""How parameters begin: initializers, rescaling of a whole tree, and the diagnosis of a start.

It imports :mod:`fnopt.layers` and :mod:`fnopt.pretrained`, never the other way round, and has the
names of the latter and of ``fnopt.wrap.fine_tuning`` too.
"""

from jax.nn.initializers import Initializer as Initializer
from jax.nn.initializers import constant as constant
from jax.nn.initializers import delta_orthogonal as delta_orthogonal
from jax.nn.initializers import glorot_normal as glorot_normal
from jax.nn.initializers import glorot_uniform as glorot_uniform
from jax.nn.initializers import he_normal as he_normal
from jax.nn.initializers import he_uniform as he_uniform
from jax.nn.initializers import kaiming_normal as kaiming_normal
from jax.nn.initializers import kaiming_uniform as kaiming_uniform
from jax.nn.initializers import lecun_normal as lecun_normal
from jax.nn.initializers import lecun_uniform as lecun_uniform
from jax.nn.initializers import normal as normal
from jax.nn.initializers import ones as ones
from jax.nn.initializers import orthogonal as orthogonal
from jax.nn.initializers import truncated_normal as truncated_normal
from jax.nn.initializers import uniform as uniform
from jax.nn.initializers import variance_scaling as variance_scaling
from jax.nn.initializers import xavier_normal as xavier_normal
from jax.nn.initializers import xavier_uniform as xavier_uniform
from jax.nn.initializers import zeros as zeros

from fnopt.core.exports import public as _public
from fnopt.initialize.diagnose import diagnose as diagnose
from fnopt.initialize.diagnosis import Diagnosis as Diagnosis
from fnopt.initialize.dirac import dirac as dirac
from fnopt.initialize.faults import Fault as Fault
from fnopt.initialize.fixup import fixup as fixup
from fnopt.initialize.fixup import zero_last_layer as zero_last_layer
from fnopt.initialize.gain import GAINS as GAINS
from fnopt.initialize.gain import by_activation as by_activation
from fnopt.initialize.gain import calculate_gain as calculate_gain
from fnopt.initialize.identity_kernel import identity as identity
from fnopt.initialize.lsuv import lsuv as lsuv
from fnopt.initialize.mup import Mup as Mup
from fnopt.initialize.mup import mup as mup
from fnopt.initialize.sparse import sparse as sparse
from fnopt.initialize.torch_names import constant_ as constant_
from fnopt.initialize.torch_names import dirac_ as dirac_
from fnopt.initialize.torch_names import eye_ as eye_
from fnopt.initialize.torch_names import kaiming_normal_ as kaiming_normal_
from fnopt.initialize.torch_names import kaiming_uniform_ as kaiming_uniform_
from fnopt.initialize.torch_names import normal_ as normal_
from fnopt.initialize.torch_names import ones_ as ones_
from fnopt.initialize.torch_names import orthogonal_ as orthogonal_
from fnopt.initialize.torch_names import sparse_ as sparse_
from fnopt.initialize.torch_names import trunc_normal_ as trunc_normal_
from fnopt.initialize.torch_names import uniform_ as uniform_
from fnopt.initialize.torch_names import xavier_normal_ as xavier_normal_
from fnopt.initialize.torch_names import xavier_uniform_ as xavier_uniform_
from fnopt.initialize.torch_names import zeros_ as zeros_
from fnopt.pretrained import Pretrained as Pretrained
from fnopt.pretrained import PretrainedReport as PretrainedReport
from fnopt.pretrained import load_pretrained as load_pretrained
from fnopt.pretrained import pretrain_layerwise as pretrain_layerwise
from fnopt.pretrained import save_pretrained as save_pretrained
from fnopt.pretrained import torch_layout as torch_layout
from fnopt.wrap.fine_tuning import discriminative as discriminative
from fnopt.wrap.fine_tuning import unfreeze_gradually as unfreeze_gradually

layout = torch_layout

__all__ = _public(globals(), ("layout", "torch_layout"))  # pyright: ignore[reportUnsupportedDunderAll]
