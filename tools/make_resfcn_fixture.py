"""Make tests/registration/fixtures/resfcn.*: a small resfcn256 run by TensorFlow itself.

Builds the network as PRNet's released predictor.py does, layer by layer and name by name, one
channel wide, from TensorFlow's own operations in float64; draws its weights; lets TensorFlow write
them as a checkpoint, with two of an optimiser's tensors beside them; and stores a picture and the
network's output for it. Needs an environment of its own, with TensorFlow 2.19:

    python -m pip install tensorflow-cpu==2.19.1 && python tools/make_resfcn_fixture.py
"""

from pathlib import Path

import numpy as np
import tensorflow as tf

OUT = Path(__file__).parents[1] / "tests" / "registration" / "fixtures"
WIDTH = 1
SIZE = (64, 96)  # height and width differ, lest they be mistaken for each other
COLUMN_STEP = 3  # every third column of the output is stored, which keeps the file small
EPSILON = 1e-3


class Builder:
    """Runs layers and keeps what it drew for them, float32, by name."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.tensors: dict[str, np.ndarray] = {}

    def keep(self, name: str, values: np.ndarray) -> tf.Tensor:
        self.tensors[name] = values.astype(np.float32)
        return tf.constant(self.tensors[name].astype(np.float64))

    def kernel(self, scope: str, shape: list[int], fan_in: int) -> tf.Tensor:
        return self.keep(f"{scope}/weights", self.rng.normal(0, (2 / fan_in) ** 0.5, shape))

    def norm(self, x: tf.Tensor, scope: str) -> tf.Tensor:
        """Batch norm with statistics near the layer's own, so that nothing dies or saturates."""
        mean, variance = (value.numpy() for value in tf.nn.moments(x, axes=[0, 1, 2]))
        draw, channels = self.rng, len(mean)
        scope += "/BatchNorm"
        mean += 0.2 * np.sqrt(variance) * draw.normal(size=channels)
        variance *= draw.uniform(0.7, 1.3, channels)
        return tf.nn.batch_normalization(
            x,
            self.keep(f"{scope}/moving_mean", mean),
            self.keep(f"{scope}/moving_variance", variance),
            self.keep(f"{scope}/beta", draw.normal(0.2, 0.2, channels)),
            self.keep(f"{scope}/gamma", draw.uniform(0.7, 1.3, channels)),
            EPSILON,
        )

    def conv(self, x: tf.Tensor, outputs: int, size: int, stride: int, scope: str) -> tf.Tensor:
        inputs = x.shape[3]
        kernel = self.kernel(scope, [size, size, inputs, outputs], size * size * inputs)
        return tf.nn.conv2d(x, kernel, stride, "SAME")

    def block(self, x: tf.Tensor, outputs: int, stride: int, scope: str) -> tf.Tensor:
        shortcut = x
        if stride != 1 or x.shape[3] != outputs:
            shortcut = self.conv(x, outputs, 1, stride, f"{scope}/shortcut")
        for number, (size, step) in enumerate([(1, 1), (4, stride)]):
            name = f"{scope}/Conv" + (f"_{number}" if number else "")
            x = tf.nn.relu(self.norm(self.conv(x, outputs // 2, size, step, name), name))
        x = self.conv(x, outputs, 1, 1, f"{scope}/Conv_2") + shortcut
        return tf.nn.relu(self.norm(x, scope))

    def transposed(self, x: tf.Tensor, outputs: int, stride: int, scope: str) -> tf.Tensor:
        _, height, width, inputs = x.shape
        kernel = self.kernel(scope, [4, 4, outputs, inputs], 16 * inputs // stride**2)
        shape = [1, height * stride, width * stride, outputs]
        return self.norm(tf.nn.conv2d_transpose(x, kernel, shape, stride, "SAME"), scope)

    def network(self, x: tf.Tensor) -> tf.Tensor:
        w, scope = WIDTH, "resfcn256"
        x = tf.nn.relu(self.norm(self.conv(x, w, 4, 1, f"{scope}/Conv"), f"{scope}/Conv"))
        encoder = [(c * w, s) for c in (2, 4, 8, 16, 32) for s in (2, 1)]
        for number, (outputs, stride) in enumerate(encoder):
            name = f"{scope}/resBlock" + (f"_{number}" if number else "")
            x = self.block(x, outputs, stride, name)
        decoder = [(32, 1), (16, 2), (16, 1), (16, 1), (8, 2), (8, 1), (8, 1)]
        decoder += [(4, 2), (4, 1), (4, 1), (2, 2), (2, 1), (1, 2), (1, 1)]
        decoder = [(c * w, s) for c, s in decoder] + 3 * [(3, 1)]
        for number, (outputs, stride) in enumerate(decoder):
            name = f"{scope}/Conv2d_transpose" + (f"_{number}" if number else "")
            x = self.transposed(x, outputs, stride, name)
            x = tf.nn.relu(x) if number < len(decoder) - 1 else tf.nn.sigmoid(x)
        return x


def main() -> None:
    builder = Builder(seed=0)
    picture = builder.rng.integers(0, 256, (*SIZE, 3), np.uint8)
    output = builder.network(tf.constant(picture[None] / 255.0)).numpy()[0]
    print("output: 1 % and 99 % quantile, deviation by channel")
    print(np.quantile(output, [0.01, 0.99], axis=(0, 1)), output.std((0, 1)))
    tensors = builder.tensors
    tensors["beta1_power"] = np.float32(0.5)
    tensors["resfcn256/Conv/weights/Adam"] = np.zeros_like(tensors["resfcn256/Conv/weights"])
    names = sorted(tensors)
    OUT.mkdir(parents=True, exist_ok=True)
    values = [tensors[name] for name in names]
    tf.raw_ops.SaveV2(
        prefix=str(OUT / "resfcn"),
        tensor_names=names,
        shape_and_slices=[""] * len(names),
        tensors=values,
    )
    np.savez_compressed(
        OUT / "resfcn.npz", picture=picture, output=output[:, ::COLUMN_STEP], step=COLUMN_STEP
    )


if __name__ == "__main__":
    main()
