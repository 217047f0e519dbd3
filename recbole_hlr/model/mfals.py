"""MF-ALS: matrix factorisation of implicit feedback by alternating least squares.

Hu, Koren and Volinsky, Collaborative Filtering for Implicit Feedback Datasets, ICDM 2008
(doi 10.1109/ICDM.2008.22), with the regularisation of Rendle et al., Revisiting the Performance of iALS
on Item Recommendation Benchmarks, RecSys 2022 (doi 10.1145/3523227.3548486). Letters: those of
`model/base.py`; c: `confidence_weight`, lambda: `regularization`, nu: `regularization_scaling`.
"""

from __future__ import annotations

import torch
from recbole.model.abstract_recommender import GeneralRecommender
from recbole.utils import InputType
from torch import Tensor, nn

from recbole_hlr.data.interactions import InteractionMatrix
from recbole_hlr.data.random import Stream, generator_for
from recbole_hlr.errors import InputError
from recbole_hlr.model.others import with_users
from recbole_hlr.options.plain import complete
from recbole_hlr.protocols import Batch, InteractionData, Options

_PAIRS = 2**16  # interactions whose scores are held at once


class MFALS(GeneralRecommender):
    """score(u, v) = p_u . q_v, with the tables that minimise J over all users and items (Hu et al., Eq. 3).

        J = sum_uv c_uv (y_uv - p_u . q_v)^2 + sum_u lambda_u ||p_u||^2 + sum_v lambda_v ||q_v||^2

    y = 1 and c_uv = c for training interactions, y = 0 and c_uv = 1 for all other pairs; another weight
    of those is the same model with another c and lambda. No metric model: nothing is drawn, and no
    gradient is followed; `train/als.py` trains it.
    """

    USER_ID: str  # what the host's class sets, which declares no types
    ITEM_ID: str
    n_users: int
    n_items: int
    device: torch.device

    input_type = InputType.POINTWISE

    def __init__(self, config: Options, dataset: InteractionData) -> None:
        complete(config, type(self))
        super().__init__(config, dataset)
        self.confidence_weight = config["confidence_weight"]
        self.regularization = config["regularization"]
        self.regularization_scaling = config["regularization_scaling"]
        self.cg_steps = config["cg_steps"]
        self.history = InteractionMatrix.of(dataset).to(self.device)
        audience = torch.bincount(self.history.items, minlength=self.n_items)  # (I,)
        self.user_regularization = self._regularization_of(self.history.lengths[1:], self.n_items - 1)
        self.item_regularization = self._regularization_of(audience[1:], self.n_users - 1)
        self.user_embedding = nn.Embedding(self.n_users, config["embedding_size"], padding_idx=0)
        self.item_embedding = nn.Embedding(self.n_items, config["embedding_size"], padding_idx=0)
        generator = generator_for(config["seed"], Stream.FACTORS)
        with torch.no_grad():
            for table in (self.user_embedding, self.item_embedding):
                table.weight[1:].uniform_(0, 0.01, generator=generator)  # as `implicit` begins

    def _regularization_of(self, counts: Tensor, columns: int) -> Tensor:
        """Return lambda_u `(R,)` of rows with `counts (R,)` interactions out of `columns`, float64.

        lambda_u = lambda (sum_v c_uv)^nu = lambda ((c - 1) |I_u| + |I|)^nu. Rendle et al. write
        lambda (|I_u| + alpha_0 |I|)^nu: the same, with alpha_0 = 1 / (c - 1), but for a constant, for
        their pairs weigh 1 + alpha_0 and alpha_0 where these weigh c and 1.
        """
        weight = (self.confidence_weight - 1) * counts.double() + columns  # (R,)
        return self.regularization * weight**self.regularization_scaling

    @torch.no_grad()
    def objective(self) -> Tensor:
        """Return J, float64.

        J's sum over all pairs with weight 1 and y = 0 is the sum of (P^T P) * (Q^T Q), elementwise, so
        that no (U, I) is built; what interactions add to it is c (1 - s)^2 - s^2 with s = p_u . q_v.
        """
        user_e, item_e = self.user_embedding.weight, self.item_embedding.weight  # (U, d), (I, d)
        users, items = user_e.double(), item_e.double()
        total = ((users.T @ users) * (items.T @ items)).sum()
        for u, v in zip(self.history.users().split(_PAIRS), self.history.items.split(_PAIRS), strict=True):
            s = (user_e[u] * item_e[v]).sum(dim=1).double()  # (nnz,)
            total += (self.confidence_weight * (1 - s).square() - s.square()).sum()
        total += self.user_regularization @ users[1:].square().sum(dim=1)
        return total + self.item_regularization @ items[1:].square().sum(dim=1)

    @torch.no_grad()
    def of_others(self, history: InteractionMatrix) -> MFALS:
        """Return this model for other users, who have `history`: they minimise J, all else is shared.

        Hu et al., Eq. 4: (Q^T Q + (c - 1) Q_u^T Q_u + lambda_u I) p_u = c Q_u^T 1, Q_u the rows of u's
        items. Training's conjugate gradients come near to it.
        """
        other = with_users(self, history.num_users)
        item_e = self.item_embedding.weight.double()  # (I, d)
        lambdas = self._regularization_of(history.lengths, self.n_items - 1)  # (U,)
        every = item_e.T @ item_e  # (d, d)
        identity = torch.eye(len(every), dtype=every.dtype, device=every.device)
        for user in history.lengths.nonzero().squeeze(dim=1).tolist():
            own = item_e[history.items[history.indptr[user] : history.indptr[user + 1]]]  # (H, d)
            left = every + (self.confidence_weight - 1) * own.T @ own + lambdas[user] * identity
            other.user_embedding.weight[user] = torch.linalg.solve(
                left, self.confidence_weight * own.sum(dim=0)
            )
        return other

    def calculate_loss(self, interaction: Batch) -> Tensor:
        """Raise `InputError`: a trainer that asks for this follows gradients (host interface)."""
        raise InputError(
            "model=MFALS: has no gradient for RecBole's plain Trainer to follow; must be trained by "
            "run_recbole, by what recbole.utils.get_trainer returns for it, or by recbole_hlr.run"
        )

    @torch.no_grad()
    def predict(self, interaction: Batch) -> Tensor:
        """Return the scores `(B,)` of pairs, larger is better (host interface)."""
        user_e = self.user_embedding(interaction[self.USER_ID])  # (B, d)
        return (user_e * self.item_embedding(interaction[self.ITEM_ID])).sum(dim=1)

    @torch.no_grad()
    def full_sort_predict(self, interaction: Batch) -> Tensor:
        """Return the scores `(B, I)` of users with all items, larger is better (host interface)."""
        return self.user_embedding(interaction[self.USER_ID]) @ self.item_embedding.weight.T
