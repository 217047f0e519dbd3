"""What the rooms ask of a configuration, a data set, a model or a loader, whoever made it.

For the type check alone. RecBole's own classes fulfil these, the package's do, and so do the stand-ins of
its tests. RecBole declares no types: what it hands over is of any kind until something here says more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, overload

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Values: TypeAlias = dict[str, Any]  # options by name, or the lines of a YAML or JSON file: of any kind each
Given: TypeAlias = Mapping[str, Any]  # the same, to be read alone
Check: TypeAlias = Callable[[Any], bool]  # whether a value that came from outside is right

_Integer = Literal[
    "seed", "embedding_size", "epochs", "eval_step", "train_batch_size", "eval_batch_size", "cohorts",
    "num_memories", "max_history", "cg_steps", "neigh_num",
]  # fmt: skip
_Number = Literal[
    "learning_rate", "margin", "negative_temperature", "eval_memory", "attention_smoothing",
    "initial_key_norm", "neighbour_weight", "distance_weight", "confidence_weight", "regularization",
    "regularization_scaling", "scale", "user_weight", "denominator_exponent", "train_memory",
    "disliked_share", "disliked_weight",
]  # fmt: skip
_Bound = Literal["max_norm", "max_memory_norm"]
_Switch = Literal[
    "share_negative_relation", "clip_memories", "attend_user", "attend_target", "direct_memory",
    "freeze_embeddings", "shuffle", "reproducibility", "valid_metric_bigger", "show_progress",
    "user_metrics", "tensorboard", "centre_memories", "learn_scale", "item_bias",
    "orthogonal_memories",
]  # fmt: skip
_Text = Literal[
    "model", "dataset", "data_path", "checkpoint_dir", "state", "learner", "valid_metric", "lazy_adam",
    "USER_ID_FIELD", "ITEM_ID_FIELD", "LABEL_FIELD", "TIME_FIELD", "NEG_PREFIX", "field_separator",
    "test_history", "train_on", "item_attention", "eval_history", "neighbour_refresh", "objective",
    "geometry", "negatives", "disliked",
]  # fmt: skip


class Options(Protocol):
    """Options by name: all that a model asks of its configuration."""

    @overload
    def __getitem__(self, key: _Integer, /) -> int: ...
    @overload
    def __getitem__(self, key: _Number, /) -> float: ...
    @overload
    def __getitem__(self, key: _Bound, /) -> float | None: ...
    @overload
    def __getitem__(self, key: _Switch, /) -> bool: ...
    @overload
    def __getitem__(self, key: _Text, /) -> str: ...
    @overload
    def __getitem__(self, key: Literal["device"], /) -> torch.device: ...
    @overload
    def __getitem__(self, key: str, /) -> Any: ...


class ModelOptions(Options, Protocol):
    """Options of a model, where each is from, and which of this package's models it is."""

    @property
    def ours(self) -> bool:
        """Whether the model is one of this package's."""
        ...

    @property
    def metric(self) -> bool:
        """Whether it is a metric model."""
        ...

    @property
    def sources(self) -> Mapping[str, str]:
        """Where each option is from."""
        ...


class RunConfig(Options, Protocol):
    """The configuration of a run: options, and where each is from."""

    model: str
    dataset: str
    model_class: type
    ours: bool  # the model is one of this package's
    metric: bool  # and a metric model
    sources: dict[str, str]
    final_config_dict: Values  # all values that RecBole's classes read
    requested: Values  # all options, as config.yaml has them
    external_config_dict: Values  # those that were given


class Batch(Protocol):
    """Columns by name: RecBole's `Interaction`, or a mapping."""

    def __getitem__(self, key: str, /) -> Tensor: ...


class InteractionData(Protocol):
    """What a model asks of its training data: sizes, padding included, and interactions as columns."""

    uid_field: str
    iid_field: str

    @property
    def user_num(self) -> int:
        """Users, padding included."""
        ...

    @property
    def item_num(self) -> int:
        """Items, padding included."""
        ...

    @property
    def inter_feat(self) -> Batch:
        """The interactions as columns."""
        ...

    def num(self, field: str, /) -> int:
        """Return the number of ids of a field, padding included."""
        ...


class NamedData(InteractionData, Protocol):
    """A part of a loaded data set, which knows the names of users and items."""

    @property
    def field2id_token(self) -> Mapping[str, Sequence[object]]:
        """The names of users and of items by their ids, by field."""
        ...


class Loader(Protocol):
    """Yields a part of a data set batch by batch, as it is trained or evaluated on."""

    @property
    def dataset(self) -> NamedData:
        """The part."""
        ...

    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[object]: ...


class RankedLoader(Loader, Protocol):
    """Yields the users of a part, for whom items are ranked."""

    uid_list: Tensor  # (users,) ascending


class Recommender(Protocol):
    """What ranks: a model, as those who evaluate it or recommend with it know it."""

    USER_ID: str
    ITEM_ID: str
    device: torch.device

    def predict(self, interaction: Batch, /) -> Tensor:
        """Return the scores `(B,)` of pairs, larger is better."""
        ...

    def full_sort_predict(self, interaction: Batch, /) -> Tensor:
        """Return the scores `(B, I)` of users with all items, larger is better."""
        ...
