"""Adam whose cost follows the rows that a batch reads, not the size of the tables.

Adam: Kingma and Ba, ICLR 2015 (arXiv 1412.6980), Algorithm 1. Unlike "sparse" variants, which forget
the steps of rows that a batch does not read, this one is Adam itself: such a row makes up for the
steps it missed before it is read again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from recbole_hlr.protocols import Values

_BETAS = (0.9, 0.999)
_DECAY = _BETAS[0] / _BETAS[1] ** 0.5  # c: what is left of a row's step when it misses one more
_MEMORY = 400  # steps after which that has vanished: c^400 < 1e-18
_SHORT = 1e-5  # of a way: its square is below float32's rounding


class LazyAdam(torch.optim.Adam):
    """Adam; a row of `tables`, which give sparse gradients, is stepped when a batch reads it.

    Plain formula: without a gradient, step s moves a row by
    lr / (1 - b1^s) m / (sqrt(v / (1 - b2^s)) + eps), and m, v shrink by b1, b2.
    Identity: k such steps after step t sum to lr m / sqrt(v) F, with one F for all rows of that age:
    F = sum_{j=1..k} c^j a_(t+j) = R(t) - c^k R(t+k), where c = b1 / sqrt(b2),
    a_s = sqrt(1 - b2^s) / (1 - b1^s), R(t) = sum_{j>=1} c^j a_(t+j).
    What disappears: the pass over all rows at every step.
    A row p in the ball of `max_norm` moves along a line, u = m / sqrt(v): where its end lies in the ball,
    so does the way. Where not, p is pulled back after some steps, p <- s (p - f_j u), but stays in the
    plane of p and u: two numbers per row and step, (x, y) <- s (x, y - f_j), p = x p_0 + y u. With
    `sphere` every step ends on the surface of the ball, and every row goes that way.
    Caveat: for all missed steps eps sqrt(1 - b2^s) is that of the first, and sqrt(v) does not shrink
    beside it, which shows where sqrt(v) is near eps = 1e-8. `tests/test_lazy_adam.py` compares with Adam.

    A row is read by calling its `nn.Embedding`; before a weight is read as a whole, or the learning
    rate changes, `catch_up` is called.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        tables: list[nn.Embedding],
        lr: float,
        max_norm: float | None = None,
        sphere: bool = False,
        after_step: Callable[[], None] = lambda: None,
        **options: bool,
    ) -> None:
        super().__init__(parameters, lr=lr, betas=_BETAS, **options)
        self.max_norm, self.sphere = max_norm, sphere and max_norm is not None
        self._after_step = after_step  # torch's own hooks would be called by Adam's step and by this one
        self.done = 0  # steps
        self._last: dict[Tensor, Tensor] = {}  # weight -> (T,) the step that each row is at
        for table in tables:
            weight = table.weight
            table.sparse = True
            table.register_forward_pre_hook(self._before_reading)
            self._last[weight] = torch.zeros(len(weight), dtype=torch.int64, device=weight.device)
            self.state[weight] = {
                "step": torch.tensor(0.0),
                "exp_avg": torch.zeros_like(weight),
                "exp_avg_sq": torch.zeros_like(weight),
            }
        self._table = (torch.empty(0), torch.empty(0))  # a_s and R(s) of all steps s, as they are needed

    def _before_reading(self, table: nn.Embedding, arguments: tuple[Tensor, ...]) -> None:
        self._catch_up(table.weight, arguments[0].flatten())

    def catch_up(self) -> None:
        """Give every row the steps that it missed."""
        for weight, last in self._last.items():
            self._catch_up(weight, torch.arange(len(last), device=last.device))

    @torch.no_grad()
    def _catch_up(self, weight: Tensor, rows: Tensor) -> None:
        """Give `rows (R,)` of one table the steps that they missed; a row may be named twice."""
        last, state = self._last[weight], self.state[weight]
        at = last[rows]  # (R,)
        behind = (at < self.done).nonzero().squeeze(dim=1)
        rows, at = rows[behind], at[behind]
        if len(rows) == 0:
            return
        missed = (self.done - at).double()
        first, second = state["exp_avg"].index_select(0, rows), state["exp_avg_sq"].index_select(0, rows)
        start = weight.index_select(0, rows)  # p_0 (R, d)
        eps = self.param_groups[0]["eps"] * (1 - _BETAS[1] ** (at + 1).double()).sqrt()  # (R,)
        direction = first / (second.sqrt() + eps.to(second.dtype).unsqueeze(1))  # u (R, d)
        sums = self._table_until(self.done)[1].to(at.device)
        factor = sums[at] - _DECAY**missed * sums[self.done]  # F (R,)
        factor = (self.param_groups[0]["lr"] * factor).to(start.dtype).unsqueeze(1)
        moved = start - factor * direction
        if self.sphere:
            moved = self._pulled_on_the_way(start, direction, at)
        elif self.max_norm is not None:
            left = (moved.norm(dim=1) > self.max_norm).nonzero().squeeze(dim=1)
            moved[left] = self._pulled_on_the_way(start[left], direction[left], at[left])
        weight.index_copy_(0, rows, moved)
        beta1, beta2 = _BETAS
        state["exp_avg"].index_copy_(0, rows, first * (beta1**missed).to(first.dtype).unsqueeze(1))
        state["exp_avg_sq"].index_copy_(0, rows, second * (beta2**missed).to(first.dtype).unsqueeze(1))
        last[rows] = self.done

    def _pulled_on_the_way(self, start: Tensor, direction: Tensor, at: Tensor) -> Tensor:
        """Return rows `(L, d)` that stood at steps `at (L,)` after all steps since, pulled back after each.

        With p = x (p_0 + z u) a step is z <- z - f / x, then x <- min(x, max_norm / |p_0 + z u|), on a
        sphere without the minimum. Once what is left of the way is shorter than `_SHORT`, it is gone at
        once: the difference is its square.
        """
        if len(start) == 0:
            return start
        assert self.max_norm is not None
        rate = self.param_groups[0]["lr"]
        pp, pu, uu = (
            (a * b).sum(dim=1).double() / self.max_norm**2
            for a, b in ((start, start), (start, direction), (direction, direction))
        )
        terms, sums = (table.to(at.device) for table in self._table_until(self.done))
        longest = rate * float(uu.max().sqrt() * self.max_norm * sums[at].max())
        count = math.ceil(math.log(_SHORT / max(longest, _SHORT)) / math.log(_DECAY))
        count = min(count, self.done - int(at.min()))
        steps = torch.arange(1, count + 1, device=at.device).unsqueeze(1)  # (J, 1)
        then = (at + steps).clamp(max=self.done)  # (J, L)
        sizes = rate * _DECAY**steps * terms[then] * (at + steps <= self.done)  # f (J, L)
        end = (at + count).clamp(max=self.done)
        rest = _DECAY ** (end - at) * sums[end] - _DECAY ** (self.done - at) * sums[self.done]
        x, z = torch.ones_like(pp), torch.zeros_like(pp)  # (L,)
        tiny = torch.finfo(pp.dtype).tiny  # a row of zeros stays one
        for size in (*sizes, rate * rest):
            z -= size / x
            on_surface = torch.addcmul(pp, z, torch.addcmul(2 * pu, z, uu)).clamp_(min=tiny).rsqrt_()
            x = on_surface if self.sphere else torch.minimum(x, on_surface)
        return x.to(start.dtype).unsqueeze(1) * (start + z.to(start.dtype).unsqueeze(1) * direction)

    def _table_until(self, step: int) -> tuple[Tensor, Tensor]:
        """Return a_0, a_1, ... and R(0), R(1), ... at least until a step."""
        terms, sums = self._table
        if len(sums) > step:
            return self._table
        beta1, beta2 = _BETAS
        steps = torch.arange(max(step + 1, 2 * len(sums), _MEMORY) + _MEMORY, dtype=torch.float64)
        terms = (1 - beta2**steps).sqrt() / (1 - beta1**steps)  # 0 / 0 at step 0, which there is not
        powers = _DECAY ** torch.arange(1, _MEMORY + 1, dtype=torch.float64)
        sums = nn.functional.conv1d(terms[None, None, 1:], powers[None, None])[0, 0]
        self._table = terms, sums
        return self._table

    def _pulled(self, rows: Tensor) -> Tensor:
        if self.max_norm is None:
            return rows
        shortest = torch.finfo(rows.dtype).tiny if self.sphere else self.max_norm
        return rows * (self.max_norm / rows.norm(dim=1, keepdim=True).clamp(min=shortest))

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Take a step (no closure): over all of a dense gradient, over the rows of a sparse one."""
        assert closure is None
        beta1, beta2 = _BETAS
        gradients = {weight: weight.grad for weight in self._last if weight.grad is not None}
        for weight in gradients:
            weight.grad = None
        super().step()
        self.done += 1
        group = self.param_groups[0]
        size = group["lr"] / (1 - beta1**self.done)
        for weight, sparse in gradients.items():
            gradient = sparse.coalesce()
            rows, values = gradient.indices()[0], gradient.values()  # (R,), (R, d)
            state = self.state[weight]
            first = state["exp_avg"].index_select(0, rows).lerp_(values, 1 - beta1)
            second = state["exp_avg_sq"].index_select(0, rows).mul_(beta2)
            second.addcmul_(values, values, value=1 - beta2)
            state["exp_avg"].index_copy_(0, rows, first)
            state["exp_avg_sq"].index_copy_(0, rows, second)
            root = second.sqrt_().div_((1 - beta2**self.done) ** 0.5).add_(group["eps"])
            moved = weight.index_select(0, rows).addcdiv_(first, root, value=-size)
            weight.index_copy_(0, rows, self._pulled(moved))
            self._last[weight][rows] = self.done
        self._after_step()

    def state_dict(self) -> Values:
        """Return the state, all rows caught up."""
        self.catch_up()
        for weight in self._last:
            self.state[weight]["step"].fill_(self.done)
        return super().state_dict()

    def load_state_dict(self, state_dict: Values) -> None:
        """Take the state of `state_dict()`."""
        super().load_state_dict(state_dict)
        for weight, last in self._last.items():
            self.done = int(self.state[weight]["step"])
            last.fill_(self.done)
