"""Batches from torch's DataLoader, to train and to validate.

Run it with ``python examples/recipes/torch_loader.py``.
"""

import torch
from flax import nnx
from torch.utils.data import DataLoader, Dataset

import fnopt
from fnopt.data import Batches, digits
from fnopt.train import accuracy, fit, objective
from fnopt.train.models import MLP


class Digits(Dataset):
    """Pictures that are moved by a pixel at random."""

    def __init__(self, images, labels, moved: bool):
        self.images, self.labels, self.moved = torch.tensor(images), torch.tensor(labels), moved

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        image = self.images[i]
        if self.moved:
            image = torch.roll(image, int(torch.randint(-1, 2, ())), dims=1)
        return image, self.labels[i]


def main(epochs: int = 20) -> float:
    torch.manual_seed(0)
    train, test = digits()
    loader = DataLoader(Digits(*train, moved=True), batch_size=64, shuffle=True, drop_last=True)
    validation = DataLoader(Digits(*test, moved=False), batch_size=100)

    task = objective(
        MLP(64, (128,), 10, dropout=0.2, rngs=nnx.Rngs(0)),
        "softmax_cross_entropy_with_integer_labels",
        metrics={"accuracy": accuracy},
    )
    # Batches moves the next batches to the device while one is in use; the loader alone works too.
    batches = Batches(loader)
    result = fit(task, fnopt.adamw(3e-3), batches, epochs=epochs, validation_data=validation)
    return float(result.history["val_accuracy"][-1])


if __name__ == "__main__":
    print(f"validation accuracy {main():.4f}")
