"""MF-ALS is trained here: an epoch is one iteration of `implicit`'s alternating least squares.

Imported only where MF-ALS is trained, for `implicit` is needed nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from implicit.cpu.als import AlternatingLeastSquares
from recbole.trainer import Trainer
from scipy import sparse
from threadpoolctl import threadpool_limits
from torch import Tensor

from recbole_hlr.errors import InputError
from recbole_hlr.model.mfals import MFALS
from recbole_hlr.protocols import Loader, Options
from recbole_hlr.train.trainer import RunTrainer


class Side:
    """The rows of one table, to be solved for while the other table is fixed.

    Row u of `implicit`'s solvers obeys (Q^T C_u Q + lambda I) p_u = Q^T C_u y_u (Hu et al., Eq. 4), with
    one lambda for all rows. A lambda_u of its own for each row comes from the data that they are given:
    below Q stand d rows sqrt(lambda) e_k, whose pairs with u have y = 0 and c = lambda_u / lambda. They
    add sum_k lambda_u e_k e_k^T = lambda_u I on the left and nothing on the right. A value of -w means
    y = 0, c = w to `implicit`. Cost: R d more entries, as many as the rows have. Caveat: values are kept
    as float32, so that lambda_u is exact to 6e-8; `tests/test_mfals.py` compares with plain loops.
    """

    def __init__(self, weights: sparse.csr_matrix, regularization: Tensor, size: int) -> None:
        lambdas = regularization.cpu().numpy()  # (R,)
        self.weights = weights  # (R, C): c of the interactions
        self.regularization = float(lambdas.mean())
        self.below = np.empty((0, size))
        if np.ptp(lambdas) > 0:
            ratios = (lambdas / self.regularization).astype(np.float32)  # (R,)
            more = sparse.csr_matrix(np.repeat(-ratios[:, None], size, axis=1))  # (R, d)
            self.weights = sparse.hstack([weights, more], format="csr")  # (R, C + d)
            self.below = np.sqrt(self.regularization) * np.eye(size)
            self.regularization = 0.0

    def solve(self, solver: Callable[..., None], rows: np.ndarray, fixed: np.ndarray) -> None:
        """Let `solver` change `rows (R, d)`, given `fixed (C, d)`; threads share rows, never a sum."""
        fixed = np.vstack([fixed, self.below.astype(fixed.dtype)])  # (C, d) or (C + d, d)
        solver(self.weights, rows, fixed, self.regularization, num_threads=torch.get_num_threads())


class Alternation:
    """Alternating least squares on the tables of a model; all its state is in those tables."""

    def __init__(self, model: MFALS) -> None:
        self.model, history = model, model.history
        c = np.full(len(history.items), model.confidence_weight, dtype=np.float32)
        columns, indptr = (history.items - 1).cpu().numpy(), history.indptr[1:].cpu().numpy()
        weights = sparse.csr_matrix((c, columns, indptr), (model.n_users - 1, model.n_items - 1))
        size = model.item_embedding.embedding_dim
        self.users = Side(weights, model.user_regularization, size)
        self.items = Side(weights.T.tocsr(), model.item_regularization, size)

    def iterate(self, after_table: Callable[[], object] = lambda: None) -> None:
        """Solve for all users, then for all items; the padding rows stay zero."""
        tables = (self.model.user_embedding.weight, self.model.item_embedding.weight)
        user_e, item_e = (table.detach()[1:].cpu().numpy().copy() for table in tables)
        with threadpool_limits(1, "blas"):  # the threads are the solver's
            als = AlternatingLeastSquares()
            als.cg_steps = self.model.cg_steps
            self.users.solve(als.solver, user_e, item_e)
            after_table()
            self.items.solve(als.solver, item_e, user_e)
            after_table()
        with torch.no_grad():
            for table, rows in zip(tables, (user_e, item_e), strict=True):
                table[1:] = torch.from_numpy(rows)


class ALSEpoch(Trainer):
    """RecBole's trainer with an epoch that is one iteration of ALS."""

    model: MFALS

    def __init__(self, config: Options, model: MFALS) -> None:
        super().__init__(config, model)
        self.alternation = Alternation(model)

    # --- host hook (RecBole 1.2.0 and 1.2.1) ----------------------------------------------------------

    def _train_epoch(
        self, train_data: Loader, epoch_idx: int, loss_func: object = None, show_progress: bool = False
    ) -> float:
        self.alternation.iterate(self._after_table)
        loss = self.model.objective()
        self._check_nan(loss)
        return loss.item()

    def _after_table(self) -> None:
        """Hear that one of the two tables is solved for."""


class ALSTrainer(RunTrainer, ALSEpoch):
    """Trains MF-ALS; validation, best state, checkpoints and resumption are those of every model."""

    def _after_table(self) -> None:
        self.progress.total, self.progress.unit = 2, "table"
        self.progress.step()

    def _check_nan(self, loss: Tensor) -> None:
        if not torch.isfinite(loss):
            raise InputError(
                f"epoch {self._record['epoch']}: the training loss is {loss.item()} with "
                f"regularization={self.model.regularization} and confidence_weight="
                f"{self.model.confidence_weight}; must be finite: raise the one or lower the other"
            )
