"""RecBole's `Config`, with the plugin's files found first and with values checked, never evaluated."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
import yaml
from recbole.config import Config
from recbole.utils import ModelType

from recbole_hlr.config.checks import Checked, complete
from recbole_hlr.data.labels import check_negatives, learns_from_rows
from recbole_hlr.data.source import has_own_copy, settle
from recbole_hlr.errors import InputError, UnknownOption, invalid
from recbole_hlr.files import is_file
from recbole_hlr.host import recbole as compat
from recbole_hlr.metrics.definitions import LOSS
from recbole_hlr.model.guest import home_of, limits_of, name_of, own_options
from recbole_hlr.model.registry import find_model, is_metric, is_ours
from recbole_hlr.options.command_line import COMMAND_LINE, file_names, parse_arguments
from recbole_hlr.options.host import without_default
from recbole_hlr.options.protocol import PAPER, SOFTMAX, TRIPLET, other_objective, protocol_files, said
from recbole_hlr.options.shipped import default_objective, host_file, shipped
from recbole_hlr.options.yaml_values import ConfigLoader, dump_yaml, load_yaml, plain
from recbole_hlr.protocols import Given, RunConfig, Values

KEYWORDS = "keyword argument"  # where a value came from, in messages


class HLRConfig(Config, RunConfig):
    """RecBole's `Config` for the plugin and for the host's general recommenders.

    Order: host defaults < overall.yaml < model < protocol and what was published for it < data set <
    `config_files` < `options` < `arguments`.
    `arguments` is a list of words or what `parse_arguments` made of one; `sys.argv` is never read.
    `sources[key]` says where a value is from.
    """

    def __init__(
        self,
        model: str | type | None = None,
        dataset: str | None = None,
        config_files: Sequence[str | Path] = (),
        options: Given | None = None,
        arguments: Sequence[str] | Given = (),
    ) -> None:
        self._command = dict(arguments) if isinstance(arguments, Mapping) else parse_arguments(arguments)
        files = [*map(str, config_files), *file_names(self._command.pop("config_files", None))]
        self.sources: dict[str, str] = {}
        super().__init__(model, dataset, files, dict(options or {}))
        if self["valid_metric"].lower() == LOSS:
            self["valid_metric_bigger"] = False
        given = self.external_config_dict.get("valid_metric_bigger")
        if given not in (None, self["valid_metric_bigger"]):
            allowed = f"{self['valid_metric_bigger']} with valid_metric={self['valid_metric']}"
            raise invalid("valid_metric_bigger", given, self.sources["valid_metric_bigger"], allowed)

    # --- host hooks (RecBole 1.2.0 and 1.2.1), in the order in which the host calls them -------------

    def compatibility_settings(self) -> None:
        """Set numpy's old names for the host."""
        compat.set_numpy_aliases()

    def _init_parameters_category(self) -> None:
        super()._init_parameters_category()  # the host appends to these lists, which are its globals
        self.parameters: dict[str, list[str]] = {k: list(v) for k, v in self.parameters.items()}

    def _build_yaml_loader(self) -> type[yaml.SafeLoader]:
        return ConfigLoader

    def _load_config_files(self, file_list: Sequence[str]) -> Values:
        values: Values = {}
        for file in file_list:
            values.update(self._note(said(load_yaml(file)), str(file)))
        return values

    def _load_variable_config_dict(self, config_dict: Values) -> Values:
        return self._note(plain(config_dict), KEYWORDS)

    def _load_cmd_line(self) -> Values:
        return self._note(self._command, COMMAND_LINE)

    def _get_model_and_dataset(self, model: str | type | None, dataset: str | None) -> tuple[str, type, str]:
        model = self.external_config_dict.get("model") if model is None else model
        dataset = self.external_config_dict.get("dataset") if dataset is None else dataset
        for name, value in (("model", model), ("dataset", dataset)):
            if value is None:
                raise InputError(
                    f"--{name}", f"is missing; give it as --{name}=NAME", place=COMMAND_LINE, option=name
                )
        model_class = find_model(model) if not isinstance(model, type) else model
        if not isinstance(dataset, str) or dataset in (".", "..") or set(dataset) & set("/\\"):
            raise invalid(
                "dataset", dataset, self.sources.get("dataset", KEYWORDS), "the name of a folder in data_path"
            )
        return model_class.__name__, model_class, dataset

    def _load_internal_config_dict(self, model: str, model_class: type, dataset: str) -> None:
        kind = getattr(model_class, "type", None)
        if kind not in (ModelType.GENERAL, ModelType.TRADITIONAL):
            raise InputError(f"model={model}: is not a general recommender, and only those run here")
        self.ours, self.metric = is_ours(model_class), is_metric(model_class)
        self.internal_config_dict: Values = {}
        self.dataset_source: Values | None = None  # where to get the data set; no option
        sources: dict[str, str] = {}
        self.limits = limits_of(model_class)
        for folder, name in self._internal_files(home_of(model_class).__name__, dataset):
            if is_file(folder / name):
                values = load_yaml(folder / name)
                self.dataset_source = values.pop("source", None) or self.dataset_source
                if values.get("valid_metric") == LOSS and not self.metric:
                    del values["valid_metric"]  # the paper's preset; this model has no such loss
                sources.update(dict.fromkeys(values, name if "/" in name else f"{folder.name}/{name}"))
                self.internal_config_dict.update(values)
        for place, values in own_options(model_class):
            sources.update(dict.fromkeys(values, place))
            self.internal_config_dict.update(values)
        self.sources = {**sources, **self.sources}
        self._refuse_unknown_keys()
        self.internal_config_dict["MODEL_TYPE"] = kind

    def _internal_files(self, model: str, dataset: str) -> list[tuple[Path, str]]:
        """Return the folders and names of the host's and the shipped files, the later ones winning."""
        host, ours = host_file(), shipped("properties")
        protocol = self.external_config_dict.get("protocol")
        return [
            (host, "overall.yaml"),
            (ours, "overall.yaml"),
            (host, f"model/{model}.yaml"),
            (ours, f"model/{model}.yaml"),
            *([(ours, f"objective/{self._objective()}.yaml")] if self.metric else []),
            *((ours, name) for name in protocol_files(protocol, model, dataset)),
            (host, "dataset/sample.yaml"),
            (host, f"dataset/{dataset}.yaml"),
            (shipped("datasets"), f"{dataset}.yaml"),
        ]

    def _objective(self) -> str:
        """Return what a metric model is trained by: as given, as in the paper, or by default."""
        protocol = self.external_config_dict.get("protocol")
        default = TRIPLET if protocol == PAPER else default_objective()
        chosen = self.external_config_dict.get("objective", default)
        allowed = "triplet with protocol=paper" if protocol == PAPER else f"one of {TRIPLET}, {SOFTMAX}"
        if chosen not in ((TRIPLET,) if protocol == PAPER else (TRIPLET, SOFTMAX)):
            raise invalid("objective", chosen, self.sources["objective"], allowed)
        return str(chosen)

    def _set_default_parameters(self) -> None:
        values = self.final_config_dict
        complete(self._options(values, self.external_config_dict, self.sources))
        settle(values, self.external_config_dict, self.internal_config_dict, self.sources)
        self.requested = {k: copy.deepcopy(v) for k, v in values.items() if k not in compat.DERIVED_KEYS}
        self.requested.update(model=name_of(self.model_class), dataset=self.dataset)
        for key in ("eval_batch_size", "use_gpu", "gpu_id"):  # follow from eval_memory and the machine
            if key not in self.external_config_dict:
                del self.requested[key]
        super()._set_default_parameters()
        check_negatives(self)
        if not learns_from_rows(self):
            values["train_neg_sample_args"] = None  # nothing is drawn
        data_path = self.requested["data_path"]
        if has_own_copy(data_path, self.dataset, values["benchmark_filename"]):
            values["data_path"] = str(Path(data_path, self.dataset))

    def _init_device(self) -> None:
        """Choose the device, leaving `CUDA_VISIBLE_DEVICES` alone: a Ray trial keeps its GPU."""
        values = self.final_config_dict
        values["gpu_id"] = gpu = str(values["gpu_id"])
        values.update(single_spec=True, local_rank=0, device=torch.device("cpu"))
        if values["use_gpu"] and gpu and torch.cuda.is_available():
            if int(gpu) >= torch.cuda.device_count():
                raise invalid("gpu_id", gpu, self.sources["gpu_id"], f"below {torch.cuda.device_count()}")
            values["device"] = torch.device("cuda", int(gpu))

    # --- checks --------------------------------------------------------------------------------------

    def _note(self, values: Values, source: str) -> Values:
        self.sources.update(dict.fromkeys(values, source))
        return values

    def _refuse_unknown_keys(self) -> None:
        known = {k for keys in self.parameters.values() for k in keys} - compat.UNREAD_KEYS
        known |= {*self.internal_config_dict, *compat.KEYS_WITHOUT_DEFAULT, *without_default(self.model)}
        for key, value in self.external_config_dict.items():
            if key in compat.PROCESS_KEYS:
                raise InputError(
                    f"{key}={value}",
                    "cannot be given; several processes are not supported, a run is one",
                    place=self.sources[key],
                    option=key,
                    value=value,
                )
            if key not in known and self.metric:
                self._refuse_other_objective(key)
            if key not in known:
                raise UnknownOption.of(key, self.sources[key], self.model, known)

    def _refuse_other_objective(self, key: str) -> None:
        """Raise `InputError` for an option of an objective that the run is not trained by."""
        own = self._objective()
        other = other_objective(key, own)
        if other is not None:
            raise InputError(
                key,
                f"is no option of {self.model} trained by objective={own}; give objective={other}",
                place=self.sources[key],
                option=key,
            )

    def _options(self, values: Values, given: Given, sources: Mapping[str, str]) -> Checked:
        kind = self.model, self.ours, self.metric
        return Checked(*kind, values, self.internal_config_dict, given, sources, self.limits)

    def check(self, options: Given) -> None:
        """Raise `InputError` where `options` could not stand in the place of those `requested`.

        As a configuration that is made of them would, but no file is read again.
        """
        given = plain(dict(options))
        values = {**self.internal_config_dict, **copy.deepcopy(given)}
        values["MODEL_INPUT_TYPE"] = self["MODEL_INPUT_TYPE"]
        changed = self._options(values, given, {**self.sources, **dict.fromkeys(given, KEYWORDS)})
        complete(changed)
        check_negatives(changed)

    def __str__(self) -> str:
        """Return the effective options as YAML: complete, and readable by `config_files`."""
        return dump_yaml(self.requested)
