"""Adaptive Collaborative Metric Learning (AdaCML).

Zhang et al., AdaCML: Adaptive Collaborative Metric Learning for Recommendation, DASFAA 2019
(doi 10.1007/978-3-030-18579-4_18), in the form that Tran et al., RecSys 2021
(doi 10.1145/3460231.3474230) compare with.
"""

from __future__ import annotations

from torch import Tensor

from recbole_hlr.model.base import Pairs
from recbole_hlr.model.mixture import BlockMixture, MixtureRecommender, Ranking
from recbole_hlr.model.relation import attention_weights
from recbole_hlr.protocols import InteractionData, Options


class AdaCML(MixtureRecommender):
    """r(u, v) = sum_j alpha_j q_j, alpha = softmax_j(q_j . q_v), j in I_u.

    Deviation: training and scoring attend to the history alone and in the same way; the released
    code adds 1 to the denominator of most rows in training. An empty history gives r = 0.
    """

    attends_to_history = True

    def __init__(self, config: Options, dataset: InteractionData) -> None:
        super().__init__(config, dataset)
        self.share_negative_relation = config["share_negative_relation"]
        self.attention_smoothing = config["attention_smoothing"]

    def translation(self, pairs: Pairs) -> Tensor:
        """Return r(u, v) `(B, C, d)`."""
        history_e, mask = pairs.listed()  # (B, H, d), (B, H)
        logits = pairs.item_e @ history_e.transpose(1, 2)  # (B, C, H)
        logits = logits.masked_fill(~mask.unsqueeze(1), float("-inf"))
        return attention_weights(logits, self.attention_smoothing, dim=2) @ history_e

    def readout(self, ranking: Ranking, rows: slice) -> Tensor:
        """Return the history items of each user, `(b, H, d)`."""
        known_e, positions, _ = ranking.histories()
        return known_e[positions[rows]]

    def block_mixture(self, ranking: Ranking, items: slice) -> BlockMixture:
        """Return what gives the attention over the history, `(b, H, V)`, from one table of item pairs."""
        known_e, positions, mask = ranking.histories()
        hidden = ~mask.unsqueeze(2)  # (B, H, 1)
        table = known_e @ self.item_embedding.weight[items].T  # (J, V)

        def mixture(rows: slice) -> Tensor:
            logits = table[positions[rows]].masked_fill_(hidden[rows], float("-inf"))  # (b, H, V)
            return attention_weights(logits, self.attention_smoothing, dim=1)

        return mixture

    def ranking_floats(self, ranking: Ranking) -> tuple[int, int, int]:
        """Return the floats per item of a block, per user, and per user and item."""
        known_e, positions, _ = ranking.histories()
        size, width = self.item_embedding.embedding_dim, max(positions.shape[1], 1)
        return len(known_e), width * (2 * size + width), 6 * width

    @property
    def pair_flops(self) -> int:
        """Floating-point operations of one pair's distance, roughly."""
        return 4 * self.max_history * self.item_embedding.embedding_dim

    @property
    def pair_floats(self) -> int:
        """Floats that scoring one pair holds at once."""
        size = self.item_embedding.embedding_dim
        return 4 * size + self._scoring_width(self._eval_history) * (size + 4)
