"""Scores and recommendations from the files of this folder, with numpy alone.

    python score.py USER [K]

    from score import Recommender
    Recommender("FOLDER").recommend("196", k=10)

The formulas are those of Tran et al., Hierarchical Latent Relation Modeling for Collaborative Metric
Learning, RecSys 2021 (doi 10.1145/3460231.3474230), and of the models that it compares with.

| letter | name | shape, meaning |
|---|---|---|
| p, q | `p`, `q` | (d,) the user's vector, (V, d) those of V items |
| q_j, H | `history` | (H, d) vectors of the user's items |
| r | | (V, d) the translation: score = -||p + r - q||^2, with an item bias b_v - ||p + r - q||^2 |
| K, M, N | `keys`, `memories` | (N, d) the relation memory: rel(a, b) = softmax((a * b) K^T) M |
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

Array = Any  # of numpy
BLOCK = 2**22  # numbers of a block of items that are held at once
OVER = 4  # times k: neighbours that are looked for around each point of the index


def relation(a: Array, b: Array, memory: tuple[Array, Array]) -> Array:
    """Return rel(a, b) `(..., d)` of vectors `a` and `b` `(..., d)` (Eqs. 2-4)."""
    keys, memories = memory
    logits = (a * b) @ keys.T  # (..., N), Eq. 2
    exp = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return (exp / exp.sum(axis=-1, keepdims=True)) @ memories  # Eqs. 3-4


def attention(values: Array, queries: Array, smoothing: float) -> Array:
    """Return sum_j alpha_j v_j `(V, d)`, alpha_j = exp(query . v_j) / (sum_k exp(query . v_k))^smoothing.

    `values` are (V or 1, H, d), `queries` (V or 1, d). Smoothing 1 is a softmax (Eqs. 5-6); over nothing the
    sum is 0.
    """
    exp = np.exp(values @ queries[:, :, None])[:, :, 0]  # (V, H)
    total = exp.sum(axis=1, keepdims=True)  # (V, 1)
    alpha = exp / np.where(total > 0, total, 1) ** smoothing  # (V, H)
    return (alpha[:, None] @ values)[:, 0]  # (V, d)


def with_one(values: Array, own: Array | None, count: int) -> Array:
    """Return `values (V or 1, H, d)` and, where there is one, `own (V, d)` as one more of each of V items."""
    if own is None:
        return values
    return np.concatenate([np.broadcast_to(values, (count, *values.shape[1:])), own[:, None]], axis=1)


def no_translation(of: Recommender, user: int, items: Array) -> float:
    """CML: r = 0."""
    return 0.0


def pair_relation(of: Recommender, user: int, items: Array) -> Array:
    """LRML: r(u, v) = rel(p_u, q_v)."""
    return relation(of.users[user], of.items[items], of.memory)


def neighbourhoods(of: Recommender, user: int, items: Array) -> Array:
    """TransCF: r(u, v) = a_u * b_v, a_u the mean of q over u's items, b_v that of p over v's users."""
    return of.user_means[user] * of.item_means[items]


def history_vectors(of: Recommender, user: int, items: Array) -> Array:
    """AdaCML: r(u, v) = sum_j alpha_j q_j, alpha = softmax_j(q_v . q_j), j in u's history."""
    history = of.items[of.attended.of(user)]  # (H, d)
    return attention(history[None], of.items[items], of.options["attention_smoothing"])


def user_attention(of: Recommender, user: int, items: Array) -> Array:
    """HLR: r(u, v) = sum_j alpha_j rel(q_v, q_j), alpha = softmax_j(p_u . rel(q_v, q_j)) (Eqs. 5-6).

    With `attend_user` rel(q_v, p_u), from the second memory where there is one, is one more of them.
    """
    p, q, history = of.users[user], of.items[items], of.items[of.attended.of(user)]
    memory = of.memory if of.direct_memory[0] is None else of.direct_memory
    own = relation(q, p, memory) if of.options["attend_user"] else None
    relations = with_one(relation(q[:, None], history, of.memory), own, len(q))  # (V, H, d)
    return attention(relations, p[None], of.options["attention_smoothing"])


def item_attention(of: Recommender, user: int, items: Array) -> Array:
    """HLR++'s second part: sum_x beta_x rel(p_u, x), beta = softmax_x(q_v . rel(p_u, x)) (section 3.3).

    x are the items of u, or the users of v; with `attend_target` q_v is one more of them.
    """
    p, q, smoothing = of.users[user], of.items[items], of.options["attention_smoothing"]
    own = relation(p, q, of.memory) if of.options["attend_target"] else None  # (V, d)
    if of.options["item_attention"] == "history":
        relations = relation(p, of.items[of.attended.of(user)], of.memory)[None]  # (1, H, d)
        return attention(with_one(relations, own, len(q)), q, smoothing)
    found = np.empty_like(q)
    for n, item in enumerate(items):
        relations = relation(p, of.users[of.audience.of(item)], of.memory)[None]
        one = with_one(relations, None if own is None else own[n : n + 1], 1)
        found[n] = attention(one, q[n : n + 1], smoothing)[0]
    return found


def both_attentions(of: Recommender, user: int, items: Array) -> Array:
    """HLR++: user attention + item attention (Eq. 9)."""
    return user_attention(of, user, items) + item_attention(of, user, items)


TRANSLATIONS: dict[str, Callable[[Recommender, int, Array], Array]] = {
    "CML": no_translation,
    "LRML": pair_relation,
    "TransCF": neighbourhoods,
    "AdaCML": history_vectors,
    "HLR": user_attention,
    "HLRPP": both_attentions,
}


class Lists:
    """Rows of different lengths, as in a file of `scipy.sparse.save_npz`."""

    def __init__(self, file: Path) -> None:
        with np.load(file) as matrix:
            self.starts, self.columns = matrix["indptr"], matrix["indices"]

    def of(self, row: int) -> Array:
        """Return the columns of a row."""
        return self.columns[self.starts[row] : self.starts[row + 1]]


class Recommender:
    """The model of a folder: `users (U, d)`, `items (I, d)`, in the order of the files of ids."""

    def __init__(self, folder: str | Path) -> None:
        self.path = path = Path(folder)
        self.index: Any = None
        self.manifest = json.loads((path / "manifest.json").read_text(encoding="utf-8"))
        self.formula, self.options = self.manifest["formula"], self.manifest["options"]
        names = ("user", "item")
        self.ids = {name: json.loads((path / f"{name}_ids.json").read_text("utf-8")) for name in names}
        self.numbers = {name: {one: n for n, one in enumerate(ids)} for name, ids in self.ids.items()}
        self.users, self.items = (np.load(path / f"{name}_vectors.npy") for name in names)

        def read(name: str) -> Any:
            file = path / name
            return (Lists if name.endswith("npz") else np.load)(file) if file.exists() else None

        self.history, self.attended, self.audience = map(
            read, ("history.npz", "attended.npz", "audience.npz")
        )
        self.memory, self.direct_memory = (
            (read(f"{kind}keys.npy"), read(f"{kind}memories.npy")) for kind in ("", "direct_")
        )
        self.user_means, self.item_means = map(read, ("user_means.npy", "item_means.npy"))
        self.bias = read("item_bias.npy")

    def score(self, user: str, items: Iterable[str] | None = None) -> Array:
        """Return the scores of a user with `items`, or with all of them: larger is better."""
        if items is not None:
            items = np.array([self.numbers["item"][item] for item in items], dtype=int)
        return self.scores(self.numbers["user"][user], items)

    def scores(self, user: int, items: Array | None = None) -> Array:
        """Return the scores of a user with items, all by their places in the files of ids."""
        items = np.arange(len(self.items)) if items is None else items
        attended = 1 + len(self.attended.of(user)) if self.attended else 1
        size = max(BLOCK // (attended * self.items.shape[1]), 1)
        blocks = [items[start : start + size] for start in range(0, len(items), size)]
        return np.concatenate([np.zeros(0, np.float32), *(self._block(user, block) for block in blocks)])

    def _block(self, user: int, items: Array) -> Array:
        p, q = self.users[user], self.items[items]
        if self.formula == "inner product":
            return q @ p
        if self.formula not in TRANSLATIONS:
            raise ValueError("the formula of this model is not in this file; its vectors are")
        r = TRANSLATIONS[self.formula](self, user, items)
        scores = -np.square(p + r - q).sum(axis=1)
        return scores if self.bias is None else scores + self.bias[items]

    def recommend(
        self, user: str, k: int = 10, exclude_seen: bool = True, approximate: bool = False
    ) -> list[tuple[str, float]]:
        """Return the `k` best items of a user and their scores, the best first.

        Where it is `approximate`, of those that the index finds, all where it finds fewer than `k`; it needs
        faiss and an export with an index.
        """
        number = self.numbers["user"][user]
        seen = self.history.of(number) if exclude_seen else np.zeros(0, int)
        items = np.arange(len(self.items))
        if approximate:
            near = np.setdiff1d(self.near(number, OVER * k + len(seen)), seen)
            items = near if len(near) >= k else items
        items = np.setdiff1d(items, seen)
        scores = self.scores(number, items)
        best = np.argsort(-scores, kind="stable")[:k]
        return [(self.ids["item"][items[n]], float(scores[n])) for n in best]

    def near(self, user: int, count: int) -> Array:
        """Return the places of items that the index finds, `count` around each of a user's points."""
        if self.index is None:
            import faiss

            self.index = faiss.read_index(str(self.path / "items.faiss"))
            self.probes = np.load(self.path / "probes.npy")
        points = np.append(self.users[user], np.float32(0)) + self.probes  # (P, d + 1)
        _, found = self.index.search(points, min(count, len(self.items)))
        return np.unique(found[found >= 0])


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit("usage: python score.py USER [K]")
    found = Recommender(Path(__file__).parent)
    if sys.argv[1] not in found.numbers["user"]:
        sys.exit(f"{sys.argv[1]}: is not among the {len(found.users)} users")
    for item, score in found.recommend(sys.argv[1], int(sys.argv[2]) if len(sys.argv) == 3 else 10):
        print(f"{item}\t{score:.6f}")
