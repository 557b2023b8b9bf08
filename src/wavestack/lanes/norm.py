"""The norm of lanes and models."""

from torch import Tensor, nn
from torch.nn import functional


class RMSNorm(nn.RMSNorm):
    """x / rms(x) * weight, in the dtype of x: with a weight of another one PyTorch has no fused kernel."""

    def __init__(self, width: int):
        super().__init__(width, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        return functional.rms_norm(x, self.normalized_shape, self.weight.to(x.dtype), self.eps)
