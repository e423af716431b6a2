"""What a training does on a GPU beside what it does on a CPU: its arithmetic, and CUDA graphs.

A step of the paper's 16 images is several hundred kernels of a few microseconds each, and starting
them one by one takes a GPU longer than computing them. A CUDA graph starts them all at once. It
needs no compiler and holds the same kernels.
"""

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import nn

from paincore.training.configuration import BATCH_SIZE
from paincore.training.vit import PainTransformer


def precision_on(device: torch.device, wanted: str) -> str:
    """`wanted`, "fp32" or "bf16"; "fp32" where the device multiplies bf16 in software alone."""
    if device.type == "cuda":
        has = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        has = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return wanted if has else "fp32"


def arithmetic(device: torch.device, precision: str) -> str:
    """How a training multiplies there: bf16, TF32 (fp32 on a GPU that has it) or fp32."""
    tf32 = device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)
    return "TF32" if precision == "fp32" and tf32 else precision


@contextmanager
def computing(device: torch.device, deterministic: bool) -> Iterator[None]:
    """Torch's global settings of a training, put back afterwards.

    One thread on a CPU, so that numbers do not depend on how many it has. On a GPU TF32 for fp32,
    and where `deterministic` asks for it only algorithms that give the same bits each time.
    """
    if device.type == "cpu":
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)
        return
    before = torch.get_float32_matmul_precision(), torch.are_deterministic_algorithms_enabled()
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when cuBLAS starts
    torch.set_float32_matmul_precision("high")
    torch.use_deterministic_algorithms(deterministic)
    try:
        with torch.cuda.device(device):  # graphs are recorded on the current one
            yield
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.use_deterministic_algorithms(before[1])


class _Top(nn.Module):
    """`PainTransformer.cls` from a depth on, as a module of the parameters that it uses."""

    def __init__(self, model: PainTransformer, depth: int):
        super().__init__()
        self.blocks, self.norm = model.encoder.layers[depth:], model.encoder.layernorm
        self.cls = partial(model.cls, depth=depth)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return self.cls(hidden)


@contextmanager
def graphed_steps(model: PainTransformer, depth: int | None, precision: str) -> Iterator[None]:
    """Meanwhile a training step of 16 samples runs the model's blocks above `depth` as CUDA graphs,
    forward and backward; other batches run as before.

    `depth` is that of `vit.frozen_depth`; the model is on its GPU and frozen. On leaving, the
    graphs and their memory go.
    """
    place = model.encoder.embeddings.position_embeddings
    like = {"device": place.device, "requires_grad": depth is None}
    sample = torch.zeros(BATCH_SIZE, *place.shape[1:], **like)
    eager = model.cls
    gc.collect()  # no memory of an earlier model is freed while the graphs are recorded
    # A graph cannot use what autocast keeps of an earlier step.
    with torch.autocast("cuda", torch.bfloat16, precision == "bf16", cache_enabled=False):
        graph = torch.cuda.make_graphed_callables(
            _Top(model, depth or 0), (sample,), allow_unused_input=True
        )

    def cls(hidden: torch.Tensor, depth: int) -> torch.Tensor:
        fits = hidden.shape == sample.shape and torch.is_grad_enabled()
        return graph(hidden) if fits else eager(hidden, depth)

    model.cls = cls
    try:
        yield
    finally:
        del model.cls
