"""The loader of training triplets: what an epoch holds, what a negative may be, what it depends on."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from recbole_hlr.data.interactions import InteractionMatrix
from recbole_hlr.data.triplets import TripletLoader
from tests.toys import NAMES, NUM_ITEMS, NUM_USERS, Toy, options_for, ragged

CML = NAMES["CML"]


def history_of(data: Toy) -> InteractionMatrix:
    return InteractionMatrix.from_pairs(*data.inter_feat.values(), data.user_num, data.item_num)


def loader_of(data: Toy, seen: Toy | None = None, num_negatives: int = 2, **options) -> TripletLoader:
    config = options_for(
        CML, train_neg_sample_args={"sample_num": num_negatives}, seed=options.pop("seed", 5)
    )
    return TripletLoader(config, data, history_of(seen or data), options.pop("batch_size", 7), **options)


def epoch_of(loader: TripletLoader, epoch: int | None = None) -> list[tuple[list, list, list]]:
    """The batches of an epoch, as lists: users `(B,)`, positives `(B,)`, negatives `(B, K)`."""
    if epoch is not None:
        loader.set_epoch(epoch)
    names = ("user_id", "item_id", "neg_item_id")
    return [tuple(batch[name].tolist() for name in names) for batch in loader]


def pairs_of(batches) -> list[tuple[int, int]]:
    return [pair for users, positives, _ in batches for pair in zip(users, positives, strict=True)]


def negatives_of(batches) -> list[tuple[int, list[int]]]:
    return [pair for users, _, negatives in batches for pair in zip(users, negatives, strict=True)]


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("batch_size", [1, 7, 1000])
def test_an_epoch_holds_every_interaction_once_and_the_last_batch_is_short(batch_size, shuffle) -> None:
    data = ragged()
    given = list(zip(*(column.tolist() for column in data.inter_feat.values()), strict=True))
    assert len(given) % 7 != 0, "this test needs a short last batch"
    loader = loader_of(data, batch_size=batch_size, shuffle=shuffle)
    batches = epoch_of(loader, 0)
    assert sorted(pairs_of(batches)) == sorted(given)
    assert (pairs_of(batches) == given) == (not shuffle)
    sizes = [len(users) for users, _, _ in batches]
    assert len(loader) == len(batches)
    assert set(sizes[:-1]) <= {batch_size}
    assert sizes[-1] == len(given) - batch_size * (len(batches) - 1)


@pytest.mark.parametrize("num_negatives", [1, 3])
def test_negatives_are_real_items_that_their_user_has_not_seen(num_negatives) -> None:
    train = ragged()
    pairs = [(u, i) for u in range(NUM_USERS) for i in train.items_of(u) if u != 1]  # user 1: nothing seen
    held_out = [(u, next(i for i in range(1, NUM_ITEMS) if i not in train.items_of(u))) for u in (2, 6, 8)]
    seen = Toy(pairs + held_out, NUM_USERS, NUM_ITEMS)  # neither all of what is trained on, nor that alone
    loader = loader_of(train, seen, num_negatives)
    for epoch in range(5):
        for user, row in negatives_of(epoch_of(loader, epoch)):
            assert len(row) == num_negatives
            for item in row:
                assert 1 <= item < NUM_ITEMS, f"epoch {epoch} user {user}: item {item}"
                assert item not in seen.items_of(user), f"epoch {epoch} user {user}: item {item} is seen"


def test_negatives_are_uniform_over_the_unseen_items() -> None:
    data = Toy([(1, i) for i in (1, 4, 5, 9)] + [(2, 9)] + [(3, i) for i in range(1, 9)], 4, 10)
    loader = loader_of(data, num_negatives=3)
    counts = {user: Counter() for user in (1, 2, 3)}
    for epoch in range(400):
        for user, row in negatives_of(epoch_of(loader, epoch)):
            counts[user].update(row)
    for user, bound in ((1, 18.5), (2, 24.4)):  # chi-square of 4 and 7 degrees of freedom, 1 in 1,000
        unseen = sorted(set(range(1, 10)) - set(data.items_of(user)))
        expected = sum(counts[user].values()) / len(unseen)
        assert set(counts[user]) == set(unseen), f"user {user}"
        statistic = sum((counts[user][item] - expected) ** 2 / expected for item in unseen)
        assert statistic < bound, f"user {user}: {dict(counts[user])}"
    assert set(counts[3]) == {9}, "one item is left to draw"


def test_negatives_of_a_row_are_drawn_independently() -> None:
    data = Toy([(1, 1)], 2, 6)
    loader = loader_of(data, num_negatives=2)
    rows = Counter(tuple(row) for epoch in range(1600) for _, row in negatives_of(epoch_of(loader, epoch)))
    unseen = (2, 3, 4, 5)
    statistic = sum((rows[a, b] - 100) ** 2 / 100 for a in unseen for b in unseen)
    assert statistic < 37.7, dict(rows)  # 15 degrees of freedom, 1 in 1,000


def test_an_epoch_depends_on_seed_and_epoch_alone() -> None:
    data = ragged()
    fresh, used = loader_of(data), loader_of(data)
    for epoch in (0, 3, 1):
        epoch_of(used, epoch)
    next(iter(used))  # an epoch that is not finished
    torch.rand(5)
    for epoch in (2, 7):
        assert epoch_of(used, epoch) == epoch_of(fresh, epoch), f"epoch {epoch}"
    assert epoch_of(fresh, 2) == epoch_of(fresh, 2)


def test_without_set_epoch_the_epochs_follow_one_another() -> None:
    data = ragged()
    loader, named = loader_of(data), loader_of(data)
    for epoch in range(3):
        assert epoch_of(loader) == epoch_of(named, epoch), f"epoch {epoch}"


def test_epochs_and_seeds_differ_in_order_and_in_negatives() -> None:
    data = ragged()
    for one, other in (((5, 0), (5, 1)), ((5, 0), (6, 0))):
        first, second = (epoch_of(loader_of(data, seed=seed), epoch) for seed, epoch in (one, other))
        assert pairs_of(first) != pairs_of(second), f"{one} and {other}: order"
        for_one, for_other = (
            [row for _, row in negatives_of(epoch_of(loader_of(data, seed=seed, shuffle=False), epoch))]
            for seed, epoch in (one, other)
        )
        assert for_one != for_other, f"{one} and {other}: negatives"


def test_iterating_does_not_touch_the_global_generator() -> None:
    torch.manual_seed(3)
    expected = torch.rand(4).tolist()
    torch.manual_seed(3)
    epoch_of(loader_of(ragged()), 0)
    assert torch.rand(4).tolist() == expected
