import numpy as np
import torch
from torch import nn

from paincore.training.configuration import configure
from paincore.training.optimisation import stepper
from paincore.training.task import Task

TARGETS = torch.tensor([1.0, 0.25, 0.0])
INPUTS = torch.tensor([[0.5, -1.0], [2.0, 0.3], [-0.7, 0.9]])


class Linear(nn.Module):
    """A small problem in float64: two logits from two inputs, one weight of them frozen."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([[0.1, -0.2], [0.3, 0.4]], dtype=torch.float64))
        self.bias = nn.Parameter(torch.zeros(2, dtype=torch.float64), requires_grad=False)

    def forward(self):
        return INPUTS.double() @ self.weight.T + self.bias


def gradient(weight: np.ndarray) -> np.ndarray:
    """Of the mean cross-entropy with soft labels, by hand."""
    inputs, pain = INPUTS.double().numpy(), TARGETS.double().numpy()
    scores = np.exp(inputs @ weight.T)
    shares = scores / scores.sum(1, keepdims=True)
    return (shares - np.stack([1 - pain, pain], 1)).T @ inputs / len(pain)


class Adam:
    """Kingma & Ba 2015, algorithm 1."""

    def __init__(self, rate: float):
        self.rate, self.step, self.m, self.v = rate, 0, 0.0, 0.0

    def update(self, gradient: np.ndarray) -> np.ndarray:
        self.step += 1
        self.m = 0.9 * self.m + 0.1 * gradient
        self.v = 0.999 * self.v + 0.001 * gradient**2
        m, v = self.m / (1 - 0.9**self.step), self.v / (1 - 0.999**self.step)
        return self.rate * m / (np.sqrt(v) + 1e-8)


def trained(steps: int, **settings) -> tuple[np.ndarray, np.ndarray]:
    model = Linear()
    task = Task(None, configure(learning_rate=0.1, **settings), None, 0, torch.device("cpu"))
    step = stepper(task, model)
    for _ in range(steps):
        step(model.forward, TARGETS.double())
    return model.weight.detach().numpy(), model.bias.numpy()


def test_adam_steps_equal_the_published_algorithm():
    expected, adam = Linear().weight.detach().numpy().copy(), Adam(0.1)
    for _ in range(5):
        expected -= adam.update(gradient(expected))
    weight, bias = trained(5)
    np.testing.assert_allclose(weight, expected, rtol=1e-6)
    assert (bias == 0).all()


def test_sam_steps_equal_the_published_algorithm():
    """Foret et al. 2021, algorithm 1: the gradient is taken at the weights + rho g/|g|."""
    expected, adam = Linear().weight.detach().numpy().copy(), Adam(0.1)
    for _ in range(5):
        uphill = gradient(expected)
        there = expected + 0.05 * uphill / np.linalg.norm(uphill)
        expected -= adam.update(gradient(there))
    weight, _ = trained(5, sam=True)
    np.testing.assert_allclose(weight, expected, rtol=1e-6)
    assert not np.allclose(weight, trained(5)[0], rtol=1e-4)
