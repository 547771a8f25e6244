"""Which of two is preferred, from pairs: a Bradley-Terry model of vectors, and logistic regression, which it is a case of.

P(first preferred) = 1 / (1 + exp(second @ weights - first @ weights)): logistic regression without intercept on differences.
Newton's method needs products with the vectors alone, whether these are sparse or not, and draws nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from classifiers.hashing_tf import logistic
from classifiers.kinds import Floats

STEPS, CLOSE = 100, 1e-8
"""Newton steps at most, and the share of the first gradient's length at which they end."""
FLAT = 1e-9
"""Regularization of a calibration, so that classes that are told apart perfectly still have one."""

Numbers = npt.NDArray[np.int64]
Product = Callable[[Floats], Floats]


@dataclass(frozen=True)
class Rows:
    """Vectors of some texts as a matrix that can be multiplied from either side."""

    width: int
    times: Product
    """With a vector (width,); shape (texts,)."""
    transposed_times: Product
    """With a vector (texts,); shape (width,)."""


def dense(vectors: Floats) -> Rows:
    """Vectors (texts, width) as they are."""
    return Rows(vectors.shape[1], lambda weights: np.asarray(vectors @ weights), lambda sides: np.asarray(sides @ vectors))


def bradley_terry(vectors: Rows, better: Numbers, worse: Numbers, regularization: float) -> Floats:
    """The weights by which the rows `better` are preferred to the rows `worse`, pair by pair; shape (width,)."""
    size = max(better.max(), worse.max()) + 1

    def times(weights: Floats) -> Floats:
        scores = vectors.times(weights)
        return scores[better] - scores[worse]

    def transposed_times(sides: Floats) -> Floats:
        rows = np.bincount(better, sides, size) - np.bincount(worse, sides, size)
        return vectors.transposed_times(np.asarray(rows, np.float64))

    every = np.full(len(better), 1 / len(better))
    return regression(Rows(vectors.width, times, transposed_times), np.ones(len(better)), every, regularization)


def regression(rows: Rows, targets: Floats, importance: Floats, regularization: float) -> Floats:
    """Logistic regression without intercept by Newton's method, each step by conjugate gradients; shape (width,).

    Minimises the sum over rows of `importance` times the cross-entropy of 1 / (1 + exp(-row @ weights)) and the row's
    target, a probability, plus regularization / 2 times the squares of the weights.
    """

    def loss(weights: Floats) -> float:
        margin = rows.times(weights)
        return float(importance @ (np.logaddexp(0, margin) - targets * margin) + regularization / 2 * weights @ weights)

    weights, end = np.zeros(rows.width), np.inf
    for step_number in range(STEPS):
        said = logistic(rows.times(weights))
        gradient = rows.transposed_times(importance * (said - targets)) + regularization * weights
        length = float(np.linalg.norm(gradient))
        end = CLOSE * length if step_number == 0 else end
        if length <= end:
            break
        step = _solved(_curvature(rows, importance * said * (1 - said), regularization), -gradient)
        before, size = loss(weights), 1.0
        while size > CLOSE and loss(weights + size * step) > before + 1e-4 * size * float(gradient @ step):
            size /= 2
        weights = weights + size * step
    return weights


def _curvature(rows: Rows, curved: Floats, regularization: float) -> Product:
    """Products with the second derivatives of the loss."""
    return lambda vector: rows.transposed_times(curved * rows.times(vector)) + regularization * vector


def _solved(times: Product, right: Floats) -> Floats:
    """The x for which times(x) is `right`, nearly: conjugate gradients of a positive definite matrix."""
    found, left = np.zeros_like(right), right.copy()
    direction, square = left.copy(), float(left @ left)
    end = square * min(0.25, np.sqrt(square)) ** 2
    for _ in range(len(right)):
        if square <= end:
            break
        image = times(direction)
        size = square / float(direction @ image)
        found += size * direction
        left -= size * image
        before, square = square, float(left @ left)
        direction = left + square / before * direction
    return found


def calibrated(better: Floats, worse: Floats) -> Floats:
    """Slope and intercept that make scores log-odds of the better against as many worse (Platt 1999, with his targets)."""
    scores = np.concatenate([better, worse])
    rows = dense(np.stack([scores, np.ones(len(scores))], axis=1))
    targets = np.repeat([(len(better) + 1) / (len(better) + 2), 1 / (len(worse) + 2)], [len(better), len(worse)])
    return regression(rows, targets, np.full(len(scores), 1 / len(scores)), FLAT)
