"""torch's step of the same methods, on its own parameters, in a CUDA graph too."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
from step_contenders import METHODS

TORCH = "torch"
GRAPH = "torch, CUDA graph"


def torch_tracks(method: str, params: Any, gradients: Sequence[Any]) -> dict[str, TorchTrack]:
    """torch's contenders by name; the one in a CUDA graph on GPUs alone."""
    found = {TORCH: TorchTrack(method, params, gradients)}
    if found[TORCH].on_gpu:
        found[GRAPH] = TorchTrack(method, params, gradients, graph=True)
    return found


class TorchTrack:
    """A step of torch on its own parameters and the same gradients.

    Args:
        method: a key of ``METHODS``.
        params: the parameters, which are copied.
        gradients: the gradients, which steps take in turn.
        graph: whether a step is the replay of a CUDA graph; each gradient has one.
    """

    def __init__(
        self, method: str, params: Any, gradients: Sequence[Any], graph: bool = False
    ) -> None:
        import torch

        self.params = [torch.from_dlpack(x).clone() for x in jax.tree.leaves(params)]
        self.on_gpu = self.params[0].is_cuda
        self.optimizer, self.kind = _optimizer(method, self.params, capturable=graph)
        of_torch = [[torch.from_dlpack(x) for x in jax.tree.leaves(grads)] for grads in gradients]
        self.calls = [functools.partial(self._step, grads) for grads in of_torch]
        if graph:
            self.calls = self._captured()

    def run(self, steps: int, warm: int = 0) -> float:
        """Seconds for some steps, after some that are not timed."""
        self._calls(warm)
        self._wait()
        start = time.perf_counter()
        self._calls(steps)
        self._wait()
        return time.perf_counter() - start

    def _calls(self, count: int) -> None:
        for i in range(count):
            self.calls[i % len(self.calls)]()

    def _step(self, grads: list[Any]) -> None:
        for param, grad in zip(self.params, grads, strict=True):
            param.grad = grad
        self.optimizer.step()

    def _captured(self) -> list[Callable[[], Any]]:
        """The steps as graphs, at the first parameters and an empty state."""
        import torch

        start = [param.clone() for param in self.params]
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):  # makes the state, as capture needs it
            self._calls(len(self.calls))
        torch.cuda.current_stream().wait_stream(side)
        graphs = []
        for call in self.calls:
            graphs.append(torch.cuda.CUDAGraph())
            with torch.cuda.graph(graphs[-1]):
                call()
        for param, first in zip(self.params, start, strict=True):
            param.copy_(first)
        for slots in self.optimizer.state.values():
            for slot in slots.values():
                slot.zero_()
        return [graph.replay for graph in graphs]

    def _wait(self) -> None:
        if self.on_gpu:
            import torch

            torch.cuda.synchronize()


def _optimizer(method: str, params: list[Any], capturable: bool) -> tuple[Any, str]:
    import torch

    numbers = METHODS[method]
    lr = numbers["learning_rate"]
    # SGD's steps can be captured as they are.
    captured: dict[str, Any] = {"capturable": True} if capturable else {}
    if method == "adamw":
        options = dict(
            betas=(numbers["b1"], numbers["b2"]),
            eps=numbers["eps"],
            weight_decay=numbers["weight_decay"],
        )
        return torch.optim.AdamW(params, lr=lr, fused=True, **options, **captured), "fused"
    if method == "sgd":
        return torch.optim.SGD(params, lr=lr, momentum=numbers["momentum"], fused=True), "fused"
    # torch has no fused RMSProp; on a CPU its own choice is faster than foreach.
    options = dict(alpha=numbers["decay"], eps=numbers["eps"])
    return torch.optim.RMSprop(params, lr=lr, **options, **captured), "default"
