"""The models of the paper, by name."""

from recbole_hlr.model.base import MetricRecommender
from recbole_hlr.model.cml import CML
from recbole_hlr.model.hlr import HLR

MODELS: dict[str, type[MetricRecommender]] = {"CML": CML, "HLR": HLR}
