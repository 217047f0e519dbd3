"""What the options of RecBole's own general recommenders may be.

RecBole 1.2 checks few of them. Their kinds are those of the defaults in its YAML files; their ranges and
choices are read off its models' code: outside of them a model fails, or learns nothing. A name `Model.key`
stands for that model alone and comes before `key`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, NamedTuple

from recbole_hlr.errors import invalid
from recbole_hlr.options.kinds import Option, option_like
from recbole_hlr.protocols import Check, Given, Values

# Read without a default: an example of its kind, for all models or for one.
WITHOUT_DEFAULT: Values = {"tail_ratio": 0.1, "DiffRec.norm": False, "LDiffRec.norm": False}
NUMBERS = ("SimpleX.negative_weight", "resolution", "w_max", "w_min")  # though a default may be an integer

_NAMES = {
    "> 0": """EASE.reg_weight NCEPLRec.reg_weight resolution rho ssl_tau ssl_temp tail_ratio tau
        noise_max noise_min noise_scale w_max""",
    ">= 0": """alpha anneal_cap anneal_steps beta cor_weight gamma lambda1 lambda2 lamda mixture_weights
        n_layers negative_weight proto_reg reg_weight reg_weight_1 reg_weight_2 reg_weights sampling_steps
        second_order_loss_weight shrink split_to ssl_reg ssl_weight std total_anneal_steps vae_anneal_cap
        vae_anneal_steps w_min warm_up_step""",
    ">= 1": """cnn_channels cnn_kernels cnn_strides conv_kernel_size dims_dnn embedding_size
        encoder_hidden_size gcn_output_dim hidden_dimension hidden_size_list history_len
        history_num_per_term hyper_layers in_dims item_embedding_size item_hidden_size_list k kfac
        latent_dimension m_step MAX_ITEM_LIST_LENGTH mf_embedding_size mlp_embedding_size mlp_hidden_size
        n_dec_epochs n_enc_epochs n_factors n_iterations neigh_num num_basis_functions
        num_clusters num_conv_kernel out_dims pool_kernel_size rank ui_embedding_size user_embedding_size
        user_hidden_size_list weight_size""",
    ">= 2": "class_num MultiVAE.latent_dimension neigh_embedding_size steps",
    "in [0, 1)": "corruption_ratio drop_ratio dropout dropout_prob message_dropout node_dropout",
    "in [0, 1]": "l1_ratio SimpleX.gamma",
    "in [-1, 1]": "margin",
}
RANGES = {name: allowed for allowed, names in _NAMES.items() for name in names.split()}
_ACTIVATIONS = ("sigmoid", "tanh", "relu", "leakyrelu")
CHOICES: dict[str, tuple[Any, ...]] = {
    "accum": ("sum", "stack"),
    "ae_act_func": _ACTIVATIONS,
    "aggregator": ("mean", "user_attention", "self_attention"),
    "algorithm": ("prod", "concat"),
    "hid_activation": ("sigmoid", "relu", "tanh"),
    "inter_matrix_type": ("01", "rating"),
    "loss_type": ("BCE", "MSE"),
    "mean_type": ("x0", "eps"),
    "mlp_act_func": _ACTIVATIONS,
    "n_cate": (1,),  # more read the items' vectors from a pickle, which could run any code
    "neigh_info_method": ("random", "knn", "louvain"),
    "noise_schedule": ("linear", "linear-var", "cosine", "binomial"),
    "order": (1, 2),
    "out_activation": ("sigmoid", "relu"),
    "train_method": ("after_pretrain", "no_pretrain"),
    "type": ("ED", "ND", "RW"),
}
PATHS = ("mf_pretrain_path", "mlp_pretrain_path", "pre_model_path", "pretrain_path")
FIXED_LENGTH = ("mixture_weights", "reg_weights")  # that of the default
NOT_EMPTY = (
    "in_dims",
    "item_hidden_size_list",
    "user_hidden_size_list",
    "NeuMF.mlp_hidden_size",
    "NNCF.mlp_hidden_size",
)


class Condition(NamedTuple):
    """What options of a model must be in view of each other."""

    models: str
    keys: str
    allowed: str
    check: Check


def _convolves(values: Values) -> bool:
    """Say whether ConvNCF's layers fit each other and its square of embedding_size."""
    channels, kernels, strides = (values[f"cnn_{name}"] for name in ("channels", "kernels", "strides"))
    if not len(channels) - 1 == len(kernels) == len(strides) or channels[0] != 1:
        return False
    size = values["embedding_size"]
    for kernel, stride in zip(kernels, strides, strict=True):
        size = (size - kernel) // stride + 1 if size >= kernel else 0
    return size >= 1


def may_load(field: str, values: Any) -> bool:
    """Say whether the column that an option names is among those to be loaded, as far as they are named."""
    columns = (values["load_col"] or {}).get("inter")
    return not isinstance(columns, list) or values[field] in columns


CONDITIONS = tuple(
    Condition(*one)
    for one in (
        (
            "DGCF GCMC LightGCN NCL NGCF SGL SpectralCF",
            "enable_amp",
            "false, for sparse products are of float32",
            lambda v: not v["enable_amp"],
        ),
        (
            "ConvNCF",
            "cnn_channels cnn_kernels cnn_strides embedding_size",
            "such that cnn_channels starts with 1 and is one longer than cnn_kernels and cnn_strides, and "
            "that embedding_size is large enough for them",
            _convolves,
        ),
        (
            "ConvNCF",
            "train_method pre_model_path",
            "such that train_method=after_pretrain comes with pre_model_path",
            lambda v: v["train_method"] == "no_pretrain" or v["pre_model_path"],
        ),
        (
            "DGCF",
            "n_factors embedding_size",
            "such that embedding_size is a multiple of n_factors",
            lambda v: v["embedding_size"] % v["n_factors"] == 0,
        ),
        ("DiffRec LDiffRec", "embedding_size", "an integer >= 2", lambda v: v["embedding_size"] >= 2),
        (
            "DiffRec LDiffRec",
            "sampling_steps steps",
            "such that sampling_steps <= steps",
            lambda v: v["sampling_steps"] <= v["steps"],
        ),
        (
            "DiffRec LDiffRec",
            "noise_min noise_max noise_scale",
            "such that noise_min < noise_max < 1 / noise_scale",
            lambda v: v["noise_min"] < v["noise_max"] < 1 / v["noise_scale"],
        ),
        (
            "DiffRec LDiffRec",
            "time-aware load_col TIME_FIELD",
            "such that time-aware=true comes with TIME_FIELD in load_col",
            lambda v: not v["time-aware"] or may_load("TIME_FIELD", v),
        ),
        (
            "DMF",
            "item_hidden_size_list user_hidden_size_list",
            "such that user_hidden_size_list and item_hidden_size_list end alike",
            lambda v: v["item_hidden_size_list"][-1] == v["user_hidden_size_list"][-1],
        ),
        (
            "DMF",
            "inter_matrix_type load_col RATING_FIELD",
            "such that inter_matrix_type=rating comes with RATING_FIELD in load_col",
            lambda v: v["inter_matrix_type"] == "01" or may_load("RATING_FIELD", v),
        ),
        ("MultiVAE", "latent_dimension", "even", lambda v: v["latent_dimension"] % 2 == 0),
        (
            "NeuMF",
            "mf_train mlp_train",
            "such that mf_train or mlp_train is true",
            lambda v: v["mf_train"] or v["mlp_train"],
        ),
        (
            "NeuMF",
            "use_pretrain mf_pretrain_path mlp_pretrain_path",
            "such that use_pretrain=true comes with mf_pretrain_path and mlp_pretrain_path",
            lambda v: not v["use_pretrain"] or (v["mf_pretrain_path"] and v["mlp_pretrain_path"]),
        ),
        (
            "NNCF",
            "neigh_num conv_kernel_size pool_kernel_size",
            "such that neigh_num >= conv_kernel_size + pool_kernel_size - 1",
            lambda v: v["neigh_num"] >= v["conv_kernel_size"] + v["pool_kernel_size"] - 1,
        ),
    )
)


def without_default(model: str) -> Values:
    """Return the options that a model reads without a default, with an example of each one's kind."""
    split = ((*name.rpartition("."), value) for name, value in WITHOUT_DEFAULT.items())
    return {key: value for owner, _, key, value in split if owner in ("", model)}


def check_conditions(model: str, values: Values, given: Given, sources: Mapping[str, str]) -> None:
    """Raise `InputError` for the first options that do not suit each other; it names one that was given."""
    for condition in CONDITIONS:
        if model in condition.models.split() and not condition.check(values):
            keys = condition.keys.split()
            key = next((key for key in keys if key in given), keys[0])
            raise invalid(key, values[key], sources[key], condition.allowed)


def check_sizes(config: Any, training: Any) -> None:
    """Raise `InputError` for an option that is too large for the training part."""
    users, items = training.user_num, training.item_num  # padding included
    least, most = sorted((users, items))
    wrong = {}
    if config["model"] == "NNCF" and config["neigh_info_method"] == "knn" and config["neigh_num"] > least:
        wrong["neigh_num"] = f"at most {least} with neigh_info_method=knn"
    batches = -(-most // least)  # DGCF samples as many users, and items, as the larger table has per batch
    if config["model"] == "DGCF" and training.inter_num // config["train_batch_size"] + 1 < batches:
        wrong["train_batch_size"] = f"at most {training.inter_num // (batches - 1)} for DGCF"
    for key, allowed in wrong.items():
        allowed += f" with {users - 1} users and {items - 1} items"
        raise invalid(key, config[key], config.sources[key], allowed)


def host_option(model: str, key: str, default: Any) -> Option | None:
    """Return what may stand for the default of a model's option; None where that says nothing."""
    names = (f"{model}.{key}", key)
    if key in CHOICES:
        choices = CHOICES[key]
        allowed = f"one of {', '.join(map(str, choices))}" if len(choices) > 1 else str(choices[0])
        return Option(allowed, lambda v: type(v) is type(choices[0]) and v in choices)
    if key in PATHS:
        return Option("a file that is there, or null", lambda v: v in (None, "") or _is_file(v))
    limit = next((RANGES[name] for name in names if name in RANGES), "")
    option = option_like(kind_of(model, key, default), limit)
    if option is not None and key in FIXED_LENGTH:
        return _also(option, f"of {len(default)} entries", lambda v: len(v) == len(default))
    if option is not None and any(name in NOT_EMPTY for name in names):
        return _also(option, "not empty", bool)
    return option


def kind_of(model: str, key: str, default: Any) -> Any:
    """Return an example of what an option is, where its default is none."""
    if f"{model}.{key}" in NUMBERS or key in NUMBERS:
        return float(default)
    return [1] if default == [] and key in RANGES else default


def _also(option: Option, allowed: str, check: Check) -> Option:
    return Option(f"{option.allowed}, and {allowed}", lambda v: option.check(v) and check(v))


def _is_file(value: object) -> bool:
    return isinstance(value, str) and os.path.isfile(value)
