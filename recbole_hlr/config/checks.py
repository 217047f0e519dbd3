"""What options must be, each alone and in view of the others, before any data are read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from recbole.utils import EvaluatorType

from recbole_hlr.errors import invalid, nearest
from recbole_hlr.host import recbole as compat
from recbole_hlr.metrics.definitions import LOSS, chosen_by, has_user_values, metric_types, reported
from recbole_hlr.options.check import check_values, options_of, refuse_huge, spell_switches, untold
from recbole_hlr.options.host import check_conditions
from recbole_hlr.options.protocol import BOTH, TRIPLET
from recbole_hlr.options.yaml_values import as_list
from recbole_hlr.protocols import Given, Values
from recbole_hlr.train.schedule import check_schedule, has_plain_adam

IN_PARTS = ("train_neg_sample_args", "eval_args")  # mappings of which what is not given stays at its default


@dataclass(frozen=True)
class Checked:
    """The options of a model as they are to be checked: their values, and where each is from.

    `ours` and `metric` say which of this package's models it is, `defaults` what the files say, and `given`
    what was asked for besides; `limits` are the ranges that a model of others declares.
    """

    model: str
    ours: bool
    metric: bool
    values: Values
    defaults: Given
    given: Given
    sources: Mapping[str, str]
    limits: Mapping[str, str]

    def __getitem__(self, key: str) -> Any:
        """Return a value as RecBole's `Config` does: None where there is none."""
        return self.values.get(key)

    def refuse(self, key: str, allowed: str) -> None:
        """Raise `InputError` for an option."""
        raise invalid(key, self.values[key], self.sources[key], allowed)


def complete(options: Checked) -> None:
    """Check options, and put into words and numbers what may be written otherwise. Raises `InputError`."""
    values, defaults = options.values, options.defaults
    for key in IN_PARTS:
        if isinstance(values.get(key), dict):
            values[key] = {**(defaults.get(key) or {}), **values[key]}
    spell_switches(values)
    check_each(options)
    for key, default in untold(defaults, options.ours).items():
        if isinstance(default, float):  # of an integer, torch takes no negative power
            values[key] = float(values[key])
    if "valid_metric" not in options.given and values["valid_metric"].lower() != LOSS:
        values["valid_metric"] = chosen_by(values["valid_metric"], values["metrics"], values["topk"])
    check_metrics(options)
    check_together(options)
    if options.ours and not options.metric:
        values.update(lr_scheduler=None)  # no step is taken
    if options.ours and (not options.metric or values["objective"] != TRIPLET):
        values.update(train_neg_sample_args=None)  # nothing is drawn


def check_each(options: Checked) -> None:
    """Raise `InputError` for an option that is out of its range, or does not suit its model's others."""
    values, sources = options.values, options.sources
    refuse_huge(values, sources)
    check_values(values, sources, options_of(options.model, options.defaults, options.ours, options.limits))
    check_conditions(options.model, values, options.given, sources)
    check_schedule(values["lr_scheduler"], sources["lr_scheduler"], values["epochs"], values["learning_rate"])


def check_metrics(options: Checked) -> None:
    """Raise `InputError` for metrics that there are not, or that do not suit each other or the evaluation."""
    values = options.values
    metrics = as_list(values["metrics"])
    listed = ", ".join(sorted(metric_types))
    for metric in metrics or [None]:
        if str(metric).lower() not in metric_types:
            hint = nearest(str(metric), metric_types)
            raise invalid("metrics", metric, options.sources["metrics"], f"one of {listed}{hint}")
    rated = {metric_types[metric.lower()] == EvaluatorType.VALUE for metric in metrics}
    if len(rated) > 1:
        options.refuse("metrics", "all of rankings, or all of ratings")
    mode = values["eval_args"].get("mode", "full")
    if rated == {True} and "full" in (mode.values() if isinstance(mode, dict) else [mode]):
        options.refuse(
            "metrics",
            "of rankings, or given with eval_args={mode: labeled} and labels (LABEL_FIELD, threshold)",
        )
    known = reported(metrics, values["topk"]) + ([LOSS] if options.metric else [])
    valid = values["valid_metric"]
    if not isinstance(valid, str) or valid.lower() not in known:
        options.refuse("valid_metric", "one of " + ", ".join(known))


def check_objective(options: Checked) -> None:
    """Raise `InputError` for an option that does not suit what a metric model is trained by."""
    values = options.values
    if not options.metric:
        return
    if values["objective"] == TRIPLET:
        drawn = values["train_neg_sample_args"] or {}
        by_host = drawn.get("distribution") != "uniform" or drawn.get("dynamic")
        if values["negatives"] == "disliked" and by_host:
            options.refuse("negatives", "sampled unless train_neg_sample_args is uniform and not dynamic")
        return
    if values.get("share_negative_relation"):
        options.refuse("share_negative_relation", "false unless objective=triplet")
    if values["geometry"] == "sphere" and values["max_norm"] is None:
        options.refuse("max_norm", "a number with geometry=sphere")


def check_together(options: Checked) -> None:
    """Raise `InputError` for an option that does not suit another."""
    values = options.values
    for key in compat.PICKLE_KEYS:
        if values[key]:
            options.refuse(key, "off: no data set is pickled here")
    check_objective(options)
    if values.get("direct_memory") and not values["attend_user"]:
        options.refuse("direct_memory", "false unless attend_user=true")
    if values.get("freeze_embeddings"):
        if not values["pretrained_embeddings"]:
            options.refuse("freeze_embeddings", "false unless pretrained_embeddings is given")
        if "num_memories" not in values:
            options.refuse("freeze_embeddings", f"false: {options.model} has nothing else to learn")
    check_users(options)
    check_parts(options)
    check_split(options)
    check_folds(options)
    if values["lazy_adam"] == "on" and options.metric and not has_plain_adam(values):
        options.refuse(
            "lazy_adam",
            "auto or off with another learner, weight_decay, clip_grad_norm, enable_scaler or a schedule "
            "that cycles the momentum",
        )


def check_parts(options: Checked) -> None:
    """Raise `InputError` where nothing is validated and nobody says how long to train."""
    if options.values["train_on"] == BOTH and "epochs" not in options.given:
        options.refuse("train_on", "given with epochs, since no validation ends the training")


def check_split(options: Checked) -> None:
    """Settle what follows from a split by users or by time; `InputError` for what does not suit it."""
    values = options.values
    evaluation = values["eval_args"]
    way = next(iter(evaluation.get("split", ())), None)
    asked = options.given.get("eval_args") or {}
    if way == "TS":
        if asked.get("order", "TO") != "TO" or asked.get("group_by") == "user":
            options.refuse(
                "eval_args", "of order TO and without group_by where one cut in time is for all (TS)"
            )
        values["eval_args"] = {**evaluation, "order": "TO", "group_by": "none"}
    if way != "HU":
        if values["fold_in_share"] != options.defaults["fold_in_share"]:
            options.refuse("fold_in_share", "left out unless eval_args hold users out (HU)")
        return
    if not options.ours:
        options.refuse(
            "eval_args", f"without HU: {options.model} cannot take in users who were held out of training; "
            "models of this package, such as CML, HLR and MF-ALS, can"
        )  # fmt: skip
    if values["valid_metric"].lower() == LOSS:
        options.refuse("valid_metric", "a metric of rankings where users are held out (HU)")
    mode = evaluation.get("mode", "full")
    if "labeled" in (mode.values() if isinstance(mode, dict) else [mode]):
        options.refuse("eval_args", "without mode: labeled where users are held out (HU)")


def check_folds(options: Checked) -> None:
    """Raise `InputError` for folds of what is not cut at random, and for a fold that there is not."""
    values = options.values
    folds, fold, evaluation = values["folds"], values["fold"], values["eval_args"]
    if folds is None and fold is not None:
        options.refuse("fold", "null unless folds is given")
    if folds is None:
        return
    if fold is None or fold > folds:
        options.refuse("fold", f"an integer from 1 to {folds}, with folds={folds}")
    if values["benchmark_filename"]:
        options.refuse("folds", "null with benchmark_filename, for the parts are given and nothing is split")
    if "RS" not in evaluation.get("split", {"RS": []}) or evaluation.get("order", "RO") != "RO":
        options.refuse("folds", "null unless eval_args split by ratios (RS) at random (order: RO)")


def check_users(options: Checked) -> None:
    """Raise `InputError` where values of users are asked for and metrics have none."""
    values, metrics = options.values, as_list(options.values["metrics"])
    rated = [metric for metric in metrics if metric_types[metric.lower()] == EvaluatorType.VALUE]
    if values["cohorts"] and rated:
        options.refuse("cohorts", f"0 with {rated[0]}, which has no value per user")
    if values["user_metrics"] and not any(map(has_user_values, metrics)):
        options.refuse(
            "user_metrics", f"false with metrics={values['metrics']}, of which none has a value per user"
        )
