"""Train with JAX alone: train_jax.py STORE EPOCHS."""

import sys

import jax
import jax.numpy as jnp
import numpy as np

import tiering

path, epochs = sys.argv[1], int(sys.argv[2])
store = tiering.open_store(path)
crop = tiering.RandomResizedCrop(64, flip=0.5, layout="NHWC")
# All batches have one shape, so that the step is compiled once.
loader = tiering.Loader(store, 32, seed=0, images=crop, drop_last=True)


def network(weights, images):
    found = images / 255
    for kernel, stride in ((weights[0], 4), (weights[1], 3)):
        layout = ("NHWC", "HWIO", "NHWC")
        found = jax.lax.conv_general_dilated(found, kernel, (stride, stride), "VALID", dimension_numbers=layout)
        found = jax.nn.relu(found)
    return found.reshape(len(found), -1) @ weights[2]


@jax.jit
def step(weights, momenta, images, labels):
    def mean_loss(weights):
        chosen = jnp.take_along_axis(jax.nn.log_softmax(network(weights, images)), labels[:, None], axis=1)
        return -chosen.mean()

    loss, slopes = jax.value_and_grad(mean_loss)(weights)
    momenta = jax.tree.map(lambda momentum, slope: 0.9 * momentum + slope, momenta, slopes)
    return jax.tree.map(lambda weight, momentum: weight - 0.02 * momentum, weights, momenta), momenta, loss


shapes = [(7, 7, 3, 32), (5, 5, 32, 64), (1024, len(store.manifest.classes))]
random = np.random.default_rng(0)
weights = [jnp.asarray(random.normal(0, (2 / np.prod(each[:-1])) ** 0.5, each), jnp.float32) for each in shapes]
momenta = jax.tree.map(jnp.zeros_like, weights)
for epoch in range(epochs):
    losses = []
    for batch in loader.epoch(epoch):
        weights, momenta, loss = step(weights, momenta, jax.device_put(batch.images), jax.device_put(batch.labels))
        losses.append(loss)  # a device's number: reading it now would wait for the step
    print(f"epoch {epoch}: loss {np.mean(losses):.4f}")
