"""Handwritten digits with PyTorch: a small convolutional network, and the recipe to be ported.

Run it with ``python examples/from_pytorch/torch_digits.py``.
"""

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

EPOCHS, BATCH_SIZE, SEED = 20, 64, 0


class Network(nn.Module):
    def __init__(self, dropout: float = 0.3):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(16)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(32)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(32 * 4 * 4, 10)

    def forward(self, x):  # (batch, 1, 8, 8)
        x = F.relu(self.norm1(self.conv1(x)))
        x = F.relu(self.norm2(self.conv2(x)))
        x = F.max_pool2d(x, 2)
        return self.head(self.dropout(x.flatten(1)))


def digits():
    images, labels = load_digits(return_X_y=True)
    images = torch.tensor(images / 16, dtype=torch.float32).reshape(-1, 1, 8, 8)
    rows = train_test_split(range(len(labels)), test_size=0.2, stratify=labels, random_state=0)
    return [(images[part], torch.tensor(labels[part])) for part in rows]


def recipe(model, steps):
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.05)
    return optimizer, torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps)


def train_step(model, optimizer, scheduler, images, labels):
    optimizer.zero_grad()
    loss = F.cross_entropy(model(images), labels)
    loss.backward()
    optimizer.step()
    scheduler.step()
    return loss.item()


def main(epochs=EPOCHS, seed=SEED):
    torch.manual_seed(seed)
    train, test = digits()
    loader = DataLoader(TensorDataset(*train), BATCH_SIZE, shuffle=True, drop_last=True)
    model = Network()
    optimizer, scheduler = recipe(model, steps=epochs * len(loader))
    history = {"loss": [], "test_accuracy": []}
    for _ in range(epochs):
        model.train()
        losses = [train_step(model, optimizer, scheduler, *batch) for batch in loader]
        model.eval()
        with torch.no_grad():
            right = model(test[0]).argmax(1) == test[1]
        history["loss"].append(sum(losses) / len(losses))
        history["test_accuracy"].append(right.float().mean().item())
    return history


if __name__ == "__main__":
    print(f"test accuracy {main()['test_accuracy'][-1]:.4f}")
