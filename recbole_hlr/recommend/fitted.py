"""A fitted recommender: the best items of users, and the items nearest to others, block by block."""

from __future__ import annotations

import copy
import logging
import reprlib
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from recbole_hlr.config.config import HLRConfig
from recbole_hlr.console import Display
from recbole_hlr.data.chunks import spans
from recbole_hlr.data.ids import Ids, told, whole_number
from recbole_hlr.data.stored import StoredData
from recbole_hlr.errors import InputError
from recbole_hlr.host.memory import keep_freed_memory
from recbole_hlr.metrics.evaluator import refuse_not_finite
from recbole_hlr.model.distance import squared_distances
from recbole_hlr.options.kinds import ON_UNKNOWN_USER
from recbole_hlr.protocols import Recommender
from recbole_hlr.recommend.explaining import explain
from recbole_hlr.recommend.exporting import export
from recbole_hlr.recommend.histories import histories_of
from recbole_hlr.recommend.metadata import Metadata
from recbole_hlr.recommend.progress import Progress
from recbole_hlr.recommend.ranking import best_of, rows_per_block, scores_of
from recbole_hlr.recommend.relations import Relations, relations
from recbole_hlr.recommend.retrieval import Retrieval
from recbole_hlr.recommend.titles import item_file, titles_in
from recbole_hlr.recommend.writing import write_tables, writer_of
from recbole_hlr.train.folding import fold_in

log = logging.getLogger("recbole_hlr")

Titles: TypeAlias = Mapping[str, str] | str | Path | None  # by the ids of items, or a file that has them


class FittedRecommender:
    """The best state of a run: `model`, its `config`, and the data set's own user and item ids.

    Wherever ids are asked for, they are one id as in the data set's files, an iterable of them such as a
    list, an array or a tensor, a column or a table of pandas or of a library with the Arrow interface
    such as polars, or the `Path` of a file of them; an integer stands for its digits.
    """

    def __init__(self, model: Recommender, config: HLRConfig, data: StoredData) -> None:
        self.model, self.config, self.data = model, config, data
        self._users = Ids("user", data.uid_field, data.user_tokens)
        self._items = Ids("item", data.iid_field, data.item_tokens)
        self._trained = data.history  # tells what is popular

    @property
    def users(self) -> list[str]:
        """The ids of all users."""
        return self.data.user_tokens[1:]

    def recommend(
        self,
        users: object,
        k: int = 10,
        exclude_seen: bool = True,
        *,
        items: object = None,
        exclude_items: object = None,
        on_unknown: str = "raise",
        titles: Titles = None,
        approximate: bool = False,
    ) -> pd.DataFrame:
        """Return the best `k` items of each user: columns user, rank (from 1), item, score, larger is better.

        Only `items` are recommended, where they are given, and never `exclude_items`. Items of the
        training part are left out unless `exclude_seen` is false. With `titles`, by id or in a file,
        there is a column title. An id that is not in the data is an `InputError`; with `on_unknown` it is
        left out, and named in a message ("warn") or not ("ignore"), or, a user's, gets the items with
        the most interactions, which are then their scores ("popular", with a message). Users are ranked in
        blocks that `eval_memory` has room for. `approximate` ranks what an index of the items finds, which
        may miss some of the best. Raises `InputError` for scores that are not finite.
        """
        how = items, exclude_items, on_unknown, titles, approximate
        _, tables = self._ranked(users, k, exclude_seen, *how)
        return pd.concat([table for _, table in tables], ignore_index=True)

    def recommend_for(
        self,
        histories: object,
        k: int = 10,
        exclude_seen: bool = True,
        *,
        items: object = None,
        exclude_items: object = None,
        on_unknown: str = "warn",
        titles: Titles = None,
    ) -> pd.DataFrame:
        """Return the best `k` items of users who need not be in the data, by their histories, as `recommend`.

        `histories` are lists of items by names of users, {"anna": ["50", "181"]}, or a table with a column of
        users and one of items, or the `Path` of a file that holds one; whoever else has a name in the data
        does not matter. Users are folded in (`train/folding.py`). Items of their histories are left
        out unless `exclude_seen` is false. An item that is not in the data is left out of a history,
        whatever `on_unknown` but "raise"; who has none left gets the items with the most interactions.
        Raises `InputError`, also for a model that is none of this package.
        """
        _, tables = self._ranked_for(histories, k, exclude_seen, items, exclude_items, on_unknown, titles)
        return pd.concat([table for _, table in tables], ignore_index=True)

    def write_recommendations(
        self, path: str | Path, users: object = None, *, histories: object = None, **how: Any
    ) -> int:
        """Write what `recommend` returns to a `.parquet`, `.csv` or `.jsonl` file; return its rows.

        `users` are all, where none are given; with `histories` it is what `recommend_for` returns; `how` is
        as for these. One block of users after the other is ranked and written, and no table of all is made.
        The file appears when it is whole.
        """
        path = Path(path)
        writer_of(path)
        if self.config["device"].type == "cpu":
            keep_freed_memory()
        if histories is not None:
            progress = Progress(*self._ranked_for(histories, **how))
        else:
            progress = Progress(*self._ranked(self.users if users is None else users, **how))
        with Display(progress.rows):
            write_tables(path, progress)
        return progress.written

    def similar(self, items: object, k: int = 10, *, titles: Titles = None) -> pd.DataFrame:
        """Return the `k` items nearest to each of `items`: item, rank (from 1), similar, and how near.

        For a metric model that is the column `squared_distance`, ||q_a - q_b||^2 of the items' vectors,
        smaller is nearer (vectors of one length have the same order by cosine); for MF-ALS and RecBole's
        models with vectors of items, `item_embedding`, the column `cosine`, larger is nearer. With
        `titles` there is a column title, of the similar item. Raises `InputError` for an item that is not in
        the data, and for a model without such vectors.
        """
        most = at_most(k, max(self.data.item_num - 2, 1))
        vectors, found = self._item_vectors(), self._described("similar", titles)
        names, ids = self._items.find(items)
        tables = []
        for rows in self._blocks(ids, most):
            scores = self._nearness(vectors, ids[rows])  # (B, I)
            refuse_not_finite(scores, self.config.model, " of items", unranked=[(slice(None), 0)])
            scores[:, 0] = -torch.inf
            scores[torch.arange(len(scores)), ids[rows]] = -torch.inf
            tables.append(best_of({"item": names[rows]}, scores, most, found))
        table = pd.concat(tables, ignore_index=True)
        if not self.config.metric:
            return table.rename(columns={"score": "cosine"})
        return table.assign(score=table["score"].abs()).rename(columns={"score": "squared_distance"})

    def explain(self, user: object, item: object, k: int = 10, *, titles: Titles = None) -> pd.DataFrame:
        """Return why an item has its score for a user: parts whose `contribution` add up to it.

        Columns: part, id, title where `titles` are given, what the model has of weight, slots and
        squared_distance, and contribution; the `k` largest of what r is made of, and the rest as one row;
        docs/explain.md. `attrs` has the score, its rank of so many items that the user has not `seen`, and
        of a metric model the squared distances without r and with it, `distance` and `moved_distance`.
        Raises `InputError` for a user without a history, for ids that are not in the data, and for a
        model of RecBole's own.
        """
        return explain(self, user, item, at_most(k, self.data.user_num + self.data.item_num), titles)

    def relations(self, metadata: Metadata = None, k: int = 10, *, titles: Titles = None) -> Relations:
        """Return what the memory of HLR, HLR++ or LRML has learned, over pairs that it was trained on.

        With `metadata`, values of items such as genres, by id or as "FILE:COLUMN" or, of the data set's own
        `.item` file, "COLUMN", there is which of them the slots are about; `k` typical pairs are found for
        each slot; docs/explain.md. Raises `InputError` for a model without a memory, and for a file or a
        column that is not there.
        """
        return relations(self, metadata, at_most(k, self.data.item_num), titles)

    def titles(self, file: str | Path | None = None) -> dict[str, str]:
        """Return the titles of items by their ids, from an atomic `.item` file or a table with a header.

        Without a `file`, from the one beside the data set's interactions, {} where there is none or
        where it holds no titles. Raises `InputError` for a `file` that holds none.
        """
        if file is not None:
            return titles_in(Path(file), self.data.iid_field)
        beside, encoding = item_file(self.config), self.config["encoding"] or "utf-8"
        try:
            return titles_in(beside, self.data.iid_field, encoding) if beside else {}
        except InputError as error:
            log.info("no titles are known: %s", error)
            return {}

    def export(self, folder: str | Path, index: bool = False) -> dict[str, Any]:
        """Write vectors, ids, histories and a scorer that needs numpy alone to a new `folder`.

        With `index` there is one of the items beside them, for the scorer and faiss. Returns what the
        folder's manifest says. Raises `InputError` for a model without vectors, or that no index serves.
        """
        return export(self, folder, index)

    # --- what is asked for ---------------------------------------------------------------------------

    def _ranked(
        self, users: object, k: int = 10, exclude_seen: bool = True, items: object = None,
        exclude_items: object = None, on_unknown: str = "raise", titles: Titles = None,
        approximate: bool = False,
    ) -> tuple[int, Iterator[tuple[int, pd.DataFrame]]]:  # fmt: skip
        """Return how many users there are, and of every block of them how many and their table."""
        refuse_other_choices(exclude_seen, on_unknown)
        popular = on_unknown == "popular"
        become = "get the items with the most interactions" if popular else "are left out"
        names, ids = self._users.find(users, on_unknown, become)
        untrained = names[((ids > 0) & (self.data.history.lengths[ids] == 0)).numpy()].tolist()
        if untrained:
            log.warning(
                "%d user(s) have no training interaction, so that nothing was learned of them; give their "
                "histories: %s", len(untrained), told(untrained),
            )  # fmt: skip
        if not popular:
            names, ids = names[(ids > 0).numpy()], ids[ids > 0]
        allowed = self._allowed(items, exclude_items, on_unknown)
        return self._asked(names, ids, k, exclude_seen, allowed, titles, approximate)

    def _ranked_for(
        self, histories: object, k: int = 10, exclude_seen: bool = True, items: object = None,
        exclude_items: object = None, on_unknown: str = "warn", titles: Titles = None,
    ) -> tuple[int, Iterator[tuple[int, pd.DataFrame]]]:  # fmt: skip
        """Return the same for users who are folded in."""
        refuse_other_choices(exclude_seen, on_unknown)
        allowed = self._allowed(items, exclude_items, on_unknown)
        names, ids, history = histories_of(histories, self._users, self._items, on_unknown)
        other = copy.copy(self)
        other.model = fold_in(self.model, history, self.config.model)
        other.data = copy.copy(self.data)
        other.data.history = history
        return other._asked(names, ids, k, exclude_seen, allowed, titles)

    def _asked(
        self, names: np.ndarray, ids: Tensor, k: int, exclude_seen: bool, allowed: Tensor, titles: Titles,
        approximate: bool = False,
    ) -> tuple[int, Iterator[tuple[int, pd.DataFrame]]]:  # fmt: skip
        most = at_most(k, int(allowed.sum()))
        ranked = self.index.tables if approximate else self._tables
        tables = ranked(names, ids, most, bool(exclude_seen), allowed, self._described("item", titles))
        return len(ids), tables

    def _allowed(self, items: object, exclude_items: object, on_unknown: str) -> Tensor:
        """Return which items may be recommended, `(I,)`; `InputError` where none is left."""
        allowed = torch.full((self.data.item_num,), items is None)
        for given, may in ((items, True), (exclude_items, False)):
            if given is not None:
                allowed[self._items.find(given, on_unknown)[1]] = may
        allowed[0] = False
        if not allowed.any():
            raise InputError("items: none of the run's items is left to recommend")
        return allowed

    def _described(self, column: str, titles: Titles) -> dict[str, np.ndarray]:
        """Return the columns that tell of items, `(I,)`: their ids and, where they are given, titles."""
        if titles is None:
            return {column: self._items.tokens}
        by_id = titles if isinstance(titles, Mapping) else self.titles(titles)
        known = [by_id.get(token, "") for token in self.data.item_tokens]
        return {column: self._items.tokens, "title": np.array(known, dtype=object)}

    # --- what is found -------------------------------------------------------------------------------

    def _blocks(self, ids: Tensor, k: int) -> list[slice]:
        """Return the places of blocks of `ids (n,)`, at least one."""
        return spans(max(len(ids), 1), self.rows_at_once(k))

    def rows_at_once(self, k: int) -> int:
        """Return for how many users all items are ranked at once."""
        return rows_per_block(self.config["eval_memory"], self.data.item_num, k)

    def _tables(
        self, names: np.ndarray, ids: Tensor, k: int, exclude_seen: bool, allowed: Tensor,
        found: dict[str, np.ndarray],
    ) -> Iterator[tuple[int, pd.DataFrame]]:  # fmt: skip
        for rows in self._blocks(ids, k):
            users = ids[rows]
            scores = self.exact(users, exclude_seen, allowed)
            yield len(users), best_of({"user": names[rows]}, scores, k, found)

    def exact(self, users: Tensor, exclude_seen: bool, allowed: Tensor) -> Tensor:
        """Return the scores `(B, I)` of users, -inf for items that are not to be recommended."""
        scores = self._scores(users)  # (B, I)
        scores[:, ~allowed] = -torch.inf
        if exclude_seen:
            seen, _ = self.data.history.flat(users)  # (n,)
            scores[torch.repeat_interleave(self.data.history.lengths[users]), seen] = -torch.inf
        return scores

    @cached_property
    def index(self) -> Retrieval:
        """The index of the items that `approximate` searches."""
        return Retrieval(self)

    def _scores(self, users: Tensor) -> Tensor:
        """Return the scores `(B, I)` of users, of user 0 the popularity of items."""
        if not len(users):
            return torch.empty(0, self.data.item_num)
        scores = scores_of(self.model, users.clamp(min=1), self.data.item_num)
        refuse_not_finite(scores, self.config.model, unranked=[(slice(None), 0)])
        if not users.all():
            popularity = torch.bincount(self._trained.items, minlength=self.data.item_num)  # (I,)
            scores[users == 0] = popularity.to(scores)
        return scores

    def _item_vectors(self) -> Tensor:
        """Return the items' vectors `(I, d)`, of length 1 where the model is no metric one."""
        table = getattr(self.model, "item_embedding", None)
        if not isinstance(table, nn.Embedding) or table.num_embeddings != self.data.item_num:
            raise InputError(
                f"model={self.config.model}: has no vectors of items (item_embedding) to be near each "
                "other; must be a model that has, such as CML, HLR, MF-ALS or BPR"
            )
        vectors = table.weight.detach()
        return vectors if self.config.metric else nn.functional.normalize(vectors, dim=1)

    def _nearness(self, vectors: Tensor, items: Tensor) -> Tensor:
        """Return minus the squared distances, or the cosines, `(B, I)` of items with all others."""
        given = vectors[items.to(vectors.device)]  # (B, d)
        if self.config.metric:
            return squared_distances(given, vectors).clamp_(min=0).neg_()
        return given @ vectors.T


def refuse_other_choices(exclude_seen: object, on_unknown: object) -> None:
    """Raise `InputError` for what is no choice."""
    if on_unknown not in ON_UNKNOWN_USER:
        allowed = ", ".join(ON_UNKNOWN_USER)
        raise InputError(f"on_unknown={reprlib.repr(on_unknown)}: must be one of {allowed}")
    if not isinstance(exclude_seen, bool | np.bool_):
        raise InputError(f"exclude_seen={reprlib.repr(exclude_seen)}: must be true or false")


def at_most(k: object, items: int) -> int:
    """Return how many of so many `items` are found at most for a `k`; `InputError` for no number."""
    most = whole_number(k)
    if most is None or most < 1:
        raise InputError(f"k={reprlib.repr(k)}: must be an integer >= 1")
    return min(most, items)
