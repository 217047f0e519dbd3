"""A fitted model taken from a run directory; for RecBole's own models, with the run's data set."""

from __future__ import annotations

from pathlib import Path

from recbole.model.abstract_recommender import GeneralRecommender

from recbole_hlr.config.config import KEYWORDS, HLRConfig
from recbole_hlr.data.stored import StoredData, refuse_other_data, stored_data
from recbole_hlr.errors import fixed
from recbole_hlr.experiment.exclusive import alone
from recbole_hlr.experiment.rundir import RunDir
from recbole_hlr.host import recbole as compat
from recbole_hlr.host.device import refuse_missing_gpu
from recbole_hlr.options.table import LOAD_KEYS
from recbole_hlr.options.yaml_values import plain
from recbole_hlr.protocols import Values
from recbole_hlr.recommend.fitted import FittedRecommender
from recbole_hlr.train import checkpoint
from recbole_hlr.train.snapshot import load_model_state


@alone("load()")
@compat.quietly()
def load(run_dir: str | Path, **options: object) -> FittedRecommender:
    """Return the fitted recommender of a run directory.

    A model that is not of this package, or derived from one that is, is built on the data set, which is
    loaded and split as for the run. `options` replace those of the run; only `LOAD_KEYS` may, for others
    would make it another model. Raises `InputError`, also for data that are not those of the run.
    """
    folder = RunDir.open(run_dir)
    return fitted_of(checkpoint.load(folder.checkpoint), folder, **options)


def fitted_of(content: Values, folder: RunDir, **options: object) -> FittedRecommender:
    """Return the fitted recommender of a run whose checkpoint holds `content`, as `load` does."""
    stored = content["config"]
    for key, value in plain(options).items():
        if key not in LOAD_KEYS and (key not in stored or value != stored[key]):
            raise fixed(key, value, KEYWORDS, "a run that is loaded", sorted(LOAD_KEYS))
    config = HLRConfig(stored["model"], stored["dataset"], options={**stored, **options})
    refuse_missing_gpu(config, options)
    data = StoredData(content["data"])
    if config.ours:
        model = config.model_class(config, data).to(config["device"])
    else:
        model = built_on_data(config, content["data"], folder.path)
    load_model_state(model, content["best"], counters=False)
    return FittedRecommender(model.eval(), config, data)


def built_on_data(config: HLRConfig, stored: Values, run_dir: Path) -> GeneralRecommender:
    """Return a model, as before its training, on the training part that a checkpoint has `stored`."""
    from recbole_hlr.data.loaders import load_split
    from recbole_hlr.experiment.assemble import build_model
    from recbole_hlr.host.shortage import shortage_told

    with shortage_told(config):
        train = load_split(config).parts[0]
    refuse_other_data(stored, stored_data(train, config.dataset), run_dir)
    return build_model(config, train)
