"""The one table of options: what each may be, whose it is, where it may change, and what else reads of it.

What stands in a YAML file of properties/ has its meaning there, beside its default; all others have it here.
docs/options.md is this table with the defaults.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from recbole_hlr.options import forms
from recbole_hlr.options.kinds import (
    BOOL,
    NOT_NEGATIVE,
    POSITIVE,
    TEXT,
    Option,
    choice,
    integer,
    is_integer,
    is_text,
    number,
    or_null,
    unless_null,
)
from recbole_hlr.options.protocol import BOTH, PROTOCOLS, SOFTMAX, TRIPLET

MODEL, TRAINING, EVALUATION, MACHINE, DATA = "model", "training", "evaluation", "machine", "data"
UNREAD = "unread"  # of RecBole: known, and without effect on a general recommender
COMMAND, SEARCH, BENCHMARK = "command", "search", "benchmark"
PAPER, RELEASED, HOST, OURS = "paper", "released code", "RecBole", "ours"
ALGORITHMS = ("random", "grid", "optuna")
SCHEDULERS = ("asha", "none")
MOST_FOLDS = 1000


@dataclass(frozen=True)
class Entry:
    """One option: whose it is, what it may be, who had it first, and what it means.

    `option` is None where what is allowed follows from its default's kind, or from the metrics there are.
    """

    belongs: str
    name: str
    option: Option | None = None
    source: str = HOST
    meaning: str = ""  # where no file of properties/ says it
    text: bool = False  # never read as YAML
    path: bool = False  # a leading ~ is the home directory
    resume: bool = False  # may change in a resumed run, or search
    evaluate: bool = False  # may be given anew in an evaluation
    load: bool = False  # may be given anew where a run is loaded
    searched: bool = False  # a search may try it
    splits: bool = False  # the data and their split follow from it
    filters: bool = False  # leaves interactions out
    whole: bool = False  # as a filter, looks at the whole data set
    switch: bool = False  # auto, on or off
    run_only: bool = False  # RecBole's own trainer does not act on it
    weightless: bool = False  # an integer that takes no memory


_model = partial(Entry, MODEL, searched=True)
_training = partial(Entry, TRAINING)
_evaluation = partial(Entry, EVALUATION)
_machine = partial(Entry, MACHINE)
_data = partial(Entry, DATA, splits=True)
_column = partial(Entry, DATA, splits=True, text=True)
_unread = partial(Entry, UNREAD)
_command = partial(Entry, COMMAND, source=OURS, text=True)
_search = partial(Entry, SEARCH, source=OURS)
_benchmark = partial(Entry, BENCHMARK, source=OURS)
_SWITCH = choice("auto", "on", "off")
_PARTS = choice("training", BOTH)
_NAME = unless_null(Option("a text", is_text))
_COUNT = Option("an integer >= 1", lambda v: is_integer(v, 1))
_CANDIDATES = Option("all, auto or an integer >= 1", lambda v: v in ("all", "auto") or is_integer(v, 1))

ENTRIES = (
    # --- what a model is ---------------------------------------------------------------------------------
    _model("embedding_size", integer(1)),
    _model("margin", POSITIVE, PAPER),
    _model("max_norm", or_null(POSITIVE), PAPER),
    _model("negative_reduction", choice("mean", "hardest", "soft", "rank"), OURS),
    _model("negative_temperature", POSITIVE, OURS),
    _model("scale", POSITIVE, OURS),
    _model("learn_scale", BOOL, OURS),
    _model("item_bias", BOOL, OURS),
    _model("candidates", _CANDIDATES, OURS),
    _model("candidate_distribution", choice("uniform", "popularity", "batch"), OURS),
    _model("negatives", choice("sampled", "disliked"), OURS, run_only=True),
    _model("disliked_share", number("in [0, 1]", lambda v: 0 <= v <= 1), OURS),
    _model("disliked", choice("ignored", "masked", "weighted"), OURS, run_only=True),
    _model("disliked_weight", POSITIVE, OURS),
    _model("geometry", choice("ball", "sphere"), OURS),
    _model("user_weight", number("in [0, 1]", lambda v: 0 <= v <= 1), OURS),
    _model("denominator_exponent", POSITIVE, OURS),
    _model("num_memories", integer(1), PAPER),
    _model("max_history", integer(1), RELEASED),
    _model("eval_history", choice("capped", "all"), OURS),
    _model("history_sampling", choice("uniform", "inverse_popularity"), RELEASED),
    _model("attend_user", BOOL, RELEASED),
    _model("share_negative_relation", BOOL, RELEASED),
    _model("attention_smoothing", number("in (0, 1]", lambda v: 0 < v <= 1), RELEASED),
    _model("clip_memories", BOOL, RELEASED),
    _model("direct_memory", BOOL, RELEASED),
    _model("max_memory_norm", or_null(POSITIVE), OURS),
    _model("initial_key_norm", POSITIVE, OURS),
    _model("centre_memories", BOOL, OURS),
    _model("orthogonal_memories", BOOL, OURS),
    _model("item_attention", choice("history", "audience"), PAPER),
    _model("attend_target", BOOL, RELEASED),
    _model("neighbour_weight", NOT_NEGATIVE, RELEASED),
    _model("distance_weight", NOT_NEGATIVE, RELEASED),
    _model("neighbour_refresh", choice("batch", "epoch"), OURS),
    _model("pretrained_embeddings", or_null(TEXT), OURS, text=True, path=True, run_only=True),
    _model("freeze_embeddings", BOOL, OURS, run_only=True),
    _model("regularization", POSITIVE, RELEASED),
    _model("regularization_scaling", number("in [0, 2]", lambda v: 0 <= v <= 2), OURS),
    _model("confidence_weight", POSITIVE, RELEASED),
    _model("cg_steps", integer(1), RELEASED),
    _training("objective", choice(TRIPLET, SOFTMAX), OURS, run_only=True),
    _machine("train_memory", number("> 0 and <= 1e9", lambda v: 0 < v <= 1e9), OURS, resume=True),
    # --- how it is trained -------------------------------------------------------------------------------
    _training("epochs", integer(1), meaning="passes over the training part", resume=True, weightless=True),
    _training(
        "train_batch_size",
        integer(1),
        meaning="positives per step; users, with objective=softmax",
        searched=True,
    ),
    _training("learning_rate", POSITIVE, meaning="the optimizer's step", searched=True),
    _training(
        "learner",
        choice("adam", "adamw", "sgd", "adagrad", "rmsprop"),
        meaning="the optimizer",
        searched=True,
    ),
    _training("lr_scheduler", or_null(forms.SCHEDULE), OURS, searched=True, run_only=True),
    _training("weight_decay", NOT_NEGATIVE, meaning="the optimizer's weight decay", searched=True),
    _training("clip_grad_norm", or_null(forms.CLIPPING), meaning="clips gradients by norm", searched=True),
    _training(
        "train_neg_sample_args",
        or_null(forms.NEGATIVES),
        meaning="how negatives are drawn; null: none are",
        searched=True,
    ),
    _training(
        "stopping_step", integer(0), meaning="validations without a better one at which it stops", resume=True
    ),
    _training("shuffle", BOOL, meaning="shuffle the training part in every epoch"),
    _training("transform", forms.NO_TRANSFORM, meaning="of sequences"),
    _training("loss_decimal_place", integer(0, 16), meaning="decimal places of the training loss"),
    _training("require_pow", meaning="the exponent in RecBole's EmbLoss"),
    _training("enable_amp", meaning="train in mixed precision"),
    _training("enable_scaler", meaning="scale the loss in mixed precision"),
    # --- how it is evaluated -----------------------------------------------------------------------------
    _evaluation(
        "protocol",
        choice(*PROTOCOLS),
        OURS,
        meaning="preset: how a run splits, validates and tests, docs/protocols.md",
        run_only=True,
    ),
    _evaluation("train_on", _PARTS, OURS, run_only=True, splits=True),
    _evaluation("folds", or_null(integer(2, MOST_FOLDS)), OURS, run_only=True, splits=True, weightless=True),
    _evaluation("fold", or_null(integer(1, MOST_FOLDS)), OURS, run_only=True, splits=True, weightless=True),
    _evaluation("fold_in_share", number("in (0, 1)", lambda v: 0 < v < 1), OURS, run_only=True, splits=True),
    _evaluation("test_history", _PARTS, PAPER, run_only=True),
    _evaluation(
        "eval_args",
        forms.EVAL_ARGS,
        meaning="how data are split, and which items are ranked; in an evaluation its mode alone may change",
        evaluate=True,
    ),
    _evaluation("eval_step", integer(0), meaning="epochs from one validation to the next; 0: none"),
    _evaluation("metrics", evaluate=True),
    _evaluation("topk", forms.TOPK, meaning="cut-offs of the metrics", evaluate=True, weightless=True),
    _evaluation("valid_metric", evaluate=True),
    _evaluation("valid_metric_bigger", meaning="follows from valid_metric"),
    _evaluation("cohorts", integer(0), PAPER, evaluate=True, run_only=True, weightless=True),
    _evaluation("user_metrics", BOOL, OURS, run_only=True),
    _evaluation("metric_decimal_place", integer(0, 16), meaning="decimal places of metrics"),
    # --- where it runs, and what it shows ----------------------------------------------------------------
    _machine(
        "seed",
        Option("an integer from 0 to 4294967295", integer(0, 2**32 - 1).check),
        meaning="of all that is drawn",
        splits=True,
        weightless=True,
    ),
    _machine("reproducibility", BOOL, meaning="the same result again on the same machine"),
    _machine("use_gpu", BOOL, meaning="use a GPU where there is one", resume=True, evaluate=True, load=True),
    _machine("gpu_id", forms.GPU, meaning="which GPU", resume=True, evaluate=True, load=True),
    _machine("worker", integer(0, 32), meaning="processes that load batches", weightless=True),
    _machine(
        "eval_memory",
        number("> 0 and <= 1e9", lambda v: 0 < v <= 1e9),
        OURS,
        resume=True,
        evaluate=True,
        load=True,
    ),
    _machine(
        "eval_batch_size",
        integer(1, 2**63 - 1),
        meaning="users times items of a batch that is ranked; follows from eval_memory where it is not given",
        evaluate=True,
    ),
    _machine("compile", _SWITCH, OURS, text=True, load=True, switch=True),
    _machine("lazy_adam", _SWITCH, OURS, text=True, switch=True),
    _machine("matmul_precision", choice("highest", "high", "medium"), OURS, run_only=True),
    _machine("tensorboard", BOOL, OURS),
    _machine(
        "checkpoint_dir", TEXT, meaning="the folder in which run directories are made", text=True, path=True
    ),
    _machine("show_progress", BOOL, meaning="show in place how far it is", resume=True, evaluate=True),
    _machine(
        "state", forms.LEVEL, meaning="from which level on messages are shown", resume=True, evaluate=True
    ),
    # --- data: how files are read, filtered and split ----------------------------------------------------
    _data(
        "data_path",
        TEXT,
        meaning="the folder with the data sets' folders",
        text=True,
        path=True,
        resume=True,
        evaluate=True,
        splits=False,
    ),
    _data("encoding", or_null(forms.ENCODING), meaning="of the atomic files; null: UTF-8", text=True),
    _data("field_separator", forms.SEPARATOR, meaning="between columns", text=True),
    _data("seq_separator", TEXT, meaning="between the entries of a sequence", text=True),
    _column("USER_ID_FIELD", TEXT, meaning="the column of users"),
    _column("ITEM_ID_FIELD", TEXT, meaning="the column of items"),
    _column("LABEL_FIELD", TEXT, meaning="the column of labels, 1 for an interaction and 0 for none"),
    _column("NEG_PREFIX", TEXT, meaning="begins the names of a negative's columns"),
    _column("TIME_FIELD", or_null(TEXT), meaning="the column of times"),
    _column("RATING_FIELD", meaning="the column of ratings, which DMF may read"),
    _data("load_col", or_null(forms.LOAD_COL), meaning="the columns that are loaded"),
    _data("unload_col", or_null(forms.COLUMNS), meaning="columns that are not loaded"),
    _data("unused_col", or_null(forms.COLUMNS), meaning="columns that are loaded to filter by alone"),
    _data("additional_feat_suffix", or_null(forms.SUFFIXES), meaning="suffixes of further files"),
    _data("benchmark_filename", or_null(forms.PARTS), meaning="names of parts that are split already"),
    _data(
        "rm_dup_inter",
        forms.DUPLICATES,
        meaning="which of several interactions of a user and an item stays",
        filters=True,
        whole=True,
    ),
    _data(
        "val_interval",
        or_null(forms.INTERVALS),
        meaning="values of columns that interactions must have",
        filters=True,
    ),
    _data(
        "threshold",
        or_null(forms.THRESHOLD),
        meaning="the least value of a column that makes an interaction",
        filters=True,
    ),
    _data(
        "filter_inter_by_user_or_item",
        BOOL,
        meaning="leave out interactions of users and items that are left out",
        filters=True,
    ),
    _data(
        "user_inter_num_interval",
        or_null(forms.INTERVAL),
        meaning="interactions that a user must have",
        filters=True,
        whole=True,
    ),
    _data(
        "item_inter_num_interval",
        or_null(forms.INTERVAL),
        meaning="interactions that an item must have",
        filters=True,
        whole=True,
    ),
    _data("seq_len", or_null(forms.LENGTHS), meaning="the longest sequence of a column"),
    _data("alias_of_user_id", or_null(forms.NAMES), meaning="columns of user ids besides USER_ID_FIELD"),
    _data("alias_of_item_id", or_null(forms.NAMES), meaning="columns of item ids besides ITEM_ID_FIELD"),
    _data("numerical_features", forms.NAMES, meaning="columns of numbers to be embedded", splits=False),
    _data("normalize_field", or_null(forms.NAMES), meaning="columns to be scaled to 0 to 1"),
    _data("normalize_all", or_null(BOOL), meaning="scale all columns of numbers to 0 to 1"),
    _data(
        "discretization",
        or_null(forms.DISCRETIZATION),
        meaning="how columns of numbers are made classes",
        splits=False,
    ),
    _data("preload_weight", or_null(forms.WEIGHTS), meaning="columns of vectors, by their column of ids"),
    # --- RecBole's, without effect here ------------------------------------------------------------------
    *(
        _unread(name, splits=True, text=True, meaning="of sequences")
        for name in ("ITEM_LIST_LENGTH_FIELD", "LIST_SUFFIX", "POSITION_FIELD")
    ),
    _unread("MAX_ITEM_LIST_LENGTH", splits=True, meaning="of sequences"),
    *(
        _unread(f"{name}_ID_FIELD", splits=True, text=True, meaning="of knowledge graphs")
        for name in ("HEAD_ENTITY", "TAIL_ENTITY", "RELATION", "ENTITY")
    ),
    *(
        _unread(name, splits=True, meaning="of knowledge graphs")
        for name in ("alias_of_entity_id", "alias_of_relation_id")
    ),
    *(
        _unread(name, meaning="of knowledge graphs")
        for name in ("kg_reverse_r", "entity_kg_num_interval", "relation_kg_num_interval")
    ),
    _unread("repeatable", meaning="of sequences"),
    *(_unread(name, meaning="Weights & Biases is not written to") for name in ("log_wandb", "wandb_project")),
    *(
        _unread(name, meaning="must be off: no data set is pickled here")
        for name in ("save_dataset", "save_dataloaders")
    ),
    *(
        _unread(name, text=True, path=True, meaning="must be off: no data set is pickled here")
        for name in ("dataset_save_path", "dataloaders_save_path")
    ),
    # --- what a command is given, of which no run keeps a default ----------------------------------------
    _command("model", source=HOST, meaning="the name of a model, or your own package.module:Class"),
    _command("dataset", source=HOST, meaning="the name of a folder in data_path", splits=True),
    _command("config_files", source=HOST, meaning="YAML files of options, with spaces between them"),
    _command("resume", meaning="the run directory of the run, or the search, to be continued", path=True),
    _command("test_file", meaning="a table of interactions that a run is tested on instead", path=True),
    # --- search ------------------------------------------------------------------------------------------
    _search("space", meaning="a shipped space, wide, paper or softmax, or FILE or FILE#NAME"),
    _search("params_file", meaning="RecBole's name for space"),
    _search(
        "algorithm",
        unless_null(choice(*ALGORITHMS)),
        meaning="what suggests values; grid where the space is one, else random",
    ),
    _search(
        "num_samples",
        unless_null(_COUNT),
        meaning="trials, the defaults included; all of a grid, else 32",
        resume=True,
    ),
    _search(
        "time_budget",
        unless_null(forms.TIME),
        meaning="the time it takes, resumed parts included",
        resume=True,
    ),
    _search("scheduler", choice(*SCHEDULERS), meaning="what stops trials that fall behind"),
    _search("grace_period", _COUNT, meaning="validated epochs that every trial gets"),
    _search(
        "reduction_factor",
        Option("an integer from 2 to 1000", lambda v: is_integer(v, 2, 1000)),
        meaning="one trial in this number goes on at each rung",
    ),
    _search(
        "max_concurrent",
        unless_null(_COUNT),
        meaning="trials at a time; as many as there are processors",
        resume=True,
    ),
    _search("cpus_per_trial", forms.SHARE, meaning="processors of a trial", resume=True),
    _search(
        "gpus_per_trial",
        unless_null(forms.GPUS),
        meaning="GPUs of a trial; one where a single run would use one",
        resume=True,
    ),
    _search(
        "ray_address",
        unless_null(forms.ADDRESS),
        meaning="of a running Ray cluster; a benchmark has it, too",
        text=True,
        resume=True,
    ),
    # --- benchmark ---------------------------------------------------------------------------------------
    _benchmark("models", meaning="names of models, with commas", text=True),
    _benchmark("datasets", meaning="names of data sets, with commas", text=True),
    _benchmark("seeds", meaning="a number of seeds, or seeds with commas", text=True),
    _benchmark("out", _NAME, meaning="the folder of its cells and tables", text=True),
    _benchmark("jobs", unless_null(_COUNT), meaning="cells that run at a time"),
    _benchmark("baseline", _NAME, meaning="the model that others are compared with", text=True),
    _benchmark("options", _NAME, meaning="the file with options of models and data sets", text=True),
    _benchmark("report", BOOL, meaning="write the tables alone"),
)
TABLE = {entry.name: entry for entry in ENTRIES}
OF_RUNS = (MODEL, TRAINING, EVALUATION, MACHINE, DATA)


def told(*groups: str) -> dict[str, Option]:
    """Return what the options of `groups` may be, as far as it is told here."""
    return {e.name: e.option for e in ENTRIES if e.belongs in groups and e.option is not None}


# Of the models in this package; RecBole's have embedding_size, too, and others that options/host.py tells.
MODEL_OPTIONS = {name: option for name, option in told(MODEL).items() if TABLE[name].source != HOST}
RUN_OPTIONS = {name: option for name, option in told(*OF_RUNS[:-1]).items() if name not in MODEL_OPTIONS}
DATA_OPTIONS = told(DATA)
RESUME_KEYS = frozenset(e.name for e in ENTRIES if e.resume and e.belongs in OF_RUNS)
EVALUATE_KEYS = frozenset(e.name for e in ENTRIES if e.evaluate)
LOAD_KEYS = frozenset(e.name for e in ENTRIES if e.load)
TRAINING_KEYS = frozenset(e.name for e in ENTRIES if e.searched and e.belongs == TRAINING)
SPLIT_KEYS = frozenset(e.name for e in ENTRIES if e.splits)
COUNTS = frozenset(e.name for e in ENTRIES if e.weightless)
FILTERS = tuple(e.name for e in ENTRIES if e.filters)
WHOLE_DATA = tuple(e.name for e in ENTRIES if e.whole)
SWITCHES = tuple(e.name for e in ENTRIES if e.switch)
RUN_ONLY = tuple(e.name for e in ENTRIES if e.run_only)
SEARCH_OPTIONS = told(SEARCH)
CHANGEABLE = tuple(e.name for e in ENTRIES if e.resume and e.belongs == SEARCH)
BENCHMARK_OPTIONS = {**told(BENCHMARK), "ray_address": _NAME}
BENCHMARK_KEYS = (*(e.name for e in ENTRIES if e.belongs == BENCHMARK), "ray_address")
