"""Vectors that stay on a sphere: gradients along its surface, and the way back onto it after a step.

Absil, Mahony and Sepulchre, Optimization Algorithms on Matrix Manifolds, 2008, sections 3.6.1 and 4.1.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class _AlongSphere(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, vectors: Tensor) -> Tensor:
        ctx.save_for_backward(vectors)
        return vectors.view_as(vectors)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (vectors,) = ctx.saved_tensors
        squares = vectors.square().sum(dim=-1, keepdim=True).clamp(min=torch.finfo(vectors.dtype).tiny)
        outwards = (gradient * vectors).sum(dim=-1, keepdim=True) / squares  # (..., 1)
        return gradient - outwards * vectors


def along_sphere(vectors: Tensor) -> Tensor:
    """Return `vectors (..., d)` whose gradients have no part along the vectors themselves.

    What leads off the sphere is undone by the next step's way back, but would count in Adam's second moments.
    """
    return _AlongSphere.apply(vectors)


@torch.no_grad()
def onto_sphere(weight: Tensor, radius: float) -> None:
    """Rescale the rows of `weight (T, d)` in place to length `radius`; a row of zeros stays one.

    What is there but for rounding stays as it is, to the last bit.
    """
    norms = weight.norm(dim=1, keepdim=True)
    factors = radius / norms.clamp(min=torch.finfo(weight.dtype).tiny)  # (T, 1)
    weight.mul_(torch.where((factors - 1).abs() < 1e-6, 1.0, factors))
