"""Initializers, diagnosis of a start, pretrained weights, layer-wise pretraining."""

from fnopt.initialize.layerwise import Pretrained as Pretrained
from fnopt.initialize.layerwise import pretrain_layerwise as pretrain_layerwise
