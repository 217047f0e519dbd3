"""The contract of a recommender as tests to inherit: the shipped models pass it, and one of your own should.

    from recbole_hlr.testing import ModelContract

    class TestMine(ModelContract):
        model = Mine
        options = {"num_memories": 3}

pytest runs them on a data set of 23 users and 17 items that is written for each test. All sizes are distinct.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from recbole.data.interaction import Interaction

from recbole_hlr.errors import InputError
from recbole_hlr.experiment.assemble import Experiment, prepare
from recbole_hlr.experiment.evaluate import evaluate
from recbole_hlr.experiment.run import run
from recbole_hlr.recommend.load import load

NUM_USERS, NUM_ITEMS = 23, 17
UNTRAINED = "u2"  # a user who is in the test part alone: an empty history
PARTS = ("train", "valid", "test")


def interactions(seed: int = 0) -> dict[str, list[tuple[str, str]]]:
    """Return the (user, item) pairs of each part: 2 to 6 items to train on, one to validate, one to test."""
    rng = np.random.default_rng(seed)
    parts: dict[str, list[tuple[str, str]]] = {part: [] for part in PARTS}
    for user in range(1, NUM_USERS + 1):
        items = [f"i{item + 1}" for item in rng.choice(NUM_ITEMS, size=rng.integers(4, 9), replace=False)]
        ends = {"test": items[:1], "valid": items[1:2], "train": items[2:]}
        for part, chosen in ends.items():
            if part == "test" or f"u{user}" != UNTRAINED:
                parts[part] += [(f"u{user}", item) for item in chosen]
    return parts


def write_parts(folder: Path, name: str, parts: dict[str, list[tuple[str, str]]]) -> None:
    """Write `folder/name/name.PART.inter` for every part."""
    (folder / name).mkdir(parents=True)
    for part, pairs in parts.items():
        lines = ["user_id:token\titem_id:token", *("\t".join(pair) for pair in pairs)]
        (folder / name / f"{name}.{part}.inter").write_text("\n".join(lines) + "\n", encoding="utf-8")


def scores_of(parts: Experiment, users: Iterable[int]) -> torch.Tensor:
    """Return the scores `(B, I)` of `users` with all items."""
    model = parts.model.eval()
    given = Interaction({parts.config["USER_ID_FIELD"]: torch.tensor(list(users))}).to(model.device)
    with torch.no_grad():
        return model.full_sort_predict(given).view(len(given), -1).cpu()


class ModelContract:
    """Derive a class from this one, and set `model`: a class, or the name of one.

    `options` are given to every run. `score`, where it is overridden, is the plain formula of one pair.
    """

    model: ClassVar[Any] = None
    options: ClassVar[dict[str, Any]] = {}

    def score(self, parts: Experiment, user: int, item: int) -> float | None:
        """Return the score of a user and an item, by loops; None where there is no such formula."""
        return None

    @pytest.fixture
    def given(self, tmp_path: Path) -> dict[str, Any]:
        """Return the options of a short run on a small data set; everything is written below `tmp_path`."""
        return self.options_of(tmp_path)

    def options_of(self, tmp_path: Path) -> dict[str, Any]:
        """Write the data set, and return the options of a run on it."""
        write_parts(tmp_path / "data", "contract", interactions())
        return {
            "dataset": "contract",
            "data_path": str(tmp_path / "data"),
            "benchmark_filename": list(PARTS),
            "checkpoint_dir": str(tmp_path / "runs"),
            "embedding_size": 6,
            "epochs": 3,
            "train_batch_size": 16,
            "topk": [5],
            "valid_metric": "NDCG@5",
            "show_progress": False,
            **self.options,
        }

    def prepared(self, given: dict[str, Any], **changed: Any) -> Experiment:
        """Return the parts of a run that has not begun."""
        return prepare(self.model, **{**given, **changed})

    def test_scores_of_pairs_are_those_of_all_items_and_of_loops(self, given: dict[str, Any]) -> None:
        """`predict` on the full grid is `full_sort_predict`, and both are the formula."""
        parts = self.prepared(given)
        users = range(1, NUM_USERS + 1)
        scores = scores_of(parts, users)  # (U - 1, I)
        grid = {
            parts.config["USER_ID_FIELD"]: torch.tensor(users).repeat_interleave(NUM_ITEMS + 1),
            parts.config["ITEM_ID_FIELD"]: torch.arange(NUM_ITEMS + 1).repeat(NUM_USERS),
        }
        with torch.no_grad():
            pairs = parts.model.predict(Interaction(grid).to(parts.model.device)).view(NUM_USERS, -1).cpu()
        torch.testing.assert_close(pairs[:, 1:], scores[:, 1:], rtol=1e-4, atol=1e-4)
        for user, item in ((1, 1), (2, NUM_ITEMS), (NUM_USERS, 3)):
            plain = self.score(parts, user, item)
            if plain is not None:
                assert scores[user - 1, item].item() == pytest.approx(plain, rel=1e-4, abs=1e-4)

    def test_scores_do_not_depend_on_users_beside_or_on_memory(self, given: dict[str, Any]) -> None:
        """A user's scores are the same alone, among others, and whatever `eval_memory` has room for."""
        parts = self.prepared(given)
        users = range(1, NUM_USERS + 1)
        scores = scores_of(parts, users)
        alone = torch.cat([scores_of(parts, [user]) for user in users])
        torch.testing.assert_close(alone, scores, rtol=1e-4, atol=1e-4)
        small = self.prepared(given, eval_memory=1e-6)
        small.model.load_state_dict(parts.model.state_dict())
        torch.testing.assert_close(scores_of(small, users), scores, rtol=1e-4, atol=1e-4)

    def test_scores_are_finite_for_a_user_without_a_history(self, given: dict[str, Any]) -> None:
        """Nobody's scores are NaN, those of a user who is not in the training part included."""
        parts = self.prepared(given)
        user = parts.dataset.token2id(parts.config["USER_ID_FIELD"], UNTRAINED)
        assert scores_of(parts, [user, 1]).isfinite().all()

    def test_a_permutation_of_ids_permutes_the_scores(self, given: dict[str, Any], tmp_path: Path) -> None:
        """With its tables' rows moved along, a model scores a user and an item as before."""
        turned = {part: pairs[::-1] for part, pairs in interactions().items()}
        write_parts(tmp_path / "turned", "contract", turned)
        whole = {"eval_history": "all"} if "eval_history" in self.prepared(given).config.requested else {}
        one = self.prepared(given, **whole)
        other = self.prepared(given, data_path=str(tmp_path / "turned"), **whole)
        fields = one.config["USER_ID_FIELD"], one.config["ITEM_ID_FIELD"]
        users, items = (
            torch.from_numpy(one.dataset.token2id(field, other.dataset.field2id_token[field]))
            for field in fields
        )
        moved = {
            name: value[users]
            if len(value) == len(users)
            else value[items]
            if len(value) == len(items)
            else value
            for name, value in one.model.state_dict().items()
        }
        other.model.load_state_dict(moved)
        expected = scores_of(one, users[1:].tolist())[:, items]
        torch.testing.assert_close(
            scores_of(other, range(1, len(users)))[:, 1:], expected[:, 1:], rtol=1e-4, atol=1e-4
        )

    def test_recommendations_end_with_the_catalogue(self, given: dict[str, Any]) -> None:
        """More items than there are cannot be had; nobody gets one twice, or one that was seen."""
        fitted = load(run(self.model, **given).run_dir)
        table = fitted.recommend(["u1", UNTRAINED], k=10 * NUM_ITEMS)
        seen = {item for user, item in interactions()["train"] if user == "u1"}
        found = table[table.user == "u1"].item
        assert set(found) == set(fitted.data.item_tokens[1:]) - seen
        assert found.is_unique
        assert (
            table[table.user == UNTRAINED]["rank"].to_numpy() == np.arange(1, len(fitted.data.item_tokens))
        ).all()
        with pytest.raises(InputError, match="user nobody: is not among"):
            fitted.recommend("nobody")

    def test_scores_that_are_no_numbers_are_refused(self, given: dict[str, Any]) -> None:
        """A model whose weights are NaN is not evaluated, and recommends nothing."""
        fitted = load(run(self.model, **given).run_dir)
        module = fitted.model
        assert isinstance(module, torch.nn.Module)
        with torch.no_grad():
            for weight in module.parameters():
                weight.fill_(torch.nan)
        with pytest.raises(InputError, match="not finite"):
            fitted.recommend("u1")

    def test_a_resumed_run_ends_as_one_that_was_never_interrupted(
        self, given: dict[str, Any], tmp_path: Path
    ) -> None:
        """Two epochs and two more come to the same as four."""
        whole = run(self.model, **{**given, "epochs": 4})
        first = run(self.model, **{**given, "epochs": 2, "checkpoint_dir": str(tmp_path / "first")})
        shutil.copytree(first.run_dir, tmp_path / "copy")
        resumed = run(resume=tmp_path / "copy", epochs=4)
        assert resumed.test == whole.test
        assert resumed.valid == whole.valid

    def test_a_run_is_kept_whole(self, given: dict[str, Any]) -> None:
        """Evaluated or loaded from its directory, a run is what it was."""
        result = run(self.model, **given)
        assert evaluate(result.run_dir).test == result.test
        assert result.test
        one, again = (load(result.run_dir).recommend(["u3", "u1"], k=4) for _ in range(2))
        assert one.equals(again)

    def test_the_seed_decides(self, given: dict[str, Any]) -> None:
        """Two runs of one seed are the same to the last bit, and those of two seeds are not."""
        one, again, other = (self.prepared(given, seed=seed) for seed in (1, 1, 2))
        for parts in (one, again, other):
            parts.trainer.fit(parts.train_data, parts.valid_data)
        users = range(1, NUM_USERS + 1)
        assert torch.equal(scores_of(one, users), scores_of(again, users))
        assert not torch.equal(scores_of(one, users), scores_of(other, users))
