"""HLR and the models it is compared with, as RecBole recommenders.

Tran et al., Hierarchical Latent Relation Modeling for Collaborative Metric Learning, RecSys 2021
(doi 10.1145/3460231.3474230).
"""

from recbole_hlr.errors import InputError
from recbole_hlr.experiment import Experiment, RunResult, prepare, run
from recbole_hlr.fitted import FittedRecommender, load
from recbole_hlr.model import MODELS
from recbole_hlr.version import __version__

__all__ = [
    "MODELS",
    "Experiment",
    "FittedRecommender",
    "InputError",
    "RunResult",
    "__version__",
    "load",
    "prepare",
    "run",
]
