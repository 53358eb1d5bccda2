"""How the numbers in train.py were chosen: ``python examples/pretraining/tune.py``, some minutes.

No test example is used. A fifth of the training examples is held out; networks are pretrained
on the others, fine-tuned on a hundredth of them, and judged by the fifth, with other seeds than
those of train.py. Every start has the same grid of learning rates and steps, and three variants.
"""

import jax
import jax.numpy as jnp
import numpy as np
import train

from fnopt.data import digits, split

RATES, STEPS, SEEDS = (1e-3, 3e-3, 1e-2, 3e-2), (25, 50, 100, 200, 400, 800), range(100, 110)
VARIANTS = {
    **{name: ({},) for name in train.RANDOM},  # three of these are the variants of "random"
    "denoising": tuple({"corruption": q} for q in (0.1, 0.25, 0.5)),
    "RBM": tuple({"epochs": epochs} for epochs in (30, 60, 120)),
}


def main(depth: int = train.DEPTH):
    images, labels = train.flat(digits()[0])
    (images, labels), held_out = split((images, labels), 0.2, stratify=labels)
    keys = jax.vmap(jax.random.key)(jnp.array(SEEDS))
    few = np.stack([train.labelled(labels, seed) for seed in SEEDS])
    for name, variants in VARIANTS.items():
        for changes in variants:
            stack, chosen, best = train.start(name, keys, images, depth, **changes), [], []
            for layers in range(1, depth + 1):
                params, reached = train.shallower(stack, layers), {}
                for rate in RATES:
                    for steps in STEPS:
                        tuned = train.finetuned(params, images[few], labels[few], rate, steps)
                        reached[rate, steps] = float(train.accuracies(tuned, *held_out).mean())
                chosen.append(max(reached, key=lambda pair: reached[pair]))
                best.append(reached[chosen[-1]])
            shown = " ".join(f"{100 * x:.1f}" for x in best)
            print(
                f"{name:10} {changes} {shown}, mean {100 * np.mean(best):.2f}: {chosen}", flush=True
            )


if __name__ == "__main__":
    main()
