"""From a configuration to the three loaders, by the host's own loading, filtering and splitting."""

from __future__ import annotations

import logging
import os
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

import torch
from recbole.data.dataloader.abstract_dataloader import AbstractDataLoader
from recbole.data.dataset import Dataset
from recbole.data.interaction import cat_interactions
from recbole.data.utils import create_samplers, get_dataloader
from recbole.utils import EvaluatorType, init_seed

from recbole_hlr.data.atomic import AtomicDataset
from recbole_hlr.data.candidates import CandidateLoader
from recbole_hlr.data.chunks import pairs_per_batch
from recbole_hlr.data.columns import not_loaded
from recbole_hlr.data.dislikes import disliked_in_training
from recbole_hlr.data.interactions import InteractionMatrix
from recbole_hlr.data.labels import draws_negatives, uses_labels, without_negatives
from recbole_hlr.data.packed import lying
from recbole_hlr.data.random import Stream, generator_for
from recbole_hlr.data.ranking import RankingLoader
from recbole_hlr.data.source import TABLE_PREFIX, interaction_files
from recbole_hlr.data.triplets import TripletLoader
from recbole_hlr.data.user_rows import UserLoader
from recbole_hlr.errors import InputError, invalid
from recbole_hlr.host import recbole as compat
from recbole_hlr.options.protocol import BOTH, SOFTMAX
from recbole_hlr.options.table import SPLIT_KEYS
from recbole_hlr.protocols import InteractionData, Values

if TYPE_CHECKING:
    from recbole_hlr.config.config import HLRConfig

log = logging.getLogger("recbole_hlr")
TrainingLoader: TypeAlias = TripletLoader | UserLoader | AbstractDataLoader
EvaluationLoader: TypeAlias = RankingLoader | CandidateLoader | AbstractDataLoader
STREAMS = {"valid": Stream.VALIDATION_CANDIDATES, "test": Stream.TEST_CANDIDATES}


def load_dataset(config: HLRConfig) -> AtomicDataset:
    """Load, filter and remap the data set; `InputError` says what is wrong with files or filters."""
    folder, name = Path(config["data_path"]), config["dataset"]
    for file in interaction_files(folder, name, config["benchmark_filename"]):
        if lying(file) is None:
            raise InputError(f"dataset={name}: there is no file {file}; {where_to_get(config, file)}")
    try:
        return AtomicDataset(config)
    except InputError:
        raise
    except ValueError as error:
        *_, (innermost, _) = traceback.walk_tb(error.__traceback__)
        if not innermost.f_globals["__name__"].startswith("recbole."):
            raise  # no refusal of the host's
        raise InputError(f"dataset={name} in {folder}: {error}") from error


def where_to_get(config: HLRConfig, file: Path) -> str:
    """Return what to do about an atomic file that is not there."""
    name, source = config["dataset"], config.dataset_source
    if name.startswith(TABLE_PREFIX):
        return "it is written of a table in memory: give that table again, run(resume=RUN_DIR, dataset=table)"
    elsewhere = f"or, if there is a folder {name} elsewhere, name its parent with --data_path=FOLDER"
    if config["benchmark_filename"]:
        get = f"get {source['publisher']} from {source['url']} and " if source else ""
        return f"{get}put the parts that benchmark_filename names there, {elsewhere}"
    command = f"table FILE --user COLUMN --item COLUMN --name {name}"
    begin = "have its interactions in a table"
    if source:
        begin, command = f"get {source['publisher']} from {source['url']}", source["convert"]
    return f"{begin} and run `recbole-hlr convert {command} --out {file.parent.parent}`, {elsewhere}"


def interactions(dataset: InteractionData) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the user and item ids `(nnz,)` of a built data set."""
    return dataset.inter_feat[dataset.uid_field], dataset.inter_feat[dataset.iid_field]


def refuse_saturated_users(config: HLRConfig, parts: list[AtomicDataset]) -> None:
    """Raise `InputError` naming a user who has every item, where a run draws negatives."""
    if not draws_negatives(config):
        return
    full = (InteractionMatrix.of(*parts).lengths >= parts[0].item_num - 1).nonzero()
    if len(full):
        name = parts[0].id2token(parts[0].uid_field, int(full[0]))
        raise InputError(
            f"user {name} has interacted with all {parts[0].item_num - 1} items: no negative item is left "
            f"to draw ({len(full)} such user(s)); exclude them with --user_inter_num_interval"
        )


def check_columns(config: HLRConfig, dataset: Dataset) -> None:
    """Raise `InputError` where the evaluation asks for a column or for items that there are not."""
    evaluation, columns = config["eval_args"], dataset.inter_feat.columns
    ordered = evaluation["order"] == "TO" and not config["benchmark_filename"]
    learns, *_ = uses_labels(config)
    for wanted, field, name in (
        (ordered, "TIME_FIELD", "eval_args with order: TO"),
        ("labeled" in evaluation["mode"].values(), "LABEL_FIELD", "eval_args with mode: labeled"),
        (learns, "LABEL_FIELD", f"{config.model} without train_neg_sample_args, which learns from labels"),
    ):
        if wanted and config[field] not in columns:
            raise not_loaded(dataset, name, config[field], field)
    check_metrics(config, dataset)
    pairs = dataset.inter_feat[[dataset.uid_field, dataset.iid_field]]
    repeated = int(pairs.duplicated().sum())
    if repeated and not config["benchmark_filename"]:
        log.warning("%d interactions are given twice and may stand in two parts; see rm_dup_inter", repeated)


def check_metrics(config: HLRConfig, dataset: Dataset) -> None:
    """Raise `InputError` for metrics that do not suit the mode of evaluation, or the number of items."""
    if "labeled" in config["eval_args"]["mode"].values() and config["eval_type"] == EvaluatorType.RANKING:
        raise InputError(
            "eval_args with mode: labeled: ranks nothing; needs metrics of ratings such as AUC, "
            f"not metrics={config['metrics']}"
        )
    if max(config["topk"]) >= dataset.item_num:
        allowed = f"at most {dataset.item_num - 1}, the number of items"
        raise invalid("topk", config["topk"], config.sources["topk"], allowed)


def check_candidates(config: HLRConfig, dataset: Dataset) -> None:
    """Raise `InputError` where more items are to be drawn than there are."""
    count, items = config["candidates"], dataset.item_num - 1
    if config.metric and config["objective"] == SOFTMAX and isinstance(count, int) and count > items:
        allowed = f"at most {items}, the number of items, or all"
        raise invalid("candidates", count, config.sources["candidates"], allowed)


class SplitData(NamedTuple):
    """A loaded data set and its training, validation and test part: what runs on the same data share.

    `options` are those that they follow from, of `data_options`, and `labels` says of which parts rows of
    label 0 are one, as `uses_labels` does.
    """

    dataset: AtomicDataset
    parts: list[AtomicDataset]
    options: Values
    labels: tuple[bool, bool, bool]


def data_options(config: HLRConfig) -> Values:
    """Return the options that the data and their split follow from: the seed only where it decides."""
    keys = set(SPLIT_KEYS)
    evaluation = {key: value for key, value in config["eval_args"].items() if key != "mode"}
    ((way, ratios),) = evaluation["split"].items()
    if way != "LS":  # [8, 1, 1] is [0.8, 0.1, 0.1]
        evaluation["split"] = {way: [round(ratio / sum(ratios), 12) for ratio in ratios]}
    if config["benchmark_filename"] or (evaluation["order"] == "TO" and way != "HU"):
        keys.remove("seed")
    options = {key: config.requested.get(key) for key in sorted(keys)}
    for key in ("load_col", "unload_col"):
        options[key] = {k: v if v == "*" else sorted(v) for k, v in (options[key] or {}).items()}
    return {**options, "data_path": os.path.realpath(config.requested["data_path"]), "eval_args": evaluation}


def refuse_other_options(config: HLRConfig, data: SplitData) -> None:
    """Raise `InputError` for an option that contradicts the data that it is given with."""
    for key, value in data_options(config).items():
        if data.options.get(key, value) != value:
            raise invalid(
                key, value, config.sources.get(key, "default"), f"{data.options[key]}, as for the data given"
            )
    drawn = config.requested["train_neg_sample_args"]
    for part, now, then in zip(("train", "validate", "test"), uses_labels(config), data.labels, strict=True):
        if now != then:
            raise InputError(
                f"data (keyword argument): rows of label 0 are {'' if then else 'not '}in it to {part} by, "
                f"and with model={config.model}, train_neg_sample_args={drawn} and "
                f"mode={config['eval_args']['mode']} must {'not ' if then else ''}be; "
                "call load_split with these options"
            )


@compat.quietly()
def load_split(config: HLRConfig) -> SplitData:
    """Load and split the data set as a run with `config` does. Raises `InputError`."""
    init_seed(config["seed"], config["reproducibility"])
    dataset = load_dataset(config)
    check_columns(config, dataset)
    parts = without_negatives(config, dataset.build())
    if config["train_on"] == BOTH:
        parts = learned_from_both(parts)
    log.info("%s: %s", config["data_path"], dataset.account)
    tell_of_untrained(parts)
    if len(parts[0]) == 0:
        option = "benchmark_filename" if config["benchmark_filename"] else "eval_args"
        raise InputError(f"dataset={config['dataset']}: the training part is empty; check {option}")
    return SplitData(dataset, parts, data_options(config), uses_labels(config))


def tell_of_untrained(parts: list[AtomicDataset]) -> None:
    """Say how many users and items of the later parts, held-out users apart, have no training interaction."""
    train, *later = parts
    counts = []
    for field in (train.uid_field, train.iid_field):
        untrained = torch.ones(train.num(field), dtype=torch.bool)
        untrained[train.inter_feat[field]] = False
        asked = torch.zeros_like(untrained)
        for part in later:
            if part.known is None:
                asked[part.inter_feat[field]] = True
        counts.append(int((asked & untrained).sum()))
    if any(counts):
        log.info(
            "%d users and %d items that are validated or tested on have no training interaction: nothing is "
            "learned of them", *counts,
        )  # fmt: skip


def learned_from_both(parts: list[AtomicDataset]) -> list[AtomicDataset]:
    """Return training and validation part as one, an empty validation part, and the test part."""
    train, valid, test = parts
    learned = [train, valid] if valid.known is None else [train, valid.known, valid]
    joined = train.copy(cat_interactions([part.inter_feat for part in learned]))
    return [joined, valid.copy(valid.inter_feat[:0]), test]


def build_loaders(
    config: HLRConfig, data: SplitData
) -> tuple[TrainingLoader, EvaluationLoader | None, EvaluationLoader | None]:
    """Return the loaders of the training, validation and test part.

    The metric models get a `TripletLoader` where negatives are uniform; everything else is the
    host's. A part without interactions gives None. Users per evaluation batch follow `eval_memory`.
    The host's classes read sizes from a config: they get a copy with those that follow from the data.
    """
    refuse_other_options(config, data)
    dataset, parts = data.dataset, data.parts
    check_metrics(config, dataset)
    check_candidates(config, dataset)
    refuse_saturated_users(config, parts)
    trained = InteractionMatrix.of(parts[0])
    training = training_loader(config, data, trained)
    compat.fork_workers(training)
    return (
        training,
        evaluation_loader(config, "valid", parts[1], parts[:1], trained),
        evaluation_loader(config, "test", parts[2], parts[:2]),
    )


def training_loader(config: HLRConfig, data: SplitData, trained: InteractionMatrix) -> TrainingLoader:
    """Return the loader of the training part, whose interactions are `trained`."""
    part, size, shuffle = data.parts[0], config["train_batch_size"], config["shuffle"]
    disliked = disliked_in_training(config, data.parts)
    if config.metric and config["objective"] == SOFTMAX:
        return UserLoader(config, part, trained, size, shuffle, disliked=disliked)
    if uses_triplets(config):
        return TripletLoader(config, part, trained, size, shuffle, disliked=disliked)
    if config.metric:  # the host counts triplets, the models' files count positives
        triplets = size * config["train_neg_sample_args"]["sample_num"]
        config = compat.with_values(config, train_batch_size=triplets)
    sampler = create_samplers(config, data.dataset, data.parts)[0] if draws_negatives(config) else None
    return get_dataloader(config, "train")(config, part, sampler, shuffle=shuffle)


def evaluation_loader(
    config: HLRConfig,
    phase: Literal["valid", "test"],
    part: AtomicDataset,
    before: Sequence[InteractionData],
    seen: InteractionMatrix | None = None,
) -> EvaluationLoader | None:
    """Return the loader of a part, or None where it is empty; what is in those `before` it is seen.

    `seen` are these interactions, where they are made already. Held-out users have seen what they are known
    by; the first part `before` tells what is popular.
    """
    if len(part) == 0:
        return None
    if part.known is not None:
        before, seen = [before[0], part.known], None
    sized = compat.with_values(config, eval_batch_size=pairs_per_batch(config, part.item_num))
    mode = config["eval_args"]["mode"][phase]
    loader: EvaluationLoader
    if mode == "full":
        loader = RankingLoader(sized, part, InteractionMatrix.of(part), seen or InteractionMatrix.of(*before))
    elif mode == "labeled":
        loader = get_dataloader(sized, phase)(sized, part, None, shuffle=False)
    else:
        sampling, generator = (
            config[f"{phase}_neg_sample_args"],
            generator_for(config["seed"], STREAMS[phase]),
        )
        loader = CandidateLoader(sized, part, InteractionMatrix.of(*before, part), sampling, generator)
    if part.known is not None:
        loader.known = InteractionMatrix.of(part.known)
    compat.fork_workers(loader)
    return loader


def uses_triplets(config: HLRConfig) -> bool:
    """Say whether a run draws its training triplets in whole batches."""
    negatives = config["train_neg_sample_args"]
    if not config.metric or config["objective"] == SOFTMAX:
        return False
    return negatives["distribution"] == "uniform" and not negatives["dynamic"]
