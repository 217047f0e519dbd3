"""Collaborative Metric Learning.

Hsieh et al., Collaborative Metric Learning, WWW 2017 (doi 10.1145/3038912.3052639), in the form that
Tran et al., RecSys 2021 (doi 10.1145/3460231.3474230) compare with: Eq. 1.
"""

from __future__ import annotations

from torch import Tensor

from recbole_hlr.model.base import MetricRecommender, Pairs
from recbole_hlr.model.distance import squared_distances


class CML(MetricRecommender):
    """score(u, v) = -||p_u - q_v||^2: no translation.

    Deviation: without the covariance regulariser; rank weights only by `negative_reduction: rank`.
    """

    def translation(self, pairs: Pairs) -> None:
        """Return None: r = 0."""
        return None

    def score_all(self, users: Tensor) -> Tensor:
        """Return `(B, I)` scores; -||p - q||^2 = 2 p.q - ||p||^2 - ||q||^2 needs no (B, I, d).

        Caveat: cancellation leaves an absolute error of some 1e-7 in float32, so distances below
        zero are possible and are clamped; `tests/test_models.py` compares with the pair scores.
        """
        return -squared_distances(self.user_embedding(users), self.item_embedding.weight)
