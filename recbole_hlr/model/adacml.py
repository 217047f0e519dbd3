"""Adaptive Collaborative Metric Learning (AdaCML).

Zhang et al., AdaCML: Adaptive Collaborative Metric Learning for Recommendation, DASFAA 2019
(doi 10.1007/978-3-030-18579-4_18), in the form that Tran et al., RecSys 2021
(doi 10.1145/3460231.3474230) compare with.
"""

from __future__ import annotations

from torch import Tensor

from recbole_hlr.model.base import MetricRecommender
from recbole_hlr.model.candidates import Candidates, Listed, Users
from recbole_hlr.model.work import Work
from recbole_hlr.protocols import InteractionData, Options


class AdaCML(MetricRecommender):
    """r(u, v) = sum_j alpha_j q_j, alpha = softmax_j(q_j . q_v), j in I_u.

    Deviation: training and scoring attend to the history alone and in the same way; the released
    code adds 1 to the denominator of most rows in training. An empty history gives r = 0.
    """

    attends_to_history = True

    def __init__(self, config: Options, dataset: InteractionData) -> None:
        super().__init__(config, dataset)
        self.share_negative_relation = config["share_negative_relation"]
        self.attention_smoothing = config["attention_smoothing"]

    def translation(self, users: Users, items: Listed) -> Tensor:
        """Return r(u, v) `(B, C, d)`."""
        return items.attention(users, self.attention_smoothing) @ users.history_e()

    def distances(self, users: Users, items: Candidates) -> Tensor:
        """Return ||p_u + r - q_v||^2 `(B, C)` or `(B, V)`, r being a mixture of the history's rows."""
        lender = items.first() if self.lends else items
        mixture = lender.attention(users, self.attention_smoothing)
        return items.moved(users.e, mixture, users.history_e())

    @property
    def work(self) -> Work:
        """The sizes that the cost of a distance follows from."""
        width = self._scoring_width(self._eval_history)
        return Work(self.item_embedding.embedding_dim, H=width, attentions=1, own_rows=True)
