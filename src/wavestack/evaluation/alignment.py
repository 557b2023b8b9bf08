"""Linear CKA: how alike two representations of the same tokens are, whatever their rotation and scale.

    CKA(X, Y) = |Y^T X|_F^2 / (|X^T X|_F |Y^T Y|_F),  for centred X (n x p) and Y (n x q)

(Kornblith et al. 2019, arXiv:1905.00414). 1: one is the other, rotated and scaled; 0: no linear map finds one in the other. It needs the
covariances alone, which are summed up batch by batch.
"""

from collections.abc import Sequence

import torch
from torch import Tensor


class Alignment:
    """Covariances of several representations side by side, of widths p_1 .. p_k, in float64."""

    def __init__(self, widths: Sequence[int]):
        self.widths = list(widths)
        whole = sum(widths)
        self.tokens = 0
        self.sums = torch.zeros(whole, dtype=torch.float64)
        self.products = torch.zeros(whole, whole, dtype=torch.float64)

    def add(self, representations: Sequence[Tensor]) -> None:
        """More tokens, n x p_1 .. n x p_k."""
        x = torch.cat([part.double().cpu() for part in representations], 1)
        self.tokens += len(x)
        self.sums += x.sum(0)
        self.products += x.T @ x

    def matrix(self) -> list[list[float]]:
        """CKA of each pair, k x k. A representation that is constant has 0 with all others, and with itself 1."""
        covariance = self.products - torch.outer(self.sums, self.sums) / max(1, self.tokens)
        rows = covariance.split(self.widths, 0)
        squares = torch.stack([torch.stack([part.square().sum() for part in row.split(self.widths, 1)]) for row in rows])  # k x k
        norms = squares.diagonal().sqrt()
        alike = squares / torch.outer(norms, norms).clamp_min(1e-300)
        return alike.fill_diagonal_(1.0).tolist()
