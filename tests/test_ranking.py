"""What stands in the place of RecBole's slow parts gives what they give: loading, splitting, ranking batches."""

import numpy as np
import pandas as pd
import pytest
import torch
from recbole.data.dataloader import FullSortEvalDataLoader
from recbole.data.dataset import Dataset
from recbole.data.utils import create_samplers
from recbole.utils import FeatureSource

from recbole_hlr import InputError, prepare
from recbole_hlr.config.config import HLRConfig
from recbole_hlr.data.atomic import AtomicDataset
from recbole_hlr.data.interactions import InteractionMatrix
from recbole_hlr.data.loaders import load_split
from tests.conftest import write_atomic


def pairs_of(users: torch.Tensor, items: torch.Tensor) -> set[tuple[int, int]]:
    return set(zip(users.tolist(), items.tolist(), strict=True))


@pytest.mark.parametrize("phase", ["valid", "test"])
@pytest.mark.parametrize("split", [{"RS": [6, 2, 2]}, {"LS": "valid_and_test"}])
def test_ranking_batches_are_the_hosts(toy, phase, split) -> None:
    write_atomic(toy["tmp"] / "twice", "toy", users=23, seed=4)
    toy = {k: v for k, v in toy.items() if k != "tmp"} | {
        "eval_args": {"split": split},
        "eval_batch_size": 17 * 4,
    }
    found = getattr(prepare("CML", **toy), f"{phase}_data")
    config = HLRConfig("CML", options={**toy, "train_neg_sample_args": {"sample_num": 1}})
    data = load_split(config)
    n = {"valid": 1, "test": 2}[phase]
    sampler = create_samplers(config, data.dataset, data.parts)[n]
    expected = FullSortEvalDataLoader(config, data.parts[n], sampler)
    assert len(found) == len(expected) > 2
    assert found.uid_list.equal(expected.uid_list)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours[0]["user_id"].equal(theirs[0]["user_id"])
        assert pairs_of(*ours[1]) == pairs_of(*theirs[1])
        assert pairs_of(ours[2], ours[3]) == pairs_of(theirs[2], theirs[3])
        assert len(ours[2]) == len(theirs[2])


@pytest.fixture
def toy(toy: dict, tmp_path) -> dict:
    return {**toy, "tmp": tmp_path}


def split_of(toy, **options):
    return load_split(HLRConfig("CML", options={k: v for k, v in toy.items() if k != "tmp"} | options))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("seed", 7),
        ("eval_args", {"split": {"RS": [6, 2, 2]}}),
        ("eval_args", {"split": {"LS": "valid_and_test"}}),
        ("eval_args", {"order": "TO"}),
        ("eval_args", {"group_by": "none"}),
        ("val_interval", {"rating": "[2,inf)"}),
        ("user_inter_num_interval", "[5,inf)"),
        ("rm_dup_inter", "first"),
        ("load_col", {"inter": ["user_id", "item_id", "rating", "timestamp"]}),
        ("data_path", "elsewhere"),
    ],
)
def test_an_option_that_contradicts_the_data_given_is_refused(toy, key, value) -> None:
    toy = {k: v for k, v in toy.items() if k != "tmp"} | {
        "load_col": {"inter": ["user_id", "item_id", "rating"]}
    }
    if value == {"order": "TO"}:
        toy["load_col"] = {"inter": ["user_id", "item_id", "rating", "timestamp"]}
    with pytest.raises(
        InputError, match=rf"{key}=.* \(keyword argument\): must be .*, as for the data given"
    ):
        prepare("CML", **toy | {key: value}, data=split_of(toy))
    if key != "data_path":
        with pytest.raises(InputError, match=f"{key}=.*, as for the data given"):
            prepare("CML", **toy, data=split_of(toy, **{key: value}))


def test_another_dataset_than_the_data_given(toy) -> None:
    data = split_of(toy)
    toy = {k: v for k, v in toy.items() if k not in ("tmp", "dataset")}
    with pytest.raises(InputError, match=r"dataset=other .*must be toy, as for the data given"):
        prepare("CML", "other", **toy, data=data)


def test_what_does_not_decide_on_the_data_may_differ(toy) -> None:
    data = split_of(toy)
    toy = {k: v for k, v in toy.items() if k != "tmp"}
    for model, more in (("BPR", {}), ("HLR", {"epochs": 1}), ("CML", {"eval_args": {"mode": "uni3"}})):
        parts = prepare(model, **toy | more, data=data)
        assert parts.train_data._dataset is data.parts[0]
    timed = {"load_col": {"inter": ["user_id", "item_id", "timestamp"]}, "eval_args": {"order": "TO"}}
    prepare(
        "CML", **toy | timed | {"seed": 7}, data=split_of(toy, **timed)
    )  # nothing is drawn in such a split


@pytest.mark.parametrize("seed", [2020, 7])
def test_a_split_is_that_of_a_run_whatever_was_drawn_before(toy, seed) -> None:
    torch.manual_seed(99)
    data = split_of(toy, seed=seed)
    parts = prepare("BPR", **{k: v for k, v in toy.items() if k != "tmp"} | {"seed": seed})
    for part, loader in zip(data.parts, (parts.train_data, parts.valid_data, parts.test_data), strict=True):
        pairs = [x.inter_feat for x in (part, loader._dataset)]
        assert pairs_of(*(pairs[0][k] for k in ("user_id", "item_id"))) == pairs_of(
            *(pairs[1][k] for k in ("user_id", "item_id"))
        )


def test_an_item_seen_twice_is_ranked_where_it_is_tested() -> None:
    seen = InteractionMatrix.from_pairs(torch.tensor([1, 1, 2]), torch.tensor([3, 4, 3]), 3, 5)
    tested = InteractionMatrix.from_pairs(torch.tensor([1]), torch.tensor([4]), 3, 5)
    left = seen.without(tested)
    assert pairs_of(left.users(), left.items) == {(1, 3), (2, 3)}
    assert left.num_items == 5


def test_flat_rows_are_the_rows_one_after_the_other() -> None:
    history = InteractionMatrix.from_pairs(torch.tensor([1, 1, 3, 3, 3]), torch.tensor([2, 4, 1, 2, 3]), 5, 6)
    items, starts = history.flat(torch.tensor([3, 0, 1, 3]))
    assert items.tolist() == [1, 2, 3, 2, 4, 1, 2, 3]
    assert starts.tolist() == [0, 3, 3, 5]
    empty, _ = history.flat(torch.tensor([0, 2]))
    assert empty.tolist() == []


def test_groups_are_the_hosts_in_the_hosts_order() -> None:
    values = np.random.default_rng(0).integers(0, 40, 500)
    dataset = object.__new__(AtomicDataset)
    assert dataset._grouped_index(values) == list(Dataset._grouped_index(dataset, values))
    assert dataset._grouped_index(np.empty(0, dtype=int)) == []


TEXT = (
    "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
    "u1\ti1\t1e-3\t\n007\ti 2\t4\t12\nu1\tNA\t.5\t3\n\u00e9t\u00e9\ti1\t-1.50\t99999999999\n7\tnull\tnan\t1\n"
)


@pytest.mark.parametrize("columns", [["user_id", "item_id"], ["rating", "item_id", "user_id", "timestamp"]])
def test_a_table_is_what_the_host_reads(toy, columns) -> None:
    path = toy["tmp"] / "data" / "toy" / "toy.inter"
    path.write_text(TEXT, encoding="utf-8")
    config = HLRConfig(
        "CML", options={k: v for k, v in toy.items() if k != "tmp"} | {"load_col": {"inter": columns}}
    )
    tables = []
    for kind in (AtomicDataset, Dataset):
        dataset = object.__new__(kind)
        dataset.config, dataset.logger = config, __import__("logging").getLogger()
        dataset.field2type, dataset.field2source, dataset.field2seqlen, dataset.field2bucketnum = (
            {},
            {},
            {},
            {},
        )
        tables.append((dataset._load_feat(str(path), FeatureSource.INTERACTION), dataset.field2type))
    (ours, types), (theirs, wanted) = tables
    pd.testing.assert_frame_equal(ours[theirs.columns], theirs)
    assert list(ours.columns) == list(theirs.columns)
    assert types == wanted


def test_quotes_are_part_of_an_id(toy) -> None:
    path = toy["tmp"] / "data" / "toy" / "toy.inter"
    lines = [f'u{u}\t"i{i}\t3\t4' for u in range(1, 9) for i in range(u, u + 12)]
    path.write_text(TEXT.splitlines()[0] + "\n" + "\n".join(lines) + "\n", encoding="utf-8")
    data = prepare("CML", **{k: v for k, v in toy.items() if k != "tmp"}).dataset
    assert '"i3' in set(data.field2id_token["item_id"])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("u1\ti1\t3", "line 3: has 3 columns; must have 4"),
        ("u1\ti1\tx\t4", "line 3: rating=x must be a number"),
    ],
)
def test_wrong_lines_are_named(toy, line, message) -> None:
    path = toy["tmp"] / "data" / "toy" / "toy.inter"
    path.write_text(TEXT.splitlines()[0] + "\nu1\ti1\t3\t4\n" + line + "\n")
    columns = {"inter": ["user_id", "item_id", "rating"]}
    with pytest.raises(InputError, match=rf"toy\.inter, {message}|toy\.inter: {message}"):
        prepare("CML", **{k: v for k, v in toy.items() if k != "tmp"}, load_col=columns)
