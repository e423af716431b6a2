"""PRNet's network, resfcn256, in PyTorch, with the padding of the TensorFlow operations.

Feng, Wu, Shao, Wang & Zhou 2018, "Joint 3D face reconstruction and dense alignment with position
map regression network": an encoder of ten residual blocks takes an image to 1/32 of its size, a
decoder of seventeen transposed convolutions takes it back to three channels, the x, y and z of the
face's points in UV order, by a sigmoid in 0..1. For inference alone: batch norm uses the stored
statistics. The paper's section 3.2 registers faces with it.
"""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

ENCODER = 5 * (2, 1)
DECODER = (1, 2, 1, 1, 2, 1, 1, 2, 1, 1, 2, 1, 2, 1, 1, 1, 1)
"""Stride of each residual block, and of each transposed convolution."""
BATCH_NORM = ("moving_mean", "moving_variance", "gamma", "beta")


class Resfcn256:
    """The network with the tensors of a checkpoint, float32, by TensorFlow's names.

    `tensors` has kernels as (y, x, in, out), or (y, x, out, in) where they are transposed.
    """

    def __init__(self, tensors: dict[str, np.ndarray | Tensor], device: str = "cpu") -> None:
        self.tensors = {name: torch.as_tensor(t, device=device) for name, t in tensors.items()}
        for name, kernel in self.tensors.items():
            if kernel.ndim == 4:
                self.tensors[name] = kernel.permute(3, 2, 0, 1).contiguous()

    def __call__(self, x: Tensor) -> Tensor:
        """Images (N, 3, H, W) in 0..1, H and W multiples of 32, to position maps of that shape."""
        x = self.convolved(x, "resfcn256/Conv")
        for number, stride in enumerate(ENCODER):
            x = self.residual(x, numbered("resBlock", number), stride)
        for number, stride in enumerate(DECODER):
            x = torch.relu(x) if number else x
            x = self.transposed(x, numbered("Conv2d_transpose", number), stride)
        return torch.sigmoid(x)

    def residual(self, x: Tensor, block: str, stride: int) -> Tensor:
        """A bottleneck; at stride 2, where the shape changes, with a 1x1 convolution beside it."""
        kept = self.convolution(x, f"{block}/shortcut", stride) if stride > 1 else x
        x = self.convolved(x, f"{block}/Conv")
        x = self.convolved(x, f"{block}/Conv_1", stride)
        x = self.convolution(x, f"{block}/Conv_2") + kept
        return torch.relu(self.normed(x, block))

    def convolved(self, x: Tensor, scope: str, stride: int = 1) -> Tensor:
        """Convolution, batch norm, ReLU."""
        return torch.relu(self.normed(self.convolution(x, scope, stride), scope))

    def convolution(self, x: Tensor, scope: str, stride: int = 1) -> Tensor:
        """Convolution without bias, 4x4 or 1x1, padded as TensorFlow's SAME."""
        kernel = self.tensors[f"{scope}/weights"]
        # SAME pads an odd total by one more at the right and at the bottom.
        before, after = (1, 3 - stride) if kernel.shape[-1] == 4 else (0, 0)
        x = functional.pad(x, (before, after, before, after))
        return functional.conv2d(x, kernel, stride=stride)

    def transposed(self, x: Tensor, scope: str, stride: int) -> Tensor:
        """4x4 transposed convolution without bias, padded as TensorFlow's SAME, and batch norm."""
        height, width = (side * stride for side in x.shape[2:])
        kernel = self.tensors[f"{scope}/weights"]
        x = functional.conv_transpose2d(x, kernel, stride=stride, padding=1)
        return self.normed(x[..., :height, :width], scope)  # at stride 1 one more comes out

    def normed(self, x: Tensor, scope: str) -> Tensor:
        """Batch norm by the stored statistics."""
        mean, variance, gamma, beta = (self.tensors[f"{scope}/BatchNorm/{n}"] for n in BATCH_NORM)
        return functional.batch_norm(x, mean, variance, gamma, beta, eps=1e-3)  # TensorFlow's eps


def numbered(scope: str, number: int) -> str:
    """TensorFlow's name of the scope that was opened for the `number`-th time, from 0."""
    return f"resfcn256/{scope}_{number}" if number else f"resfcn256/{scope}"
