"""Logistic regression from its definition, to hold others against."""

import numpy as np
from scipy.special import expit


def newton(design, pain, offset=0.0, weight=1.0, penalty=0.0, steps=50) -> np.ndarray:
    """Coefficients (P,) of the columns of `design` (N, P) by plain Newton iterations.

    `pain` (N,) is weighted by sample; the penalty is half the square of each coefficient times its
    own factor.
    """
    beta = np.zeros(design.shape[1])
    penalty = penalty * np.eye(len(beta))
    for _ in range(steps):
        p = expit(design @ beta + offset)
        slope = design.T @ (weight * (p - pain)) + penalty @ beta
        bend = (design * (weight * p * (1 - p))[:, None]).T @ design + penalty
        beta = beta - np.linalg.solve(bend, slope)
    return beta
