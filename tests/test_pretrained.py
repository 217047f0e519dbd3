"""Starting from other tables: of a run, of a checkpoint, of a file; and keeping them as they are."""

import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from recbole_hlr import InputError, load, prepare, run
from recbole_hlr.experiment.pretrained import read_pretrained
from recbole_hlr.train.checkpoint import load as load_checkpoint


@pytest.fixture
def cml_run(toy: dict) -> Path:
    return Path(run("CML", **toy, seed=5).run_dir)


def tables(model: torch.nn.Module) -> list[torch.Tensor]:
    return [model.user_embedding.weight.detach().clone(), model.item_embedding.weight.detach().clone()]


@pytest.mark.parametrize("file", ["", "model.pth"])
@pytest.mark.parametrize("name", ["HLR", "HLR++", "LRML"])
def test_a_warm_start_has_the_best_tables_of_the_other_run(toy, cml_run, name, file) -> None:
    expected = tables(load(cml_run).model)
    model = prepare(name, **toy, pretrained_embeddings=cml_run / file, seed=5).model
    for found, wanted in zip(tables(model), expected, strict=True):
        assert torch.equal(found[1:], wanted[1:])


def test_a_folder_stands_for_the_one_run_in_it(toy, cml_run, tmp_path) -> None:
    cell = tmp_path / "bench" / "1"
    shutil.copytree(cml_run, cell / "first")
    assert torch.equal(read_pretrained(cell).tables["item"][1], read_pretrained(cml_run).tables["item"][1])
    shutil.copytree(cml_run, cell / "second")
    with pytest.raises(InputError, match="holds 2 runs; name one of them"):
        read_pretrained(cell)


def test_rows_are_matched_by_id_not_by_place(toy, cml_run, tmp_path) -> None:
    other = prepare("HLR", **toy, pretrained_embeddings=cml_run, seed=6)  # another split, the same ids
    ids, rows = read_pretrained(cml_run).tables["item"]
    backwards = {"item_ids": np.array(ids[::-1]), "item_embedding": rows.numpy()[::-1]}
    users, user_rows = read_pretrained(cml_run).tables["user"]
    backwards |= {"user_ids": np.array(users), "user_embedding": user_rows.numpy()}
    np.savez(tmp_path / "t.npz", **backwards)
    model = prepare("HLR", **toy, pretrained_embeddings=tmp_path / "t.npz", seed=6).model
    for found, wanted in zip(tables(model), tables(other.model), strict=True):
        assert torch.equal(found[1:], wanted[1:])
    data = other.train_data.dataset
    for token in ("i1", "i7"):
        place = data.token2id(data.iid_field, token)
        assert torch.equal(model.item_embedding.weight[place].detach(), rows[list(ids).index(token)])


def test_vectors_are_put_onto_the_sphere_and_those_of_zeros_refused(toy, tmp_path) -> None:
    options = {**toy, "objective": "softmax", "geometry": "sphere", "max_norm": 0.5}
    file = npz(tmp_path / "some.npz")
    model = prepare("HLR", **options, pretrained_embeddings=file, freeze_embeddings=True).model
    for table in tables(model):
        assert table.norm(dim=1) == pytest.approx(torch.full((len(table),), 0.5))
    with np.load(file) as content:
        items = content["item_embedding"]
    items[0] = 0
    zeros = npz(tmp_path / "zeros.npz", item_embedding=items)
    prepare("HLR", **{**options, "geometry": "ball"}, pretrained_embeddings=zeros)
    with pytest.raises(InputError, match=r"zeros.npz: has item vectors of zeros, .* or give geometry=ball"):
        prepare("HLR", **options, pretrained_embeddings=zeros)


def test_a_start_that_has_seen_the_held_out_part_is_warned_of(toy, cml_run, caplog) -> None:
    prepare("HLR", **toy, pretrained_embeddings=cml_run, seed=5)
    assert "was trained on" not in caplog.text
    other = prepare("HLR", **toy, pretrained_embeddings=cml_run, seed=6)

    def pairs(*loaders) -> set[tuple[str, str]]:
        parts = [loader.dataset for loader in loaders]
        names = parts[0].field2id_token
        return {
            (names["user_id"][user], names["item_id"][item])
            for part in parts
            for user, item in zip(part.inter_feat["user_id"], part.inter_feat["item_id"], strict=True)
        }

    trained = pairs(prepare("CML", **toy, seed=5).train_data)
    judged = pairs(other.valid_data, other.test_data)
    assert len(trained & judged) > 0
    assert f"on {len(trained & judged)} of the {len(judged)} interactions" in caplog.text
    warm = run("HLR", **toy, pretrained_embeddings=cml_run, seed=6)
    text = Path(warm.run_dir, "log.txt").read_text()
    assert "23 of 23 user vectors taken" in text
    assert text.count(f"on {len(trained & judged)} of the {len(judged)} interactions") == 1


def npz(path: Path, **changed: np.ndarray) -> Path:
    rng = np.random.default_rng(0)
    arrays = {
        "user_ids": np.array(["u1", "u2", "stranger"]),
        "user_embedding": rng.random((3, 6), dtype=np.float32),
        "item_ids": np.array(["i3"]),
        "item_embedding": rng.random((1, 6), dtype=np.float32),
        **changed,
    }
    np.savez(path, **{name: value for name, value in arrays.items() if value is not None})
    return path


def test_ids_that_a_file_lacks_keep_their_random_start(toy, tmp_path, caplog) -> None:
    file = npz(tmp_path / "some.npz")
    with caplog.at_level(logging.INFO, logger="recbole_hlr"):
        warm = prepare("CML", **toy, geometry="ball", pretrained_embeddings=file)
    cold = tables(prepare("CML", **toy, geometry="ball").model)
    assert "2 of 23 user vectors" in caplog.text
    assert "1 of 17 item vectors" in caplog.text
    data = warm.train_data.dataset
    changed = (tables(warm.model)[0] != cold[0]).any(dim=1).nonzero().squeeze(dim=1).tolist()
    assert sorted(changed) == sorted(data.token2id(data.uid_field, token) for token in ("u1", "u2"))
    expected = torch.from_numpy(np.load(file)["user_embedding"][1])
    assert torch.equal(tables(warm.model)[0][data.token2id(data.uid_field, "u2")], expected)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"item_ids": None}, "must hold user_ids"),
        ({"item_embedding": np.zeros((1, 5), np.float32)}, "5 dimensions, must have embedding_size=6"),
        ({"item_embedding": np.zeros((2, 6), np.float32)}, r"\(1,\) and item_embedding \(2, 6\)"),
        ({"item_embedding": np.full((1, 6), np.nan, np.float32)}, "finite"),
        ({"item_embedding": np.zeros((1, 6), np.int64)}, "finite"),
        ({"user_ids": np.array(["x", "y", "z"])}, "has none of the data set's 23 user ids"),
        ({"user_ids": np.array([object(), 1, 2])}, "cannot be read"),
    ],
)
def test_files_that_do_not_fit_are_refused(toy, tmp_path, changed, message) -> None:
    with pytest.raises(InputError, match=message) as caught:
        prepare("CML", **toy, pretrained_embeddings=npz(tmp_path / "bad.npz", **changed))
    assert str(tmp_path / "bad.npz") in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content"), [("a.npz", b""), ("a.npz", b"PK no"), ("a.pth", b"x"), ("none", None)]
)
def test_damaged_and_missing_files_are_refused_with_their_name(toy, tmp_path, name, content) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=name):
        prepare("CML", **toy, pretrained_embeddings=tmp_path / name)
    assert not (tmp_path / "runs").exists()


def test_a_run_of_another_size_or_of_a_model_without_tables_is_refused(toy, cml_run) -> None:
    with pytest.raises(InputError, match="6 dimensions, must have embedding_size=4"):
        prepare("HLR", **{**toy, "embedding_size": 4}, pretrained_embeddings=cml_run)
    pop = run("Pop", **{k: v for k, v in toy.items() if k != "embedding_size"})
    with pytest.raises(InputError, match=r"Pop has no user_embedding\.weight"):
        prepare("HLR", **toy, pretrained_embeddings=pop.run_dir)


@pytest.mark.parametrize("name", ["HLR", "HLR++", "LRML"])
def test_frozen_tables_stay_to_the_last_bit_while_the_memory_learns(toy, cml_run, name) -> None:
    parts = prepare(name, **toy, pretrained_embeddings=cml_run, freeze_embeddings=True, max_norm=0.1)
    tables_before, keys_before = tables(parts.model), parts.model.memory.keys.detach().clone()
    parts.trainer.fit(parts.train_data, parts.valid_data, saved=False)
    for found, before in zip(tables(parts.model), tables_before, strict=True):
        assert torch.equal(found, before)
    assert not torch.equal(parts.model.memory.keys.detach(), keys_before)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("HLR", {}, "unless pretrained_embeddings is given"),
        ("CML", {"pretrained_embeddings": "x"}, "CML has nothing else to learn"),
        ("TransCF", {"pretrained_embeddings": "x"}, "TransCF has nothing else to learn"),
    ],
)
def test_freezing_needs_tables_and_something_else_to_learn(toy, name, options, message) -> None:
    with pytest.raises(InputError, match=message):
        prepare(name, **toy, freeze_embeddings=True, **options)


def test_a_resumed_run_and_a_loaded_one_do_not_need_the_other_run_any_more(toy, cml_run) -> None:
    first = run("HLR", **toy, pretrained_embeddings=cml_run, stopping_step=100)
    shutil.rmtree(cml_run)
    again = run(resume=first.run_dir, epochs=4)
    assert again.epochs == 4
    assert load(first.run_dir).recommend(["u1"], k=2).shape == (2, 4)
    assert load_checkpoint(Path(first.run_dir) / "model.pth")["config"]["pretrained_embeddings"] == str(
        cml_run
    )
