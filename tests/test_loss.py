"""The triplet loss against loops, for every way of joining several negatives."""

from __future__ import annotations

import math

import pytest
import torch

from recbole_hlr.model.relation import attention_weights, clip_norms
from recbole_hlr.objective.triplet import triplet_loss
from tests import reference
from tests.toys import assert_close

REDUCTIONS = ["mean", "hardest", "soft", "rank"]


def distances(num_negatives: int, rows: int = 7) -> tuple[torch.Tensor, torch.Tensor]:
    """Random `(B,)` and `(B, K)`; row 0 has no violating negative, row 1 only violating ones."""
    generator = torch.Generator().manual_seed(num_negatives)
    positive = torch.rand(rows, generator=generator, dtype=torch.float64)
    negative = 2 * torch.rand(rows, num_negatives, generator=generator, dtype=torch.float64)
    negative[0], negative[1] = 9, 0.1 * negative[1]
    return positive.requires_grad_(), negative.requires_grad_()


@pytest.mark.parametrize("temperature", [0.3, 1.0, 5.0])
@pytest.mark.parametrize("num_negatives", [1, 3, 5])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_loss_eq_8_is_the_references(reduction, num_negatives, temperature) -> None:
    positive, negative = distances(num_negatives)
    options = (0.6, reduction, temperature, 12)
    loss = triplet_loss(positive, negative, *options)
    expected = sum(
        reference.triplet_loss(p, list(n), *options) for p, n in zip(positive, negative, strict=True)
    )
    what = f"{reduction} K={num_negatives} temperature={temperature}"
    assert_close(loss, expected, 1e-12, what)
    found = torch.autograd.grad(loss, (positive, negative))
    wanted = torch.autograd.grad(expected, (positive, negative))
    for name, gradient, right in zip(("d_pos", "d_neg"), found, wanted, strict=True):
        assert_close(gradient, right, 1e-12, f"{what} gradient of {name}")


@pytest.mark.parametrize("reduction", ["mean", "hardest", "rank"])
def test_gradient_is_that_of_finite_differences(reduction) -> None:
    positive, negative = distances(3)
    assert torch.autograd.gradcheck(
        lambda p, n: triplet_loss(p, n, 0.6, reduction, 1.0, 12), (positive, negative)
    )


def test_known_values() -> None:
    positive, negative = torch.tensor([1.0, 2.0]), torch.tensor([[1.5, 0.5, 4.0], [9.0, 9.0, 9.0]])
    # margin 1: row 0 has hinges 0.5, 1.5, 0; row 1 has none
    exps = [math.exp(h / 2) for h in (0.5, 1.5, 0)]
    expected = {
        "mean": 2 / 3,
        "hardest": 1.5,
        "soft": (exps[0] * 0.5 + exps[1] * 1.5) / sum(exps),
        "rank": 1.5 * math.log(1 + 30 * 2 / 3),
    }
    for reduction, value in expected.items():
        loss = triplet_loss(positive, negative, 1.0, reduction, 2.0, 30)
        assert loss.item() == pytest.approx(value, rel=1e-6), reduction


@pytest.mark.parametrize("reduction", ["mean", "hardest", "soft"])
def test_with_one_negative_every_reduction_but_rank_is_the_plain_hinge(reduction) -> None:
    positive, negative = distances(1)
    hinge = (0.6 + positive - negative[:, 0]).clamp(min=0).sum()
    assert_close(triplet_loss(positive, negative, 0.6, reduction, 0.4, 12), hinge, 1e-12, reduction)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_rows_and_negatives_are_not_mixed(reduction) -> None:
    positive, negative = distances(3)
    options = (0.6, reduction, 0.4, 12)
    loss = triplet_loss(positive, negative, *options)
    alone = sum(
        triplet_loss(positive[b : b + 1], negative[b : b + 1], *options) for b in range(len(positive))
    )
    assert_close(loss, alone, 1e-12, f"{reduction}: row by row")
    turned = triplet_loss(positive.flip(0), negative.flip(0).flip(1), *options)
    assert_close(loss, turned, 1e-12, f"{reduction}: rows and columns in another order")


# --- the attention's weights and the norm ball ----------------------------------------------------


@pytest.mark.parametrize("smoothing", [1.0, 0.7])
@pytest.mark.parametrize("dim", [0, 1, 2])
def test_attention_weights_eq_6(smoothing, dim) -> None:
    generator = torch.Generator().manual_seed(dim)
    logits = 3 * torch.randn(3, 4, 5, generator=generator, dtype=torch.float64)
    weights = attention_weights(logits, smoothing, dim)
    for found, row in zip(
        weights.movedim(dim, -1).reshape(-1, logits.shape[dim]),
        logits.movedim(dim, -1).reshape(-1, logits.shape[dim]),
        strict=True,
    ):
        total = sum(math.exp(logit) for logit in row.tolist())
        right = [math.exp(logit) / total**smoothing for logit in row.tolist()]
        assert_close(found, torch.tensor(right, dtype=torch.float64), 1e-12, f"{smoothing} {dim}")
    if smoothing == 1:
        assert_close(weights, logits.softmax(dim), 1e-12, f"softmax along {dim}")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("smoothing", [1.0, 0.7])
def test_attention_weights_of_nothing_are_zero_not_nan(smoothing, dtype) -> None:
    logits = torch.full((2, 3), -torch.inf, dtype=dtype)
    logits[1, 2] = 0.5
    weights = attention_weights(logits, smoothing, 1)
    assert weights[0].tolist() == [0, 0, 0]
    assert weights[1, :2].tolist() == [0, 0]
    assert weights[1, 2].item() == pytest.approx(math.exp(0.5 * (1 - smoothing)), rel=1e-6)
    assert attention_weights(logits[:, :0], smoothing, 1).shape == (2, 0)


@pytest.mark.parametrize("dim", [0, 1])
def test_clipped_norms_are_those_of_the_plain_loop(dim) -> None:
    generator = torch.Generator().manual_seed(3)
    weight = torch.randn(6, 4, generator=generator, dtype=torch.float64)
    weight[2] = 0
    inside = weight.norm(dim=dim) <= 1.5
    assert 0 < inside.sum() < len(inside)
    rows = weight.clone() if dim == 1 else weight.T.clone()
    clip_norms(weight, 1.5, dim)
    clipped = weight if dim == 1 else weight.T
    assert_close(clipped, reference.clip_rows(rows, 1.5), 1e-14, f"dim={dim}")
    assert clipped[inside].equal(rows[inside]), f"dim={dim}: a row inside the ball moved"
