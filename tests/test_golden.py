"""Parity with the authors' implementation: distances, relations, loss, gradients, scores, steps."""

from __future__ import annotations

import json

import pytest
import torch

from tests import golden
from tests.golden import WEIGHT_OF, Record, Released
from tests.toys import assert_close, gradients, rows_of, scores_by_pairs, scores_of_all, twin_of

every_record = pytest.mark.parametrize("record", golden.records())


def expected(record: Record, name: str) -> torch.Tensor:
    return torch.from_numpy(record.results()[name])


def label(record: Record, what: str) -> str:
    return f"{record.case} {record.code} {record.variant}: {what}"


@every_record
def test_distances_and_relations_eqs_1_to_6(record: Record) -> None:
    released, batch = Released(record), golden.batch(record)
    sides = zip(("pos", "neg"), released.distances(batch), released.relations(batch), strict=True)
    for side, distance, relation in sides:
        assert_close(
            distance, expected(record, f"{side}_distances"), 1e-5, label(record, f"{side}_distances")
        )
        if relation is not None:
            name = f"{side}_relation"
            assert_close(relation, expected(record, name), 1e-5, label(record, name))


@every_record
def test_loss_eq_8_and_gradients(record: Record) -> None:
    released = Released(record)
    loss = released.loss(golden.batch(record))
    assert_close(loss, expected(record, "loss"), 1e-5, label(record, "loss"))
    found = gradients(loss, dict(released.model.named_parameters()))
    for name, weight in WEIGHT_OF.items():
        if weight in found:
            gradient = golden.recorded_form(name, found[weight])
            assert_close(
                gradient, expected(record, f"grad.{name}"), 1e-4, label(record, f"gradient of {name}")
            )
    for name in ("user_embedding.weight", "item_embedding.weight"):
        assert not found[name][0].any(), label(record, f"padding row of {name} has a gradient")


@every_record
@pytest.mark.parametrize("score", [scores_by_pairs, scores_of_all])
def test_scores(record: Record, score) -> None:
    model = golden.model_of(record).eval()
    users = (record.inputs()["eval.user_ids"] + 1).tolist()
    assert_close(score(model, users)[:, 1:], expected(record, "scores"), 1e-5, label(record, "scores"))


@every_record
def test_weights_after_three_steps(record: Record) -> None:
    released, batch, results = Released(record), golden.batch(record), record.results()
    optimizer = golden.optimizer_of(released.model, float(results["param.learning_rate"]))
    half = len(batch.users) // 2
    for step, rows in enumerate((slice(half), slice(half, None), slice(None))):
        optimizer.zero_grad()
        loss = released.loss(batch.rows(rows))
        what = label(record, f"loss of step {step + 1}")
        assert_close(loss, torch.tensor(results["step_losses"][step]), 5e-5, what)
        loss.backward()
        for group in optimizer.param_groups:
            group["eps"] = golden.tensorflow_eps(step + 1)
        optimizer.step()
        weights = released.model.state_dict()
        for name, weight in WEIGHT_OF.items():
            key = f"after{step + 1}.{name}"
            if weight in weights and key in results:
                form = golden.recorded_form(name, weights[weight])
                assert_close(form, expected(record, key), 5e-5, label(record, key))


@pytest.mark.parametrize("record", golden.records(without="big"))  # loops over 64 rows of 20 items: slow
def test_plain_loops_of_the_reference_agree_too(record: Record) -> None:
    released, batch = Released(record), golden.batch(record)
    sides = {"pos": (released.model, batch.positives), "neg": (released.negative_model, batch.negatives)}
    histories = rows_of(batch.history, len(batch.users))
    for side, (model, items) in sides.items():
        options = {**record.options(), "direct_memory": getattr(model, "direct_memory", None) is not None}
        twin = twin_of(model, **options)
        share = options.get("share_negative_relation", False)
        found = [
            twin.distance(int(u), int(v), history, int(i) if share else None)
            for u, v, i, history in zip(batch.users, items, batch.positives, histories, strict=True)
        ]
        name = f"{side}_distances"
        assert_close(torch.stack(found), expected(record, name), 1e-5, label(record, f"reference {name}"))


def test_every_recorded_setting_of_our_models_is_compared() -> None:
    manifest = golden.SHARED / "manifest.json"
    if not manifest.is_file():
        pytest.skip(f"there is no {manifest}")
    listed = {
        (entry["case"], entry["model"], entry["variant"])
        for entry in json.loads(manifest.read_text())["files"]
        if entry["model"] in golden.MODEL_OF
    }
    found = {param.values[0][1:] for param in golden.records() if param.values[0].folder == golden.SHARED}
    assert found == listed
    assert {case for case, *_ in found} == {"small", "full", "edge", "big"}
