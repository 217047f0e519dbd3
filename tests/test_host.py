"""What the plugin relies on in RecBole, fact by fact, and the host's models through the same door."""

import subprocess
import sys
import warnings
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import torch
from recbole.data.dataloader import FullSortEvalDataLoader
from recbole.data.utils import create_samplers
from recbole.utils.utils import early_stopping
from scipy.sparse import dok_matrix

from recbole_hlr import InputError, prepare, run
from recbole_hlr.host import recbole as compat


@pytest.mark.parametrize(
    "model", ["BPR", "ItemKNN", "EASE", "LightGCN", "MultiVAE", "Pop", "NeuMF", "SimpleX"]
)
def test_host_models_run_through_the_same_door(toy, model):
    options = {k: v for k, v in toy.items() if k != "embedding_size"}
    more = {"k": 5} if model == "ItemKNN" else {}
    result = run(model, **options, **more)
    assert 0 < result.test["recall@10"] <= 1
    assert result.epochs == (1 if model in ("ItemKNN", "EASE", "Pop") else 3)
    assert run(resume=result.run_dir).test == result.test  # the checkpoint holds all they have learned


@pytest.mark.parametrize(
    ("model", "reason"), [("RaCT", "is not run here"), ("NCL", "needs the package faiss")]
)
def test_host_models_that_cannot_run_say_so(toy, model, reason, monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)  # as where it is not installed
    with pytest.raises(InputError, match=reason):
        run(model, **{k: v for k, v in toy.items() if k != "embedding_size"})


def test_nothing_of_the_main_path_imports_ray_or_the_quick_start():
    code = (
        "import recbole_hlr, sys\n"
        "bad = {'ray', 'recbole.quick_start', 'kmeans_pytorch', 'plotly', 'lightgbm'} & set(sys.modules)\n"
        "sys.exit(repr(bad) if bad else 0)"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


def test_host_ties_reset_its_patience():
    """RecBole compares with >=, which is why a tie is handed to it as a worse score."""
    assert early_stopping(0.5, 0.5, cur_step=3, max_step=10, bigger=True)[1:] == (0, False, True)


def test_host_rounds_its_metrics(toy):
    from recbole.evaluator import Evaluator

    config = prepare("CML", **toy).config
    assert all(metric.decimal_place == 4 for metric in Evaluator(config).metric_class.values())


def test_host_tiles_several_negatives_negative_by_negative(toy):
    """Row k * B + b is the k-th negative of positive b."""
    experiment = prepare(
        "CML",
        **toy,
        objective="triplet",
        train_neg_sample_args={"distribution": "popularity", "sample_num": 3},
    )
    batch = next(iter(experiment.train_data))
    rows = len(batch["user_id"]) // 3
    for k in range(1, 3):
        assert torch.equal(batch["user_id"][:rows], batch["user_id"][k * rows : (k + 1) * rows])
        assert torch.equal(batch["item_id"][:rows], batch["item_id"][k * rows : (k + 1) * rows])


def test_host_evaluates_users_in_whole_catalogues(toy):
    experiment = prepare("CML", **toy)
    data = experiment.valid_data
    assert isinstance(data, FullSortEvalDataLoader)
    assert data.step == data.config["eval_batch_size"] // experiment.dataset.item_num


def test_host_sampler_refuses_saturated_users(toy):
    experiment = prepare("BPR", **toy)
    parts = [experiment.train_data.dataset, experiment.valid_data._dataset, experiment.test_data._dataset]
    assert create_samplers(experiment.config, experiment.dataset, parts)[0].phase == "train"


def test_aliases_that_the_host_needs_on_numpy_2():
    compat.set_numpy_aliases()
    assert np.float is np.float_ is np.float64
    assert np.long is not None
    assert np.dtype(np.object) == np.dtype(object)


def test_the_method_that_the_host_needs_on_scipy_1_13():
    compat.set_dok_update()
    matrix = dok_matrix((2, 2))
    matrix._update({(0, 1): 3.0})
    assert matrix[0, 1] == 3.0


@pytest.mark.parametrize("model", ["CML", "LightGCN"])
def test_the_host_does_not_warn_python_users(toy, model):
    with warnings.catch_warnings(record=True) as seen:
        warnings.resetwarnings()
        warnings.simplefilter("always")
        filters = list(warnings.filters)
        run(model, **toy)
        parts = prepare(model, **toy)
        parts.trainer.fit(
            parts.train_data, parts.valid_data, callback_fn=lambda *_: warnings.warn("mine", stacklevel=1)
        )
        parts.trainer.evaluate(parts.test_data)
        parts.trainer.per_user(parts.test_data)
        assert warnings.filters == filters  # those of the caller are as they were
    assert "mine" in [str(w.message) for w in seen]
    assert [w.message for w in seen if "recbole/" in Path(w.filename).as_posix()] == []


def test_versions():
    assert version("recbole").startswith("1.2")
    assert int(version("pandas").split(".")[0]) == 2
    assert int(version("numpy").split(".")[0]) == 2


def test_padding_is_id_0_and_not_counted(toy):
    experiment = prepare("HLR", **toy)
    assert experiment.dataset.field2id_token["user_id"][0] == "[PAD]"
    assert experiment.dataset.user_num == 24
    assert experiment.train_data.dataset.inter_feat["item_id"].min() >= 1
