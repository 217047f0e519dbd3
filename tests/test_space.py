"""Search spaces, what is suggested from them, the options of a search, and its record."""

import datetime
import json
import math
import re
import shutil
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_hlr import MODELS, InputError
from recbole_hlr.config.config import HLRConfig
from recbole_hlr.errors import shown
from recbole_hlr.model.registry import find_model
from recbole_hlr.options.command_line import parse_arguments
from recbole_hlr.options.shipped import shipped
from recbole_hlr.options.yaml_values import load_yaml
from recbole_hlr.search import options, space
from recbole_hlr.search.plan import check_space, make_plan, suggestions_of, tunable
from recbole_hlr.search.record import STUDY_FILE, Record, open_record
from recbole_hlr.search.report import show, study_of, table_of, write_report
from recbole_hlr.search.suggest import Suggestions, default_algorithm
from recbole_hlr.search.trials import CUT, DONE, FAILED, LOST, OPEN, STOPPED, Trial, best_of

CLASSES = sorted({model.__name__ for model in MODELS.values()})
ALL = {
    "choice": {"choice": [1, None, "x", [1, 2], True]},
    "grid": {"grid": [1, 2]},
    "uniform": {"uniform": [0.5, 2]},
    "log": {"loguniform": [1e-4, 1e-1]},
    "steps": {"quniform": [0.0, 1.0, 0.3]},
    "whole": {"quniform": [10, 60, 20]},
    "integers": {"randint": [3, 6]},
}
DEFAULTS = dict.fromkeys(ALL, 1)


def drawn(
    folder, lines, algorithm, seed, samples, defaults, count=None, score=lambda values: 0.1, larger=True
):
    """Return the values of up to `count` trials of a search in `folder`, which all end with a score."""
    found = space.make_space(lines, "here")
    suggestions = Suggestions(found, algorithm, seed, samples, defaults)
    record = Record(folder / STUDY_FILE, found, larger)
    while count is None or len(record.trials) < count:
        values = suggestions.next(record)
        if values is None:
            break
        trial = record.add(values, 0.0)
        record.report(trial, 0, score(values))
        trial.status = STOPPED if trial.number % 3 == 0 else DONE
        record.end(trial, 0.0)
    record.close()
    return [trial.values for trial in record.trials]


NUMERIC = {"x": {"uniform": [-1.0, 1.0]}, "y": {"choice": [1, 2, 3]}}


@pytest.mark.parametrize("model", CLASSES)
@pytest.mark.parametrize("name", ["wide", "paper", "softmax"])
def test_every_model_ships_spaces_that_name_only_its_options(model, name):
    """Every value, or the ends of every range, is one that the model accepts."""
    if name == "softmax" and model == "MFALS":
        return  # is trained by least squares alone
    objective = "softmax" if name == "softmax" else "triplet"
    found = space.find_space(name, model)
    check_space(found, HLRConfig(model, "ml-100k", options={"objective": objective}))
    known = tunable(find_model(model), None if model == "MFALS" else objective)
    assert {dimension.key.partition(".")[0] for dimension in found} <= known


@pytest.mark.parametrize("model", CLASSES)
def test_shipped_files_hold_wide_first_and_nothing_else(model):
    spaces = ["wide", "paper"] if model == "MFALS" else ["wide", "paper", "softmax"]
    assert list(load_yaml(shipped("properties", "search", f"{model}.yaml"))) == spaces


def test_the_paper_s_grid_has_its_values():
    grid = {d.key: d.numbers for d in space.find_space("paper", "HLR")}
    assert grid["learning_rate"] == (0.0002, 0.0005, 0.00075, 0.001)
    assert grid["num_memories"] == (5, 10, 20, 50)
    assert grid["margin"] == (0.2, 0.5, 0.75, 1.0)
    assert math.prod(map(len, grid.values())) == 64


def test_every_kind_draws_within_its_bounds(tmp_path):
    _, *found = drawn(tmp_path, ALL, "random", 1, 200, DEFAULTS)
    assert [v for v in ALL["choice"]["choice"] if v not in [d["choice"] for d in found]] == []
    assert {d["grid"] for d in found} == {1, 2}
    assert all(0.5 <= d["uniform"] <= 2 and 1e-4 <= d["log"] <= 1e-1 for d in found)
    assert 60 < sum(d["log"] < 10**-2.5 for d in found) < 140  # half below the geometric middle
    assert {round(d["steps"], 9) for d in found} == {0.0, 0.3, 0.6, 0.9}
    assert {d["whole"] for d in found} == {10, 30, 50}
    assert {d["integers"] for d in found} == {3, 4, 5}
    assert all(type(d["whole"]) is type(d["integers"]) is int for d in found)


def test_encode_is_the_inverse_of_decode(tmp_path):
    _, *found = drawn(tmp_path, ALL, "random", 1, 50, DEFAULTS)
    for values in found:
        for dimension in space.make_space(ALL, "here"):
            one = dimension.encode(values[dimension.key])
            assert dimension.decode(one) == values[dimension.key]
            assert dimension.distribution._contains(dimension.distribution.to_internal_repr(one))


@pytest.mark.parametrize(
    ("line", "outside"),
    [
        ({"choice": [1, 2]}, [True, 3, "1"]),
        ({"uniform": [0, 1]}, [1.1, None, "x", True]),
        ({"randint": [3, 6]}, [6, 3.5]),
        ({"quniform": [0.0, 1.0, 0.3]}, [1.0, 0.2]),
    ],
)
def test_values_outside(line, outside):
    (dimension,) = space.make_space({"a": line}, "here")
    assert [dimension.encode(value) for value in outside] == [None] * len(outside)


@pytest.mark.parametrize("algorithm", ["random", "grid", "optuna"])
def test_seeds_repeat_and_defaults_come_first(tmp_path, algorithm):
    lines = {"x": {"quniform": [-1.0, 1.0, 0.25]}, "y": {"choice": [1, 2, 3]}}
    found = []
    for number, seed in enumerate((1, 1, 2)):
        (tmp_path / str(number)).mkdir()
        found.append(drawn(tmp_path / str(number), lines, algorithm, seed, 12, {"x": 9.0, "y": 1}))
    assert found[0] == found[1] != found[2]
    assert found[0][0] == {"x": 9.0, "y": 1}
    assert len(found[0]) == 12


def test_an_option_without_a_default_is_left_out_of_the_first_trial(tmp_path):
    triplet = {"objective": "triplet"}
    config = HLRConfig("CML", "ml-100k", options=triplet)
    lines = {
        "clip_grad_norm.max_norm": {"choice": [1.0, 5.0]},
        "train_neg_sample_args.sample_num": {"choice": [5, 20]},
    }
    plan = make_plan("CML", "ml-100k", (), triplet, {}, lines, {"algorithm": "grid"}, "here")
    made = suggestions_of(plan)
    assert made.total == 5  # 20 negatives with no clipping, and all four combinations
    found = drawn(tmp_path, lines, "grid", 1, 9, made.defaults)
    assert found[0] == {"train_neg_sample_args.sample_num": 20}
    assert space.put(config.requested, found[0]) == config.requested
    trials = [Trial(n, values, DONE, [0.1 * n], [0]) for n, values in enumerate(found, 1)]
    assert len(study_of(plan.space, trials, True).trials) == 5


@pytest.mark.parametrize("algorithm", ["grid", "random", "optuna"])
def test_the_choices_of_an_option_may_be_mappings(tmp_path, algorithm):
    falling = {"name": "exponential", "gamma": 0.9}
    lines = {"lr_scheduler": {"choice": [None, falling]}, "learning_rate": {"choice": [0.001, 0.002]}}
    options = {"algorithm": algorithm, "num_samples": 4}
    plan = make_plan("CML", "ml-100k", (), {"objective": "triplet"}, {}, lines, options, "here")
    found = drawn(tmp_path, lines, algorithm, 1, 4, suggestions_of(plan).defaults)
    trials = [Trial(n, values, DONE, [0.1 * n], [0]) for n, values in enumerate(found, 1)]
    schedules = [trial.values["lr_scheduler"] for trial in trials]
    assert schedules[0] is None
    assert falling in schedules
    write_report(tmp_path / "report.html", plan.space, trials, "ndcg@10", True, "recbole-hlr ...")
    page = (tmp_path / "report.html").read_text()
    assert "What mattered" in page
    assert json.dumps(falling) in page
    given = parse_arguments([f"--lr_scheduler={show(falling)}"])  # as a trial's line shows it
    assert given == {"lr_scheduler": falling}


def test_epochs_are_not_searched():
    """How long a trial may be is the search's."""
    with pytest.raises(InputError, match="space: epochs: is no option"):
        make_plan("MF-ALS", "ml-100k", (), {}, {}, {"epochs": {"choice": [20, 100]}}, {}, "here")


def test_a_grid_is_every_combination_once_and_the_defaults(tmp_path):
    lines = {"x": {"grid": [1, 2, 3, 2.0]}, "y": {"choice": [True, False]}, "z": {"randint": [0, 2]}}
    for x, total in ((2, 12), (7, 13)):
        (tmp_path / str(x)).mkdir()
        found = drawn(tmp_path / str(x), lines, "grid", 1, 10**6, {"x": x, "y": True, "z": 0})
        made = Suggestions(space.make_space(lines, "here"), "grid", 1, 10**6, {"x": x, "y": True, "z": 0})
        assert len(found) == len({json.dumps(d) for d in found}) == made.total == total
    assert Suggestions(made.space, "grid", 1, 5, made.defaults).total == 5


def test_a_grid_of_the_defaults_alone_is_one_trial(tmp_path):
    assert drawn(tmp_path, {"x": {"grid": [2]}}, "grid", 1, 10**6, {"x": 2}) == [{"x": 2}]


@pytest.mark.parametrize("algorithm", ["random", "optuna"])
def test_nothing_is_drawn_twice_and_a_search_ends_with_its_space(tmp_path, algorithm):
    lines = {"x": {"choice": [1, 2, 3]}, "y": {"choice": [1, 2]}}
    found = drawn(tmp_path, lines, algorithm, 3, 100, {"x": 1.0, "y": 1}, score=lambda v: float(v["x"]))
    assert sorted((d["x"], d["y"]) for d in found) == [(x, y) for x in (1, 2, 3) for y in (1, 2)]


@pytest.mark.parametrize("larger", [True, False])
def test_tpe_learns_from_what_is_recorded(tmp_path, larger):
    """The score is best near x = 0.4: its later trials lie twice as near as random ones (0.58)."""

    def score(values):
        return abs(values["x"] - 0.4) * (-1 if larger else 1)

    found = drawn(tmp_path, NUMERIC, "optuna", 0, 60, {"x": 5.0, "y": 2}, score=score, larger=larger)
    assert sum(abs(values["x"] - 0.4) for values in found[31:]) / 29 < 0.3


@pytest.mark.parametrize("algorithm", ["random", "grid", "optuna"])
def test_suggestions_go_on_after_a_resume_as_they_would_have(tmp_path, algorithm):
    """They follow from the seed, the number and what is recorded."""
    lines = {"x": {"quniform": [-1.0, 1.0, 0.01]}, "y": {"choice": [1, 2, 3]}}
    given = (lines, algorithm, 4, 30, {"x": 0.0, "y": 1})
    (tmp_path / "whole").mkdir()
    whole = drawn(tmp_path / "whole", *given, score=lambda v: v["x"])
    assert drawn(tmp_path, *given, count=20, score=lambda v: v["x"]) == whole[:20]
    assert drawn(tmp_path, *given, score=lambda v: v["x"]) == whole


def test_the_default_algorithm():
    assert default_algorithm(space.find_space("paper", "HLR")) == "grid"
    assert default_algorithm(space.find_space("wide", "HLR")) == "random"


def test_recbole_s_file_is_read_and_never_evaluated(tmp_path):
    file = tmp_path / "hyper.test"
    file.write_text(
        "learning_rate loguniform -8,-4\n\n# a comment\nmargin uniform 0.5, 2\n"
        "num_memories choice [5, 10]\nembedding_size quniform 10,50,20\n"
    )
    found = {d.key: (d.kind, d.numbers) for d in space.find_space(file, "HLR")}
    assert found["learning_rate"] == ("loguniform", (math.exp(-8), math.exp(-4)))
    assert found["margin"] == ("uniform", (0.5, 2))
    assert found["num_memories"] == ("choice", (5, 10))
    assert found["embedding_size"] == ("quniform", (10, 50, 20))
    file.write_text("margin choice [0.5,1.0]\nnum_memories choice [5,10]\n")
    assert {d.kind for d in space.find_space(file, "HLR")} == {"grid"}  # RecBole tries all of these
    file.write_text("margin choice __import__('os').getpid()\n")
    with pytest.raises(InputError, match=r"must be \{grid: a list"):
        space.find_space(file, "HLR")


@pytest.mark.parametrize(
    "text", ["margin choose [1]", "margin uniform", "margin uniform 2,1", "margin choice []", "margin loguniform 5,1",
             "margin choice [1]\nmargin choice [2]", "margin uniform a,b"],
)  # fmt: skip
def test_wrong_lines_are_named(tmp_path, text):
    (tmp_path / "hyper.test").write_text(text)
    with pytest.raises(InputError, match=r"hyper\.test.*must|given twice"):
        space.find_space(tmp_path / "hyper.test", "HLR")


@pytest.mark.parametrize(
    "line",
    [5, [1, 2], {}, {"chioce": [1]}, {"choice": []}, {"choice": 3}, {"uniform": [1]}, {"uniform": [2, 1]}, {"uniform": [1, 1]},
     {"uniform": ["a", 1]}, {"uniform": [0, math.inf]}, {"loguniform": [0, 1]}, {"randint": [0.5, 2]}, {"quniform": [0, 1, 0]},
     {"quniform": [0, 1, 2]}, {"choice": [1], "uniform": [0, 1]}, {"uniform": [True, 2]}, {"choice": [math.nan]},
     {"choice": [datetime.date(2020, 1, 1)]}, {"choice": [{1: 2}]}, {"uniform": [0, 10**400]}, {"uniform": [-1.7e308, 1.7e308]},
     {"randint": [0, 10**20]}, {"quniform": [0, 1, 1e-300]}, {"loguniform": [math.nan, 1]}],
)  # fmt: skip
def test_wrong_spaces_are_named(line):
    with pytest.raises(InputError, match=r"margin.*\(my\.yaml\): must") as caught:
        space.make_space({"margin": line}, "my.yaml")
    assert "\n" not in str(caught.value)
    assert ("did you mean choice" in str(caught.value)) == (line == {"chioce": [1]})


@pytest.mark.parametrize(
    ("lines", "match"),
    [
        ({"scal": {"uniform": [1, 2]}}, r"scal: is no option of HLR.*did you mean scale"),
        ({"epochs": {"choice": [1, 2]}}, "epochs: is no option"),
        ({"seed": {"choice": [1, 2]}}, "seed: is no option"),
        ({"scale": {"uniform": [-1.0, 2.0]}}, r"scale=-1\.0.*must be a number > 0"),
        ({"margin": {"choice": [1.0]}}, "margin: is no option of HLR"),
        ({"num_memories": {"choice": [5, "many"]}}, "num_memories=many.*must be an integer"),
        ({"train_neg_sample_args.sample_num": {"choice": [0]}}, "sample_num"),
        ({"scale.x": {"choice": [1]}}, "scale"),
        ({"learner": {"choice": ["adamm"]}}, "learner=adamm"),
    ],
)
def test_spaces_that_the_model_does_not_know_are_refused(lines, match):
    with pytest.raises(InputError, match=match):
        check_space(space.make_space(lines, "here"), HLRConfig("HLR", "ml-100k"))


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("margin: {chioce: [1]}", r"margin=.*must be \{kind: .*did you mean choice"),
        ("margin: {chioce: [1]}\nmax_norm: {choice: [1]}", "margin=.*must be {kind.*did you mean choice"),
        ("margin: {choice: {a: {b: 1}}}", "margin=.*must be {choice: a list"),
        ("margin: [1, 2]", "margin=.*must be {kind"),
        ("margin: {}", "margin=.*must be {kind"),
        ("- margin", "must hold `key: value` lines"),
        ("margin: {choice: &all [1, *all]}", "margin=.*must be {choice: a list of finite|contains itself"),
        ("margin: &all {choice: *all}", "margin=.*must be {choice: a list|contains itself"),
        ("wide:\n  1: {choice: [1]}", "1: .*must begin with an option's name"),
    ],
)
def test_files_of_odd_shape_are_refused_for_what_is_wrong(tmp_path, text, match):
    (tmp_path / "space.yaml").write_text(text)
    file = f"{tmp_path}/space.yaml" + ("#wide" if text.startswith("wide") else "")
    with pytest.raises(InputError, match=match) as caught:
        space.find_space(file, "HLR")
    assert "must be one of margin" not in str(caught.value)


plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3)
plain |= st.sampled_from([10**20, 10**400, -(2**63), 5e-324, 1.7e308, 0.1, 1, 2, 3, 700])
odd = st.recursive(
    plain,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*space.KINDS, "margin", 1]), inner, max_size=2)
    ),
    max_leaves=6,
)
lines = st.builds(
    lambda kind, numbers: {kind: numbers}, st.sampled_from(list(space.KINDS)), st.lists(plain, max_size=3)
)


def why_not(call, *args):
    """The sentence with which a call is refused; '' where it is not."""
    try:
        call(*args)
    except InputError as error:
        return str(error)
    return ""


@settings(deadline=None, max_examples=300)
@given(st.dictionaries(st.sampled_from(["margin", "max_norm", "a.b"]), lines | odd, max_size=3))
def test_any_space_is_drawn_from_or_refused_in_a_sentence(content):
    """One that is accepted gives values that come back through the record."""
    refused = why_not(space.read_space, content, "my.yaml")
    if refused:
        assert "my.yaml" in refused
        return
    found = space.read_space(content, "my.yaml")
    with tempfile.TemporaryDirectory() as folder:
        values = drawn(Path(folder), content, "random", 1, 2, {})[-1] if found else {}
    for dimension in found:
        if dimension.key not in values:
            continue  # the space has but one combination: no values at all came first, and are not tried twice
        assert json.loads(json.dumps(values[dimension.key])) == values[dimension.key]
        assert dimension.encode(values[dimension.key]) is not None
        if dimension.kind not in ("choice", "grid"):
            assert [dimension.encode(value) for value in (10**400, math.nan, "x", None)] == [None] * 4


def test_ranges_are_encoded_and_counted_without_a_list_of_their_values():
    (wide,) = space.make_space({"x": {"randint": [0, 2**50]}}, "here")
    assert (wide.count, wide.encode(2**49), wide.encode(2**50), wide.encode(0.5)) == (
        2**50,
        2**49,
        None,
        None,
    )
    (steps,) = space.make_space({"x": {"quniform": [0.0, 1.0, 0.1]}}, "here")
    assert [steps.encode(i / 10) for i in range(11)] == pytest.approx([i / 10 for i in range(11)])
    assert [steps.value(i) for i in range(11)] == [i / 10 for i in range(11)]
    assert steps.count == 11
    both = space.make_space({"x": {"randint": [0, 2**50]}, "y": {"choice": [1, 2, 3]}}, "here")
    with pytest.raises(InputError, match=f"has {3 * 2**50} combinations.* at most 10000000"):
        Suggestions(both, "grid", 1, 5, {})


@pytest.mark.parametrize("exponent", ["700.5", "-800", "1e5", "1" + 400 * "0", "inf", "nan", "true", "x"])
def test_exponents_of_which_no_float_is_the_power_are_refused(tmp_path, exponent):
    (tmp_path / "hyper.test").write_text(f"learning_rate loguniform -5,{exponent}\n")
    with pytest.raises(InputError, match=r"hyper\.test, line 1: loguniform.*numbers from -700 to 700"):
        space.find_space(tmp_path / "hyper.test", "HLR")


def test_files_and_names_of_spaces(tmp_path):
    (tmp_path / "one.yaml").write_text("margin: {choice: [1]}\n")
    (tmp_path / "two.yaml").write_text("a:\n  margin: {choice: [1]}\nb:\n  margin: {choice: [2]}\n")
    assert space.find_space(tmp_path / "one.yaml", "HLR")[0].numbers == (1,)
    assert space.find_space(f"{tmp_path}/two.yaml#b", "HLR")[0].numbers == (2,)
    for wrong, match in [
        (f"{tmp_path}/two.yaml", r"must be one of a, b; write .*two\.yaml#a"),
        (f"{tmp_path}/two.yaml#c", "must be one of a, b"),
        (f"{tmp_path}/one.yaml#a", "has no name"),
        (f"{tmp_path}/none.yaml", "there is no such"),
        (f"{tmp_path}/none.test", "cannot be read"),
        ("narrow", "must be one of wide, paper"),
    ]:
        with pytest.raises(InputError, match=match):
            space.find_space(wrong, "HLR")
    (tmp_path / "empty.yaml").write_text("")
    with pytest.raises(InputError, match="empty"):
        space.find_space(tmp_path / "empty.yaml", "HLR")
    with pytest.raises(InputError, match="BPR has no shipped space"):
        space.find_space("wide", "BPR")


def test_values_are_put_into_options_and_into_their_mappings():
    given = {"a": 1, "m": {"x": 1, "y": 2}}
    assert space.put(given, {"a": 5, "m.x": 7, "n.z": 3}) == {"a": 5, "m": {"x": 7, "y": 2}, "n": {"z": 3}}
    assert given == {"a": 1, "m": {"x": 1, "y": 2}}
    assert [space.take(given, key) for key in ("a", "m.y")] == [1, 2]
    assert {space.take(given, key) for key in ("m.q", "b", "a.x", "b.x")} == {space.ABSENT}


WRONG = {
    "algorithm": ["bayes", 5],
    "num_samples": [0, 1.5, "many"],
    "scheduler": ["hyperband", None],
    "grace_period": [0],
    "reduction_factor": [1, 10**20],
    "max_concurrent": [0, "all"],
    "cpus_per_trial": [0, -1, "x", 1e-9, math.nan, 10**400, True],
    "gpus_per_trial": [-0.5, 1.5, 1e-9, math.inf, False],
    "time_budget": ["soon", 0, "-5m", True, math.inf, 10**400, [1], "9999999999999d"],
    "ray_address": [5, ""],
}


def test_every_option_of_a_search_has_wrong_values_here():
    assert set(WRONG) == set(options.NAMES)


@pytest.mark.parametrize(
    ("key", "value"), [(key, value) for key, values in WRONG.items() for value in values]
)
def test_wrong_options_of_a_search_are_refused(key, value):
    with pytest.raises(InputError, match=f"{re.escape(f'{key}={shown(value)}')}.*must be"):
        options.make_options({key: value}, "command line")


def test_an_option_that_a_search_does_not_have_is_refused():
    with pytest.raises(InputError, match=r"num_sample \(here\): is no option of a search.*mean num_samples"):
        options.make_options({"num_sample": 3}, "here")


def test_only_what_is_harmless_changes_in_a_resumed_search():
    stored = asdict(options.make_options({"num_samples": 5}, "x"))
    assert options.change_options(stored, {"num_samples": 9, "time_budget": "1m"}, "x").time_budget == 60
    for key, value in [("algorithm", "grid"), ("scheduler", "none"), ("grace_period", 3)]:
        with pytest.raises(InputError, match=f"{key}={value}.*cannot change"):
            options.change_options(stored, {key: value}, "x")


@pytest.mark.parametrize(
    ("text", "seconds"), [(90, 90), (0.5, 0.5), ("90s", 90), ("30m", 1800), ("1h30m", 5400)]
)
def test_times(text, seconds):
    assert options.make_options({"time_budget": text}, "here").time_budget == seconds


def test_the_best_is_by_validation_and_never_a_failed_one():
    trials = [
        Trial(1, {}, DONE, [0.1, 0.3], [0, 1]),
        Trial(2, {}, FAILED, [0.9], [0]),
        Trial(3, {}, CUT, [0.3, 0.4, 0.4], [0, 1, 2]),
        Trial(4, {}, STOPPED, [0.4], [0]),
        Trial(5, {}),
    ]
    assert best_of(trials, True).number == 3
    assert trials[2].best_epoch == 1
    assert best_of(trials, False).number == 1
    assert best_of(trials[4:], True) is None


def opened(folder, lines=None, pruner=None) -> Record:
    return Record(
        Path(folder, STUDY_FILE), space.make_space(lines or {"x": {"randint": [0, 99]}}, "x"), True, pruner
    )


def ended(record, number, status, scores=(0.5, 0.6)):
    trial = record.trials[number - 1]
    for epoch, score in enumerate(scores):
        record.report(trial, epoch, score)
    trial.status, trial.reason, trial.seconds = status, "why", 3.5
    record.end(trial, 7.5)
    return trial


def test_a_record_comes_back_as_it_was(tmp_path):
    record = opened(tmp_path)
    for number in (1, 2, 3, 4, 5):
        record.add({"x": number}, 1.0)
    for number, status in ((2, DONE), (1, LOST), (3, STOPPED), (4, FAILED)):
        ended(record, number, status, () if status == FAILED else (0.5, 0.6))
    record.report(record.trials[0], 1, 0.7)  # a trial that began again reports again
    record.report(record.trials[4], 3, 0.4)
    record.close()
    with open(tmp_path / STUDY_FILE, "ab") as file:
        file.write(b'{"op_code": 4, "num')  # killed while it wrote
    again = opened(tmp_path)
    assert again.trials == record.trials
    assert [trial.status for trial in again.trials] == [LOST, DONE, STOPPED, FAILED, OPEN]
    assert (again.trials[0].curve, again.trials[4].epochs, again.seconds) == ([0.5, 0.6], [3], 7.5)
    again.add({"x": 6}, 8.0)
    again.close()
    assert len(opened(tmp_path).trials) == 6


def test_optuna_opens_a_copy_of_the_record(tmp_path):
    record = opened(tmp_path)
    ended(record, record.add({"x": 7}, 1.0).number, DONE)
    record.close()
    shutil.copy(tmp_path / STUDY_FILE, tmp_path / "copy.jsonl")
    storage = optuna.storages.JournalStorage(
        optuna.storages.journal.JournalFileBackend(str(tmp_path / "copy.jsonl"))
    )
    assert optuna.load_study(study_name="search", storage=storage).best_params == {"x": 7}


def test_a_kill_between_any_two_lines_costs_no_trial_that_ended_before(tmp_path):
    record = opened(tmp_path)
    record.add({"x": 1}, 1.0)
    ended(record, 1, DONE)
    record.add({"x": 2}, 2.0)
    before = len((tmp_path / STUDY_FILE).read_bytes().splitlines())
    ended(record, 2, STOPPED)
    record.close()
    lines = (tmp_path / STUDY_FILE).read_bytes().splitlines(keepends=True)
    for kept in range(before, len(lines) + 1):
        (tmp_path / STUDY_FILE).write_bytes(b"".join(lines[:kept]))
        again = opened(tmp_path)
        assert again.trials[0] == record.trials[0]
        assert again.trials[1].status == (STOPPED if kept >= len(lines) - 1 else OPEN)
        if again.trials[1].status == OPEN:
            again.trials[1].status = STOPPED
            again.end(again.trials[1], 9.0)
        again.close()
        assert [trial.status for trial in opened(tmp_path).trials] == [DONE, STOPPED]


def test_who_falls_behind_is_known_after_a_resume(tmp_path):
    """Of a search broken off, the rungs that trials reached are in the record."""
    pruner = options.pruner_of(options.make_options({"grace_period": 2}, "here"), 1, 9)
    record = opened(tmp_path, pruner=pruner)
    for number, score in enumerate((0.5, 0.6, 0.7), 1):
        assert not record.report(record.add({"x": number}, 0.0), 0, score)
        assert not record.report(record.trials[-1], 1, score)
        ended(record, number, DONE, ())
    record.close()
    again = opened(tmp_path, pruner=pruner)
    again.report(again.add({"x": 4}, 0.0), 0, 0.4)
    assert again.report(again.trials[-1], 1, 0.4)
    again.close()


def why_damaged(folder) -> tuple[int, str]:
    sentence = why_not(opened, folder)
    found = re.search(
        r"study\.jsonl, line (\d+): is no line of a search .*delete it and those after it", sentence
    )
    return int(found[1]) if found else 0, sentence


@settings(deadline=None, max_examples=100)
@given(data=st.data())
def test_a_damaged_record_is_named_by_the_line_and_goes_on_without_it(data):
    """One that is read has trials that Optuna and the table can be told of."""
    with tempfile.TemporaryDirectory() as folder:
        record = opened(folder)
        for number in (1, 2):
            record.add({"x": number}, 1.0)
            ended(record, number, DONE)
        record.close()
        file = Path(folder, STUDY_FILE)
        lines = file.read_bytes().split(b"\n")[:-1]
        at = data.draw(st.integers(0, len(lines) - 1))
        other = data.draw(st.binary(max_size=20) | odd.map(lambda v: json.dumps(v).encode()))
        lines[at] = data.draw(st.sampled_from([other, lines[at][:9] + other, lines[at] + other, b"\0" * 9]))
        file.write_bytes(b"\n".join([*lines, b""]))
        line, sentence = why_damaged(folder)
        if not sentence:
            again = opened(folder)
            again.close()
            table_of(again.trials)
            return
        assert line >= at + 1
        file.write_bytes(b"\n".join([*file.read_bytes().split(b"\n")[:at], b""]))
        again = opened(folder)
        again.add({"x": 3}, 1.0)
        again.close()


def fill(record, count):
    for number in range(1, count + 1):
        record.add({"x": number}, 1.0)
        ended(record, number, DONE, (0.5,))


@pytest.mark.skipif(sys.platform != "linux", reason="limits the size of files as Linux does")
@settings(deadline=None, max_examples=60)
@given(room=st.integers(0, 3000), count=st.integers(1, 4))
def test_a_record_on_a_full_disk_keeps_whole_lines_and_goes_on(room, count):
    import resource

    with tempfile.TemporaryDirectory() as folder:
        record = opened(folder)
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))  # writes stop within a line
        try:
            refused = why_not(fill, record, count)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert refused or len(record.ended) == count
        assert "go on with recbole-hlr tune --resume=" in refused or not refused
        written = Path(folder, STUDY_FILE).read_text()
        assert written.endswith("\n")
        record.close()
        again = opened(folder)
        again.add({"x": 50}, 3.0)
        again.close()
        assert [t.values for t in again.trials[:-1]] == [t.values for t in record.trials][
            : len(again.trials) - 1
        ]
        assert len(opened(folder).trials) == len(again.trials)


def test_an_old_record_that_is_damaged_is_named_and_left(tmp_path):
    (tmp_path / "journal.jsonl").write_text(
        '{"event": "asked", "number": 1, "values": {}, "elapsed": 0}\nx\n'
    )
    with pytest.raises(InputError, match=r"journal\.jsonl: is no record of a search"):
        open_record(tmp_path, (), True, None)
    assert not (tmp_path / STUDY_FILE).exists()


def test_ten_of_a_large_grid_are_drawn_without_building_it(tmp_path):
    lines = {key: {"grid": list(range(17))} for key in "abcde"}  # 1,419,857 combinations
    found = drawn(tmp_path, lines, "grid", 1, 10, {})
    assert len(found) == 10
    assert len({tuple(values.items()) for values in found[1:]}) == 9
    assert all(0 <= value < 17 for values in found[1:] for value in values.values())
