"""The trainer of MF-ALS: an epoch is one iteration of `implicit`'s alternating least squares.

Imported only where MF-ALS is trained, for `implicit` is needed nowhere else.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from implicit.cpu.als import AlternatingLeastSquares
from recbole.trainer import Trainer
from scipy import sparse
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from recbole_hlr.errors import InputError
from recbole_hlr.model.mfals import MFALS
from recbole_hlr.resumable import RunTrainer


class Side:
    """The rows of one table, to be solved for while the other table is fixed.

    Row u of `implicit`'s solvers obeys (Q^T C_u Q + lambda I) p_u = Q^T C_u y_u (Hu et al., Eq. 4), with
    one lambda for all rows; a lambda_u of its own for each row comes from the data they are given:
    below Q stand d rows sqrt(lambda) e_k, whose pairs with u have y = 0 and c = lambda_u / lambda. They
    add sum_k lambda_u e_k e_k^T = lambda_u I to the left side, nothing to the right one. A value -w means
    y = 0, c = w to `implicit`. Caveat: it keeps weights as float32, so lambda_u is exact to 6e-8.
    """

    def __init__(self, weights: sparse.csr_matrix, regularization: np.ndarray, size: int) -> None:
        self.weights = weights  # (R, C) c of the interactions
        self.regularization = float(regularization.mean())
        self.below = np.empty((0, size))
        if np.ptp(regularization) > 0:
            ratio = regularization / self.regularization  # (R,)
            of_below = np.repeat(-ratio[:, None].astype(np.float32), size, axis=1)  # (R, d)
            self.weights = sparse.hstack([weights, sparse.csr_matrix(of_below)], format="csr")  # (R, C + d)
            self.below = np.sqrt(self.regularization) * np.eye(size)
            self.regularization = 0.0

    def solve(self, solver: Any, rows: np.ndarray, fixed: np.ndarray) -> None:
        """Let `solver` change `rows (R, d)`, given `fixed (C, d)`; threads solve different rows."""
        everything = np.vstack([fixed, self.below.astype(fixed.dtype)])  # (C, d) or (C + d, d)
        solver(self.weights, rows, everything, self.regularization, num_threads=torch.get_num_threads())


class AlternatingEpoch(Trainer):
    """RecBole's trainer with an epoch that solves for all users, then for all items."""

    def __init__(self, config: Any, model: MFALS) -> None:
        super().__init__(config, model)
        history = model.history
        c = np.full(len(history.items), model.confidence_weight, dtype=np.float32)
        columns, indptr = (history.items - 1).int().cpu().numpy(), history.indptr[1:].int().cpu().numpy()
        weights = sparse.csr_matrix((c, columns, indptr), (model.n_users - 1, model.n_items - 1))
        size = model.item_embedding.embedding_dim
        self.sides = (
            Side(weights, model.user_regularization.cpu().numpy(), size),
            Side(weights.T.tocsr(), model.item_regularization.cpu().numpy(), size),
        )

    # --- host hook (RecBole 1.2.0 and 1.2.1) ----------------------------------------------------------

    def _train_epoch(
        self, train_data: Any, epoch_idx: int, loss_func: Any = None, show_progress: bool = False
    ) -> float:
        """Run one iteration and return the objective; the padding rows stay zero."""
        tables = [self.model.user_embedding.weight, self.model.item_embedding.weight]
        users, items = (table.detach()[1:].cpu().numpy().copy() for table in tables)
        name = f"epoch {epoch_idx}"
        bar = tqdm(total=2, desc=name, leave=False, ncols=80, unit="table", disable=not show_progress)
        with bar, threadpool_limits(1, "blas"):  # threads of the BLAS below the solver's slow it down
            als = AlternatingLeastSquares(factors=users.shape[1])
            als.cg_steps = self.model.cg_steps
            for side, rows, fixed in zip(self.sides, (users, items), (items, users), strict=True):
                side.solve(als.solver, rows, fixed)
                bar.update()
        with torch.no_grad():
            for table, rows in zip(tables, (users, items), strict=True):
                table[1:] = torch.from_numpy(rows)
        loss = self.model.objective()
        self._check_nan(loss)
        return loss.item()


class AlternatingTrainer(RunTrainer, AlternatingEpoch):
    """Trains MF-ALS; validation, best state, checkpoints and resumption are those of every model."""

    def _check_nan(self, loss: torch.Tensor) -> None:
        if not torch.isfinite(loss):
            raise InputError(
                f"epoch {self._record['epoch']}: the training loss is {loss.item()} with "
                f"regularization={self.model.regularization} and confidence_weight="
                f"{self.model.confidence_weight}; must be finite: raise the one or lower the other"
            )
