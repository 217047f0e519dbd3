"""Histories: what is stored, what is drawn, and with which chances."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recbole_hlr.data.interactions import InteractionMatrix
from recbole_hlr.data.random import Stream, generator_for, sequence_for
from tests.toys import LENGTHS, NUM_ITEMS, NUM_USERS, Toy, ragged, rows_of

ALL_USERS = list(range(NUM_USERS))


def history_of(data: Toy) -> InteractionMatrix:
    return InteractionMatrix.from_pairs(*data.inter_feat.values(), data.user_num, data.item_num)


def of_one_user(items: list[int], num_items: int = 11) -> InteractionMatrix:
    """A history of user 1 alone."""
    return history_of(Toy([(1, i) for i in items], 2, num_items))


def chi_square(counts: Counter, outcomes: list, draws: int) -> float:
    """sum (observed - expected)^2 / expected of equally likely outcomes."""
    expected = draws / len(outcomes)
    assert set(counts) <= set(outcomes), f"impossible: {set(counts) - set(outcomes)}"
    return sum((counts[outcome] - expected) ** 2 / expected for outcome in outcomes)


# --- storage --------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_rows_hold_every_users_distinct_items_in_order(seed) -> None:
    data = ragged(seed)
    history = history_of(data)
    pairs = len(data.inter_feat["user_id"])
    assert pairs > sum(LENGTHS.values()), "this test needs duplicates"
    assert history.num_users == NUM_USERS
    assert history.indptr.tolist() == [0, *itertools.accumulate(history.lengths.tolist())]
    for u in ALL_USERS:
        row = history.items[history.indptr[u] : history.indptr[u + 1]].tolist()
        assert row == data.items_of(u), f"user {u}"
        assert history.lengths[u] == LENGTHS.get(u, 0), f"user {u}"
    assert history.users().tolist() == [u for u in ALL_USERS for _ in data.items_of(u)]


def test_no_interactions_make_an_empty_history_of_every_user() -> None:
    history = history_of(Toy([], NUM_USERS, NUM_ITEMS))
    history.shuffle(generator_for(1, Stream.HISTORY), "inverse_popularity")
    for cap, exclude in itertools.product((None, 3), (None, torch.full((NUM_USERS,), 2))):
        drawn = history.draw(torch.arange(NUM_USERS), cap, exclude)
        assert not drawn.mask.any()
        assert not drawn.items.any()
        assert len(drawn.items) == NUM_USERS


def test_moved_to_a_device_it_draws_the_same() -> None:
    history = history_of(ragged())
    history.shuffle(generator_for(1, Stream.HISTORY))
    users = torch.arange(NUM_USERS)
    moved = history.to(torch.device("cpu"))
    assert rows_of(moved.draw(users, 3), NUM_USERS) == rows_of(history.draw(users, 3), NUM_USERS)


# --- draws ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("with_offsets", [False, True])
@pytest.mark.parametrize("sampling", ["uniform", "inverse_popularity"])
@pytest.mark.parametrize("excluding", [False, True])
@pytest.mark.parametrize("cap", [None, 1, 3, 7, 20])
def test_draws_are_distinct_own_items_at_most_cap_and_never_the_excluded(
    cap, excluding, sampling, with_offsets
) -> None:
    for seed in range(8):
        data = ragged(seed)
        history, generator = history_of(data), generator_for(seed, Stream.HISTORY)
        history.shuffle(generator, sampling)
        users = torch.randint(0, NUM_USERS, (17,), generator=generator)  # (B,)
        own = [data.items_of(int(u)) for u in users]
        excluded = [items[seed % len(items)] if items else 5 for items in own]
        offsets = None
        if with_offsets:
            chance = torch.rand(len(users), generator=generator, dtype=torch.float64)
            offsets = (chance * history.lengths[users]).long()
        drawn = history.draw(users, cap, torch.tensor(excluded) if excluding else None, offsets)
        for b, row in enumerate(rows_of(drawn, len(users))):
            rest = set(own[b]) - ({excluded[b]} if excluding else set())
            size = len(rest) if cap is None else min(len(rest), cap)
            what = f"seed {seed} row {b} user {int(users[b])} of {rest}: {row}"
            assert len(row) == len(set(row)) == size, what
            assert set(row) <= rest, what
        assert not drawn.items[~drawn.mask].any(), f"seed {seed}: padding is not 0"


def test_excluding_an_item_that_a_user_does_not_have_excludes_nothing() -> None:
    history = of_one_user([2, 5, 7])
    drawn = history.draw(torch.tensor([1, 1]), 2, exclude=torch.tensor([9, 5]))
    assert [len(row) for row in rows_of(drawn, 2)] == [2, 2]
    assert rows_of(history.draw(torch.tensor([1]), None, exclude=torch.tensor([9])), 1) == [[2, 5, 7]]


def test_a_user_without_their_only_item_has_an_empty_history() -> None:
    drawn = of_one_user([4]).draw(torch.tensor([1]), 3, exclude=torch.tensor([4]))
    assert rows_of(drawn, 1) == [[]]


def test_drawing_for_no_users_gives_no_rows() -> None:
    drawn = of_one_user([4, 6]).draw(torch.tensor([], dtype=torch.int64), 3)
    assert len(drawn.items) == len(drawn.mask) == 0


def test_without_a_cap_the_whole_row_is_drawn() -> None:
    data = ragged()
    drawn = history_of(data).draw(torch.arange(NUM_USERS), None)
    assert [sorted(row) for row in rows_of(drawn, NUM_USERS)] == [data.items_of(u) for u in ALL_USERS]


@pytest.mark.parametrize("sampling", ["uniform", "inverse_popularity"])
def test_the_same_seed_and_epoch_give_the_same_order_and_others_another(sampling) -> None:
    def order(seed: int, epoch: int, shuffles_before: int = 0) -> list[int]:
        history = history_of(ragged())
        for _ in range(shuffles_before):
            history.shuffle(generator_for(99, Stream.HISTORY))
        history.shuffle(generator_for(seed, Stream.HISTORY, epoch), sampling)
        return history.order.tolist()

    assert order(1, 4) == order(1, 4)
    assert order(1, 4) == order(1, 4, shuffles_before=2), "the order depends on earlier epochs"
    assert order(1, 4) != order(1, 5)
    assert order(1, 4) != order(2, 4)


@pytest.mark.parametrize("seed", [0, 1, 2021, 2**32 - 1])
def test_no_two_streams_of_a_seed_are_one(seed) -> None:
    """Nor are two epochs of one, or a stream with and without an epoch."""
    names = [(stream, epoch) for stream in Stream for epoch in (None, *range(200))]
    first = {name: torch.rand(3, generator=generator_for(seed, *name)).tolist() for name in names}
    assert len({tuple(value) for value in first.values()}) == len(names)
    assert len({stream.value for stream in Stream}) == len(Stream.__members__), "one stream, two names"
    again = torch.rand(3, generator=generator_for(seed, *names[-1])).tolist()
    assert again == first[names[-1]]


words = st.tuples(st.integers(0, 2**32 - 1), st.sampled_from(Stream), st.none() | st.integers(0, 2**32 - 1))


@given(words, words)
def test_seed_stream_and_epoch_decide_on_the_numbers(one, other) -> None:
    def state(name: tuple) -> list[int]:
        return sequence_for(*name).generate_state(8).tolist()

    assert (state(one) == state(other)) == (one == other)


# --- chances --------------------------------------------------------------------------------------


@pytest.mark.parametrize("with_offsets", [False, True])
@pytest.mark.parametrize("exclude", [None, 7])
def test_uniform_draws_take_every_subset_equally_often(exclude, with_offsets) -> None:
    items, cap, draws = [2, 3, 5, 7, 8, 10], 3, 3000
    history, generator = of_one_user(items), generator_for(11, Stream.HISTORY)
    users = torch.tensor([1])
    excluded = None if exclude is None else torch.tensor([exclude])
    counts: Counter = Counter()
    for _ in range(draws):
        history.shuffle(generator)
        offsets = torch.randint(0, len(items), (1,), generator=generator) if with_offsets else None
        counts[frozenset(rows_of(history.draw(users, cap, excluded, offsets), 1)[0])] += 1
    rest = [i for i in items if i != exclude]
    subsets = [frozenset(subset) for subset in itertools.combinations(rest, cap)]
    bound = {10: 27.9, 20: 43.8}[len(subsets)]  # exceeded once in 1,000 times
    assert chi_square(counts, subsets, draws) < bound, dict(counts)


def test_uniform_offsets_alone_take_every_item_equally_often() -> None:
    history, generator = of_one_user([2, 3, 5, 7, 8, 10]), generator_for(12, Stream.HISTORY)
    history.shuffle(generator)
    draws = 6000
    users = torch.ones(draws, dtype=torch.int64)
    offsets = torch.randint(0, 6, (draws,), generator=generator)
    counts = Counter(row[0] for row in rows_of(history.draw(users, 1, offsets=offsets), draws))
    assert chi_square(counts, [2, 3, 5, 7, 8, 10], draws) < 20.5, dict(counts)  # 1 in 1,000


def successive_draws(weights: dict[int, float], count: int) -> dict[tuple[int, ...], float]:
    """The chance of every sequence of `count` draws without replacement, in proportion to `weights`."""
    if count == 0:
        return {(): 1.0}
    chances = {}
    for item, weight in weights.items():
        rest = {other: value for other, value in weights.items() if other != item}
        for tail, chance in successive_draws(rest, count - 1).items():
            chances[(item, *tail)] = weight / sum(weights.values()) * chance
    return chances


@pytest.mark.parametrize("exclude", [None, 4])
def test_inverse_popularity_draws_have_the_chances_of_successive_weighted_draws(exclude) -> None:
    popularity = {2: 1, 3: 2, 4: 3, 5: 6}  # user 1 has all four; others make up the counts
    pairs = [(u, i) for i, count in popularity.items() for u in range(1, count + 1)]
    history, generator = history_of(Toy(pairs, 8, 7)), generator_for(13, Stream.HISTORY)
    weights = {i: 1 / count for i, count in popularity.items() if i != exclude}
    expected = successive_draws(weights, 2)
    assert sum(expected.values()) == pytest.approx(1)
    draws, counts = 4000, Counter()
    excluded = None if exclude is None else torch.tensor([exclude])
    for _ in range(draws):
        history.shuffle(generator, "inverse_popularity")
        counts[tuple(rows_of(history.draw(torch.tensor([1]), 2, excluded), 1)[0])] += 1
    assert set(counts) <= set(expected)
    for pair, chance in expected.items():
        spread = (draws * chance * (1 - chance)) ** 0.5
        assert abs(counts[pair] - draws * chance) < 4 * spread, (
            f"{pair}: {counts[pair]}, not {draws * chance:.0f}"
        )


def test_inverse_popularity_prefers_rare_items() -> None:
    common, rare = 3, 9
    pairs = [(u, common) for u in range(1, 8)] + [(1, rare)]
    history, generator = history_of(Toy(pairs, 9, 11)), generator_for(14, Stream.HISTORY)
    counts: Counter = Counter()
    for _ in range(800):
        history.shuffle(generator, "inverse_popularity")
        counts[rows_of(history.draw(torch.tensor([1]), 1), 1)[0][0]] += 1
    expected = 800 * 7 / 8  # weights 1 and 1/7
    assert abs(counts[rare] - expected) < 4 * (800 * 7 / 8 / 8) ** 0.5, dict(counts)
