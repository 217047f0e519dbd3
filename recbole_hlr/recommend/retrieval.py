"""The best items of users by an index of nearest neighbours: candidates from it, ranked by the model itself.

A metric model's score is b_v - ||p + r - q_v||^2, MF-ALS's p . q_v. Both orders are those of distances to one
table with a column more, so that one index serves them:

    ||(p + r, 0) - (q_v, sqrt(max b - b_v))||^2 = ||p + r - q_v||^2 - b_v + max b
    ||(p, 0) - (q_v, sqrt(max ||q||^2 - ||q_v||^2))||^2 = -2 p . q_v + ||p||^2 + max ||q||^2

Of LRML, HLR and HLR++ r = c M is a mixture of memories, so that p + r lies among p + s m_n, s the sum of c.
Candidates are those near p and near each of these, r itself being known for a pair alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from recbole_hlr.data.chunks import spans
from recbole_hlr.errors import InputError
from recbole_hlr.metrics.evaluator import refuse_not_finite
from recbole_hlr.model.memory import MemoryRecommender
from recbole_hlr.recommend.exporting import INNER, formula_of
from recbole_hlr.recommend.ranking import table_of
from recbole_hlr.recommend.scorer import OVER

if TYPE_CHECKING:
    from recbole_hlr.recommend.fitted import FittedRecommender

PROBED = 24  # lists of the index that are searched around each point
POINTS = 64  # vectors for each list, from which its centre is learned
BLOCK = 1024  # users at a time
ROUNDS = 5  # of learning the centres
INDEXED = ("CML", "LRML", "HLR", "HLRPP")


class Retrieval:
    """An index of a fitted recommender's items; raises `InputError` for a model that has none."""

    def __init__(self, fitted: FittedRecommender) -> None:
        self.fitted = fitted
        self.model: Any = fitted.model
        if not fitted.config.ours or formula_of(self.model) not in (*INDEXED, INNER):
            raise InputError(
                f"approximate: of {fitted.config.model} nothing is known that an index could find; must be "
                "CML, LRML, HLR, HLR++ or MF-ALS"
            )
        try:
            import faiss
        except ImportError:
            raise InputError(
                'approximate: needs faiss, which is not installed; pip install "recbole_hlr[approximate]"'
            ) from None
        self.faiss: Any = faiss  # its types lack names that it has
        vectors = self._vectors()  # (I - 1, d + 1)
        lists = max(min(2 * math.isqrt(len(vectors)), len(vectors) // POINTS), 1)
        faiss.omp_set_num_threads(torch.get_num_threads())
        self.index = faiss.IndexIVFFlat(faiss.IndexFlatL2(vectors.shape[1]), vectors.shape[1], lists)
        self.index.cp.niter, self.index.cp.max_points_per_centroid = ROUNDS, POINTS
        self.index.cp.min_points_per_centroid = 1
        self.index.train(vectors)
        self.index.add(vectors)
        self.index.nprobe = min(PROBED, lists)
        self.probes = self._probes()

    def serialised(self) -> bytes:
        """Return the index as the content of a file that `faiss.read_index` reads."""
        return self.faiss.serialize_index(self.index).tobytes()

    def _probes(self) -> Tensor:
        """Return what leads from (p, 0) to the points `(P, d + 1)` around which candidates lie."""
        rows = torch.zeros(1, self.model.item_embedding.embedding_dim)
        if isinstance(self.model, MemoryRecommender):
            mass = 2 if formula_of(self.model) == "HLRPP" else 1  # of two attentions
            rows = torch.cat([rows, mass * self.model.rows().detach().cpu().float()])
        return torch.nn.functional.pad(rows, (0, 1))

    def _vectors(self) -> np.ndarray:
        q = self.model.item_embedding.weight.detach()[1:].cpu().float()  # (I - 1, d)
        refuse_not_finite(q, self.fitted.config.model, " of items")
        if not self.fitted.config.metric:
            b = q.square().sum(dim=1)
        elif self.model.item_bias is None:
            b = q.new_zeros(len(q))
        else:
            b = self.model.item_bias.detach()[1:].cpu().float()
        return torch.cat([q, (b.max() - b).clamp(min=0).sqrt().unsqueeze(1)], dim=1).contiguous().numpy()

    def _points(self, users: Tensor) -> Tensor:
        """Return the points `(B, P, d + 1)` around which candidates of users lie."""
        p = self.model.user_embedding.weight.detach()[users.to(self.model.device)].cpu().float()  # (B, d)
        return torch.nn.functional.pad(p, (0, 1)).unsqueeze(1) + self.probes

    def _candidates(self, users: Tensor, count: int, selector: Any) -> Tensor:
        """Return items `(B, C)` near users, each once, 0 where there are fewer; of a `selector`, if given."""
        points = self._points(users)
        search = self.faiss.SearchParametersIVF(nprobe=self.index.nprobe, sel=selector)
        _, found = self.index.search(points.flatten(0, 1).contiguous().numpy(), count, params=search)
        items = np.sort(found.reshape(len(users), -1) + 1, axis=1)  # an absent one is -1
        items[:, 1:][items[:, 1:] == items[:, :-1]] = 0
        items = -np.sort(-items, axis=1)
        return torch.from_numpy(items[:, : max(int((items > 0).sum(axis=1).max(initial=0)), 1)])

    def _scores(self, users: Tensor, items: Tensor) -> Tensor:
        """Return the model's scores `(B, C)` of `users (B,)` with `items (B, C)`."""
        model, device = self.model, self.model.device
        users, items = users.to(device), items.to(device)
        if not self.fitted.config.metric:
            p, q = model.user_embedding(users), model.item_embedding(items)
            return (q @ p.unsqueeze(2)).squeeze(dim=2).cpu()
        size = model.rows_within(model.work.pair_floats * items.shape[1])
        parts = []
        for u, i in zip(users.split(size), items.split(size), strict=True):
            parts.append(model.scores(model.users(u, model.evaluation_history(u)), model.listed(u, i)))
        return torch.cat(parts).cpu()

    @torch.no_grad()
    def tables(
        self, names: np.ndarray, ids: Tensor, k: int, exclude_seen: bool, allowed: Tensor,
        found: dict[str, np.ndarray],
    ) -> Iterator[tuple[int, pd.DataFrame]]:  # fmt: skip
        """Yield, of every block of users, how many and the table of their best `k` items.

        A user of whom too few are found, such as one with a long history or for whom few items are allowed,
        gets those of an exact ranking.
        """
        history, selector = self.fitted.data.history, None
        if not allowed[1:].all():
            wanted = (allowed[1:].nonzero().squeeze(dim=1)).numpy()
            selector = self.faiss.IDSelectorBatch(wanted)
        for rows in spans(max(len(ids), 1), BLOCK):
            users = ids[rows]
            values = torch.full((len(users), k), -torch.inf)
            items = torch.zeros(len(users), k, dtype=torch.int64)
            seen = history.lengths[users] if exclude_seen else torch.zeros_like(users)
            few = torch.ones(len(users), dtype=torch.bool)
            if len(users):
                count = min(OVER * k + int(seen.median()), self.index.ntotal)
                near = self._candidates(users, count, selector)  # (B, C)
                scores = self._scores(users, near)
                refuse_not_finite(scores, self.fitted.config.model)
                scores[near == 0] = -torch.inf
                if exclude_seen:
                    scores[self._is_seen(users, near)] = -torch.inf
                width = min(k, near.shape[1])
                best = scores.topk(width, dim=1)
                values[:, :width], items[:, :width] = best.values, near.gather(1, best.indices)
                few = (values == -torch.inf).any(dim=1) | (users == 0)
            for places in few.nonzero().split(self.fitted.rows_at_once(k)):
                place = places.squeeze(dim=1)
                exact = self.fitted.exact(users[place], exclude_seen, allowed).topk(k, dim=1)
                values[place], items[place] = exact.values.cpu().float(), exact.indices.cpu()
            yield len(users), table_of({"user": names[rows]}, values, items, found)

    def _is_seen(self, users: Tensor, items: Tensor) -> Tensor:
        """Return which of `items (B, C)` the `users (B,)` have seen."""
        history = self.fitted.data.history
        distinct = users.unique()
        members, _ = history.flat(distinct)
        if not len(members):
            return torch.zeros_like(items, dtype=torch.bool)
        rows = torch.repeat_interleave(distinct, history.lengths[distinct])
        seen = rows * history.num_items + members  # (n,), ascending
        pairs = users.unsqueeze(1) * history.num_items + items  # (B, C)
        return seen[torch.searchsorted(seen, pairs).clamp(max=len(seen) - 1)] == pairs
