"""What holds of any input: the interaction matrix is a dict of sets, metrics are their loops, texts come back."""

import statistics

import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_hlr.data.interactions import InteractionMatrix
from recbole_hlr.data.reader import read_columns
from recbole_hlr.options.command_line import config_files_word, file_names, parse_arguments
from recbole_hlr.options.forms import seconds_in
from recbole_hlr.options.table import TABLE
from recbole_hlr.options.yaml_values import dump_yaml, load_yaml, one_line, parse_scalar
from tests.test_metrics import USER_TWINS, Lists, plain_local_ndcg

USERS, ITEMS = 7, 9  # padding included
pairs = st.lists(st.tuples(st.integers(1, USERS - 1), st.integers(1, ITEMS - 1)), max_size=40)


def matrix(of: list[tuple[int, int]]) -> InteractionMatrix:
    columns = torch.tensor(of, dtype=torch.int64).view(-1, 2)
    return InteractionMatrix.from_pairs(columns[:, 0], columns[:, 1], USERS, ITEMS)


def rows(found: InteractionMatrix) -> list[set[int]]:
    return [set(found.flat(torch.tensor([user]))[0].tolist()) for user in range(found.num_users)]


def sets(of: list[tuple[int, int]]) -> list[set[int]]:
    return [{item for u, item in of if u == user} for user in range(USERS)]


@settings(deadline=None)
@given(pairs, pairs)
def test_an_interaction_matrix_is_a_set_of_items_for_each_user(some, others):
    one, other = matrix(some), matrix(others)
    assert rows(one) == sets(some)
    assert one.lengths.tolist() == [len(row) for row in sets(some)]
    assert one.keys().tolist() == sorted({user * ITEMS + item for user, item in some})
    assert rows(one.without(other)) == [a - b for a, b in zip(sets(some), sets(others), strict=True)]
    turned = one.transposed(USERS)
    assert {(u, i) for i, users in enumerate(rows(turned)) for u in users} == set(some)
    assert rows(turned.transposed(ITEMS)) == rows(one)


@settings(deadline=None)
@given(pairs, st.integers(1, ITEMS), st.integers(0, 5), st.sampled_from(["uniform", "inverse_popularity"]))
def test_a_drawn_history_is_a_part_of_the_set_without_the_item_left_out(some, cap, seed, sampling):
    one, owned = matrix(some), sets(some)
    generator = torch.Generator().manual_seed(seed)
    one.shuffle(generator, sampling)
    users = torch.arange(USERS)
    left_out = torch.tensor([min(row, default=0) for row in owned])
    batch = one.draw(users, cap, left_out, one.offsets(users, generator))
    for user, (items, mask) in enumerate(zip(batch.items, batch.mask, strict=True)):
        drawn = items[mask].tolist()
        rest = owned[user] - {int(left_out[user])}
        assert len(drawn) == len(set(drawn)) == min(cap, len(rest))
        assert set(drawn) <= rest
    assert rows(one) == owned


@st.composite
def ranked(draw):
    size = draw(st.integers(4, 12))
    length = draw(st.integers(1, size))
    users = draw(st.integers(1, 5))
    items = st.permutations(range(1, size + 1))
    lists = [draw(items)[:length] for _ in range(users)]
    wanted = [draw(st.sets(st.integers(1, size), min_size=1)) for _ in range(users)]
    return Lists(lists, wanted, {}, size, sorted({length, draw(st.integers(1, length))}))


@settings(deadline=None, max_examples=40)
@given(ranked())
def test_metrics_are_their_loops(lists):
    found = lists.evaluation(["PaperMRR", "PaperMAP", "PaperHitRate", "PaperNDCG"]).metrics
    for k in lists.topk:
        both = list(zip(lists.lists, lists.wanted, strict=True))
        for name, twin in USER_TWINS.items():
            expected = statistics.fmean(twin(items, wanted, k) for items, wanted in both)
            assert found[f"{name}@{k}"] == pytest.approx(expected, abs=1e-12)
        local = [plain_local_ndcg(items, wanted, k) for items, wanted in both]
        some = [value for value in local if value is not None]
        assert found[f"paperndcg@{k}"] == pytest.approx(statistics.fmean(some) if some else 0, abs=1e-12)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


def ordered(value):
    """A text in which equal values of different kinds differ, and the order of keys does not."""
    if isinstance(value, dict):
        return repr(sorted((key, ordered(inner)) for key, inner in value.items()))
    return repr([ordered(inner) for inner in value] if isinstance(value, list) else value)


@settings(deadline=None, max_examples=60)
@given(value=values)
def test_yaml_comes_back_as_it_was(value, tmp_path_factory):
    file = tmp_path_factory.getbasetemp() / "value.yaml"
    file.write_bytes(dump_yaml({"key": value}).encode("utf-8", "surrogatepass"))
    found = load_yaml(file)["key"]
    assert ordered(found) == ordered(value)


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(sorted(name for name, entry in TABLE.items() if not entry.text)), values)
def test_an_option_of_a_command_line_comes_back_as_it_was(key, value):
    text = one_line(value)
    if text == "None":
        return
    for words in ([f"--{key}={text}"], [f"--{key}", text], [f"--{key.replace('_', '-')}={text}"]):
        if not (len(words) == 2 and text.startswith("--")):
            assert (
                ordered(parse_arguments(words)) == ordered({key: parse_scalar(text)}) == ordered({key: value})
            )


@given(st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1), min_size=1))
def test_names_of_files_come_back_from_a_command(names):
    assert file_names(parse_arguments([config_files_word(names)])["config_files"]) == names


@given(st.integers(0, 99), st.integers(0, 59), st.integers(0, 59))
def test_a_time_is_the_sum_of_its_parts(hours, minutes, seconds):
    total = 3600 * hours + 60 * minutes + seconds
    found = seconds_in(f"{hours}h{minutes}m{seconds}s")
    assert found == total if total else not found > 0


words = st.text(st.characters(exclude_characters='\t\n\r"', exclude_categories=["Cs", "Cc"]), min_size=1)


@settings(deadline=None, max_examples=60)
@given(cells=st.lists(st.tuples(words, words, st.floats(allow_nan=False)), min_size=1, max_size=8))
def test_a_file_is_read_as_pandas_reads_it(cells, tmp_path_factory):
    file = tmp_path_factory.getbasetemp() / "cells.inter"
    columns = ["user_id:token", "item_id:token", "rating:float"]
    lines = ["\t".join(columns), *("\t".join(map(str, row)) for row in cells)]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="")
    found = read_columns(str(file), columns, "\t", "utf-8")
    kinds = {name: float if name.endswith("float") else str for name in columns}
    expected = pd.read_csv(file, sep="\t", dtype=kinds, quoting=3, float_precision="round_trip")
    assert found.astype(dict.fromkeys(columns[:2], object)).equals(expected)
