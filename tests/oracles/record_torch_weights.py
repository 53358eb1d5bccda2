"""Records a network of torch for machines without torch: ``python record_torch_weights.py``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

HERE = Path(__file__).parent
WEIGHTS, OUTPUTS = HERE / "torch_weights.pt", HERE / "torch_weights.npz"


class TorchNet(nn.Module):
    """Convolutions (one in groups, one transposed), batch normalization, a flattened picture."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(2, 4, 3, padding=1)
        self.norm1 = nn.BatchNorm2d(4)
        self.conv2 = nn.Conv2d(4, 8, 3, padding=1, groups=2, bias=False)
        self.norm2 = nn.BatchNorm2d(8)
        self.up = nn.ConvTranspose2d(8, 8, 3, stride=2)
        self.layers = nn.Sequential(nn.Linear(8 * 9 * 7, 16), nn.ReLU(), nn.Linear(16, 5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = nn.functional.max_pool2d(torch.relu(self.norm1(self.conv1(x))), 2)
        x = self.up(torch.relu(self.norm2(self.conv2(x))))
        return self.layers(x.flatten(1))


def trained(seed: int) -> tuple[TorchNet, torch.Tensor]:
    """A network after some steps, so that no weight or statistic is as it began; and inputs."""
    torch.manual_seed(seed)
    net = TorchNet()
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    for _ in range(3):
        x = torch.randn(16, 2, 8, 6) * 2 + 1
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x), torch.randint(5, (16,))).backward()
        optimizer.step()
    with torch.no_grad():
        for layer in (net.layers[0], net.layers[2]):  # that outputs tell inputs apart
            layer.weight *= 6
    return net.eval(), torch.randn(4, 2, 8, 6)


def record() -> None:
    net, inputs = trained(0)
    torch.save(net.state_dict(), WEIGHTS)
    np.savez(OUTPUTS, inputs=inputs.numpy(), outputs=net(inputs).detach().numpy())


if __name__ == "__main__":
    record()
