"""HLR++: the audiences that its item attention draws, and its two attentions side by side."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from recbole_hlr.data.interactions import InteractionMatrix
from recbole_hlr.data.random import Stream, generator_for
from tests import toys
from tests.toys import (
    NUM_ITEMS,
    NUM_USERS,
    TRAINED,
    USERS,
    Toy,
    assert_close,
    build,
    candidates,
    ragged,
    ragged_batch,
    rows_of,
    scores_by_pairs,
    scores_of_all,
    twin_of,
    variants,
)

SMALL_CAP = 3  # below the size of most audiences
LENGTHS = {u: 9 for u in range(1, NUM_USERS)}  # of dense histories: most items have some six users
AUDIENCE = {"item_attention": "audience", "max_history": SMALL_CAP}
each_sampling = pytest.mark.parametrize("sampling", toys.CHOICES["history_sampling"])


def audiences_of(data: Toy) -> list[set[int]]:
    """The users of every item."""
    return [{u for u in range(data.user_num) if v in data.items_of(u)} for v in range(data.item_num)]


def drawn(model: torch.nn.Module, users: Tensor, items: Tensor) -> list[list[list[int]]]:
    """The audiences that `users (B,)` attend to with `items (B, C)`, by row and column."""
    flat = rows_of(model.audience_of(users, items), items.numel())
    return [flat[n : n + items.shape[1]] for n in range(0, len(flat), items.shape[1])]


def grid(users: list[int]) -> tuple[Tensor, Tensor]:
    """Some users `(B,)`, each with all items but padding `(B, I - 1)`."""
    return torch.tensor(users), torch.arange(1, NUM_ITEMS).expand(len(users), -1)


@each_sampling
def test_training_draws_capped_audiences_without_the_user_itself(sampling) -> None:
    data = ragged(lengths=LENGTHS)
    model, whole = build("HLR++", data, history_sampling=sampling, **AUDIENCE).train(), audiences_of(data)
    users, items = grid(TRAINED)
    seen, without = set(), 0
    for epoch in range(20):
        model.start_epoch(epoch)
        found = drawn(model, users, items)
        for u, row in zip(TRAINED, found, strict=True):
            for v, audience in enumerate(row, start=1):
                rest = whole[v] - {u}
                without += u in whole[v]
                assert set(audience) <= rest, f"epoch {epoch} user {u} item {v}: {audience}"
                assert len(audience) == len(set(audience)) == min(len(rest), SMALL_CAP)
        seen.add(str(found[0]))
        model.start_epoch(epoch)
        assert drawn(model, users, items) == found, f"epoch {epoch}: not a function of seed and epoch"
    assert without > 0
    assert len(seen) == 20, "a capped audience hardly changes with the epoch"
    other = build("HLR++", data, history_sampling=sampling, seed=5, **AUDIENCE).train()
    other.start_epoch(19)
    assert drawn(other, users, items) != found, "the seed has no effect"


@each_sampling
@pytest.mark.parametrize("eval_history", toys.CHOICES["eval_history"])
def test_scoring_attends_to_a_fixed_draw_of_whole_audiences(sampling, eval_history) -> None:
    data, options = ragged(lengths=LENGTHS), {"history_sampling": sampling, "eval_history": eval_history}
    model, whole = build("HLR++", data, **AUDIENCE, **options), audiences_of(data)
    users, items = grid(USERS)
    found = drawn(model, users, items)
    assert all(row == found[0] for row in found), "an audience depends on the user"
    for v, audience in enumerate(found[0], start=1):
        expected = len(whole[v]) if eval_history == "all" else min(len(whole[v]), SMALL_CAP)
        assert len(audience) == len(set(audience)) == expected, f"item {v}: {audience}"
        assert set(audience) <= whole[v], f"item {v}: {audience}"
    model.start_epoch(4)
    for again in (model, build("HLR++", data, **AUDIENCE, **options)):
        assert drawn(again, users, items) == found
    alone = [drawn(model, users[:1], items[:1, n : n + 1])[0][0] for n in range(items.shape[1])]
    assert alone == found[0], "an audience depends on the batch"
    if eval_history == "capped":
        other = build("HLR++", data, seed=4, **AUDIENCE, **options)
        assert drawn(other, users, items) != found, "the seed has no effect"


def test_capped_audiences_score_alike_in_pairs_and_all_at_once() -> None:
    data = ragged(lengths=LENGTHS)
    for attend_target in (False, True):
        model = build("HLR++", data, attend_target=attend_target, **AUDIENCE)
        assert_close(scores_of_all(model, USERS), scores_by_pairs(model, USERS), 1e-12, f"{attend_target}")
        everyone = build("HLR++", data, attend_target=attend_target, item_attention="audience")
        unlike = (scores_of_all(everyone, USERS) - scores_of_all(model, USERS)).abs().max()
        assert unlike > 1e-3, "the cap has no effect"


@pytest.mark.parametrize("attend_target", [False, True])
def test_order_of_the_audience_does_not_matter(attend_target) -> None:
    model = build("HLR++", eval_history="all", item_attention="audience", attend_target=attend_target)
    pairs, scores, users = scores_by_pairs(model, USERS), scores_of_all(model, USERS), grid(USERS)
    before = drawn(model, *users)
    model._eval_audience.shuffle(generator_for(1, Stream.HISTORY))
    assert drawn(model, *users) != before
    assert_close(scores_by_pairs(model, USERS), pairs, 1e-13, "predict")
    assert_close(scores_of_all(model, USERS), scores, 1e-13, "full_sort_predict")


def test_scoring_attends_to_the_audiences_of_the_histories_it_is_given() -> None:
    options = {"item_attention": "audience", "eval_history": "all"}
    data, other = ragged(), ragged(seed=1)
    model = build("HLR++", data, **options)
    pairs = other.inter_feat
    model.attend_when_scoring(
        InteractionMatrix.from_pairs(pairs["user_id"], pairs["item_id"], NUM_USERS, NUM_ITEMS)
    )
    expected = build("HLR++", other, **options)
    assert_close(scores_of_all(model, USERS), scores_of_all(expected, USERS), 1e-13, "scores")
    unlike = scores_of_all(build("HLR++", data, **options), USERS) - scores_of_all(expected, USERS)
    assert unlike.abs().max() > 1e-3
    assert drawn(model.train(), *grid(TRAINED)) == drawn(
        build("HLR++", data, **options).train(), *grid(TRAINED)
    )


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(
    ("name", "options"), variants("attend_user", "attend_target", "item_attention", names=["HLR++"])
)
def test_each_attention_is_its_plain_loop(name, options, training) -> None:
    model = build(name, **options).train(training)
    twin, items, history = twin_of(model, **options), candidates(), ragged_batch(len(USERS), 6, NUM_ITEMS)
    users = torch.tensor(USERS)
    pairs = model.users(users, history), model.listed(users, items)
    rows = list(zip(USERS, items.tolist(), rows_of(history, len(USERS)), strict=True))
    for found, plain in (
        (model.user_attention(*pairs), twin.user_attention),
        (model.item_attention_of(*pairs), twin.item_attention),
    ):
        expected = torch.stack([torch.stack([plain(u, v, row) for v in vs]) for u, vs, row in rows])
        assert_close(found @ model.memory.values, expected, 1e-12, f"{options} {plain.__name__}")
