"""Where labels are learned from or rated by; everywhere else label 1 is an interaction and 0 is none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
from recbole.data.dataloader.user_dataloader import UserDataLoader
from recbole.data.utils import get_dataloader
from recbole.utils import InputType, ModelType

from recbole_hlr.data.dislikes import of_label_0
from recbole_hlr.errors import InputError, invalid
from recbole_hlr.options.protocol import TRIPLET
from recbole_hlr.protocols import ModelOptions, RunConfig

if TYPE_CHECKING:
    from recbole_hlr.data.atomic import AtomicDataset

COUNTS_NEGATIVES = "Pop"  # of the traditional models the one that reads the rows of its training loader


def learns_from_rows(config: ModelOptions) -> bool:
    """Say whether a model is trained on single interactions, with negatives that are drawn or with labels.

    MF-ALS and RecBole's traditional models but Pop read the matrix of all interactions instead, and those
    of whole users, such as MultiVAE, their rows of it.
    """
    if config.ours:
        return bool(config.metric) and config["objective"] == TRIPLET
    if config["MODEL_TYPE"] == ModelType.TRADITIONAL and config["model"] != COUNTS_NEGATIVES:
        return False
    return get_dataloader(config, "train") is not UserDataLoader


def draws_negatives(config: RunConfig) -> bool:
    """Say whether a run draws negatives to train on."""
    return learns_from_rows(config) and config["train_neg_sample_args"]["distribution"] != "none"


def uses_labels(config: RunConfig) -> tuple[bool, bool, bool]:
    """Say of the training, the validation and the test part whether rows of label 0 belong to it.

    A model of single pairs learns from labels where no negatives are drawn; `mode: labeled` rates by them.
    """
    learns = (
        config["MODEL_INPUT_TYPE"] == InputType.POINTWISE
        and config["MODEL_TYPE"] == ModelType.GENERAL
        and learns_from_rows(config)
        and not draws_negatives(config)
    )
    modes = config["eval_args"]["mode"]
    return learns, modes["valid"] == "labeled", modes["test"] == "labeled"


def positives(config: RunConfig, rows: pd.DataFrame) -> tuple[str, pd.Series] | None:
    """Return which rows are interactions by `threshold` or by a loaded label, and which of the two said so.

    Raises `InputError` for labels other than 0 and 1; None where there is neither.
    """
    if config["threshold"]:
        ((column, least),) = config["threshold"].items()
        return "threshold", rows[column] >= least
    label = config["LABEL_FIELD"]
    if label not in rows:
        return None
    wrong = rows[label][~rows[label].isin([0, 1])]
    if len(wrong):
        raise InputError(
            f"LABEL_FIELD={label} ({config.sources['LABEL_FIELD']}): the column holds {wrong.iloc[0]:g}; a "
            f"label must be 0 or 1, where label 1 makes an interaction; for other values give "
            f'--threshold={{{label}: 4}} or --val_interval={{{label}: "[4,inf)"}} with another LABEL_FIELD'
        )
    return "label", rows[label] == 1


def without_negatives(config: RunConfig, parts: list[AtomicDataset]) -> list[AtomicDataset]:
    """Return the built parts of a data set, of which those that no label is used in keep label 1 alone."""
    used, label = uses_labels(config), config["LABEL_FIELD"]
    if not any(used) or label not in parts[0].inter_feat.columns:
        return parts
    if not all(part.inter_feat[label].unique().tolist() in ([], [0], [1], [0, 1]) for part in parts):
        return parts  # ratings, as for RMSE
    kept = []
    for part, wanted in zip(parts, used, strict=True):
        rows = part.inter_feat if wanted else part.inter_feat[part.inter_feat[label] == 1]
        parts[0].account.leave_out("negative", len(part.inter_feat) - len(rows))
        kept.append(part.copy(rows))
    kept[0].disliked = of_label_0(parts[0])
    return kept


def check_negatives(config: ModelOptions) -> None:
    """Raise `InputError` for a model of pairs that is given no negatives, or one that learns from none."""
    negatives, model = config["train_neg_sample_args"], config["model"]
    wrong = ""
    if config["MODEL_TYPE"] == ModelType.TRADITIONAL or not learns_from_rows(config):
        if negatives and negatives.get("dynamic"):
            wrong = f"without dynamic, for {model} learns from no negatives"
    elif not negatives and config["MODEL_INPUT_TYPE"] == InputType.PAIRWISE:
        wrong = f"a mapping such as {{distribution: uniform}}, for {model} learns from negatives"
    if wrong:
        raise invalid("train_neg_sample_args", negatives, config.sources["train_neg_sample_args"], wrong)
