"""Weights learnt before: from files and into files, and layer-wise pretraining without labels."""

from fnopt.core.exports import public as _public
from fnopt.pretrained import torch_layout as torch_layout
from fnopt.pretrained.layerwise import Pretrained as Pretrained
from fnopt.pretrained.layerwise import pretrain_layerwise as pretrain_layerwise
from fnopt.pretrained.load import load_pretrained as load_pretrained
from fnopt.pretrained.report import PretrainedReport as PretrainedReport
from fnopt.pretrained.save import save_pretrained as save_pretrained

__all__ = _public(globals(), ("torch_layout",))  # pyright: ignore[reportUnsupportedDunderAll]
