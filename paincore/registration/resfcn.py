"""PRNet's network, resfcn256, in PyTorch, with the padding of the TensorFlow operations.

Feng, Wu, Shao, Wang & Zhou 2018, "Joint 3D face reconstruction and dense alignment with position
map regression network": an encoder of ten residual blocks takes a picture to 1/32 of its size, a
decoder of seventeen transposed convolutions takes it back to three channels, the x, y and z of the
face's points in UV order, by a sigmoid in 0..1. For inference alone: batch norm uses the stored
statistics. Pictures are (N, 3, H, W) in 0..1, H and W multiples of 32. The paper's section 3.2
registers faces with it; chapter 02.
"""

import hashlib
import os
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from torch import Tensor, nn
from torch.nn import functional

from paincore.registration.checkpoint import CheckpointError, read_index, read_tensors

BATCH_NORM_EPSILON = 1e-3  # TensorFlow's default, not PyTorch's
WIDTH = 16  # channels of the released network's first convolution
ENCODER = ((2, 2), (2, 1), (4, 2), (4, 1), (8, 2), (8, 1), (16, 2), (16, 1), (32, 2), (32, 1))
DECODER = (
    *((32, 1), (16, 2), (16, 1), (16, 1), (8, 2), (8, 1), (8, 1)),
    *((4, 2), (4, 1), (4, 1), (2, 2), (2, 1), (1, 2), (1, 1)),
)
"""Output channels, in widths, and stride of each block; three of 3 channels end the decoder."""

SCOPES = {
    "stem": "Conv",
    "blocks": "resBlock",
    "decoder": "Conv2d_transpose",
    "reduce": "Conv",
    "filter": "Conv_1",
    "expand": "Conv_2",
    "norm": "BatchNorm",
}
"""TensorFlow's names of the modules below, where they differ."""

OPTIMISER = ("beta1_power", "beta2_power", "Adam", "Adam_1")
"""Last parts of the names of what a checkpoint holds of the optimiser, which inference ignores."""


class BatchNorm(nn.Module):
    """Batch norm by stored statistics: gamma (x - mean) / sqrt(variance + epsilon) + beta."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        for name in ("gamma", "beta", "moving_mean", "moving_variance"):
            self.register_buffer(name, torch.empty(channels))

    def forward(self, x: Tensor) -> Tensor:
        return functional.batch_norm(
            x,
            self.moving_mean,
            self.moving_variance,
            self.gamma,
            self.beta,
            eps=BATCH_NORM_EPSILON,
        )


class Convolution(nn.Module):
    """Convolution without bias, batch norm, ReLU; padded as TensorFlow's SAME."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, bias=False)
        self.norm = BatchNorm(outputs)
        # SAME pads an odd total by one more at the right and at the bottom.
        before, after = {(1, 1): (0, 0), (4, 1): (1, 2), (4, 2): (1, 1)}[kernel, stride]
        self.padding = (before, after, before, after)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.norm(self.conv(functional.pad(x, self.padding))))


class ResidualBlock(nn.Module):
    """Bottleneck of half the channels, with a 1x1 convolution as shortcut where shapes differ."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.shortcut = None
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
        self.reduce = Convolution(inputs, outputs // 2, 1, 1)
        self.filter = Convolution(outputs // 2, outputs // 2, 4, stride)
        self.expand = nn.Conv2d(outputs // 2, outputs, 1, bias=False)
        self.norm = BatchNorm(outputs)

    def forward(self, x: Tensor) -> Tensor:
        kept = x if self.shortcut is None else self.shortcut(x)
        return torch.relu(self.norm(self.expand(self.filter(self.reduce(x))) + kept))


class TransposedConvolution(nn.Module):
    """4x4 transposed convolution without bias, and batch norm; padded as TensorFlow's SAME."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose2d(inputs, outputs, 4, stride, padding=1, bias=False)
        self.norm = BatchNorm(outputs)

    def forward(self, x: Tensor) -> Tensor:
        height, width = (side * self.conv.stride[0] for side in x.shape[2:])
        return self.norm(self.conv(x)[..., :height, :width])  # at stride 1 one more comes out


class Resfcn256(nn.Module):
    """The network; `width` is 16 in the released one. Its weights are not initialised: `load` them.

    (N, 3, H, W) in 0..1 to the position map (N, 3, H, W) in 0..1.
    """

    def __init__(self, width: int = WIDTH) -> None:
        super().__init__()
        with torch.device("meta"):  # shapes alone: nothing is drawn from the global generator
            channels = width
            self.stem = Convolution(3, channels, 4, 1)
            self.blocks = nn.ModuleList()
            for widths, stride in ENCODER:
                self.blocks.append(ResidualBlock(channels, widths * width, stride))
                channels = widths * width
            self.decoder = nn.ModuleList()
            for outputs, stride in [(w * width, s) for w, s in DECODER] + 3 * [(3, 1)]:
                self.decoder.append(TransposedConvolution(channels, outputs, stride))
                channels = outputs

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        for layer in self.decoder[:-1]:
            x = torch.relu(layer(x))
        return torch.sigmoid(self.decoder[-1](x))


def tensor_name(key: str) -> str:
    """The checkpoint's name of a key of the network's state.

    "blocks.3.filter.norm.beta" is "resfcn256/resBlock_3/Conv_1/BatchNorm/beta".
    """
    *modules, value = key.split(".")
    scopes = ["resfcn256"]
    for module in modules:
        if module.isdigit():
            scopes[-1] += f"_{module}" if module != "0" else ""
        elif module != "conv":
            scopes.append(SCOPES.get(module, module))
    return "/".join([*scopes, "weights" if value == "weight" else value])


def tensor_shapes(network: Resfcn256) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the network's tensors as a checkpoint has them: 245 tensors."""
    # A kernel has the axes out, in, y, x here and y, x, in, out there; transposed: in, out, y, x
    # and y, x, out, in.
    return {
        tensor_name(key): tuple(value.permute(2, 3, 1, 0).shape if value.ndim == 4 else value.shape)
        for key, value in network.state_dict().items()
    }


def convert(index_path: Path, out: Path, width: int = WIDTH) -> None:
    """Convert a TensorFlow checkpoint of the network to safetensors, written whole or not at all.

    Every tensor's name, shape and checksum is checked; CheckpointError names what is wrong. The
    metadata hold the SHA-256 of the index, which pins the values through their checksums.
    """
    network, index = Resfcn256(width), read_index(index_path)
    shapes = tensor_shapes(network)
    tensors = read_tensors(index, shapes)
    foreign = [
        name
        for name in index.entries
        if name not in shapes and name.rpartition("/")[2] not in OPTIMISER
    ]
    if foreign:
        raise CheckpointError(
            f"{index_path} holds {len(foreign)} tensors that resfcn256 has not, the first is "
            f"{foreign[0]}: it is another network's checkpoint."
        )
    state = {}
    for key in network.state_dict():
        value = tensors[tensor_name(key)]
        state[key] = value.transpose(3, 2, 0, 1).copy() if value.ndim == 4 else value
    partial = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        save_file(
            state, partial, {"index_sha256": hashlib.sha256(index_path.read_bytes()).hexdigest()}
        )
        partial.replace(out)
    finally:
        partial.unlink(missing_ok=True)


def load(path: Path, width: int = WIDTH) -> tuple[Resfcn256, str]:
    """The network with the weights that `convert` wrote, on the CPU, and the SHA-256 of the index
    that they came from. Raises CheckpointError if the file is absent, damaged or another's."""
    network = Resfcn256(width)
    try:
        with safe_open(path, "pt") as file:
            source = file.metadata()["index_sha256"]
            state = {key: file.get_tensor(key) for key in network.state_dict()}
        network.load_state_dict(state, assign=True)
    except (OSError, SafetensorError, TypeError, KeyError, RuntimeError) as fault:
        raise CheckpointError(
            f"{path} does not hold the network's converted weights ({fault}). Delete it: it is "
            "made anew from the checkpoint."
        ) from fault
    return network.requires_grad_(False).eval(), source
