"""Other libraries' names and exact numbers, for those who come from them."""

from fnopt.compat import torch as torch
