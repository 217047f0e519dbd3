"""The models of the paper, by name; where Python cannot spell a name, the class is an alias."""

from recbole.model.abstract_recommender import GeneralRecommender

from recbole_hlr.model.adacml import AdaCML
from recbole_hlr.model.base import MetricRecommender
from recbole_hlr.model.cml import CML
from recbole_hlr.model.hlr import HLR
from recbole_hlr.model.hlrpp import HLRPP
from recbole_hlr.model.lrml import LRML
from recbole_hlr.model.mfals import MFALS
from recbole_hlr.model.transcf import TransCF

__all__ = ["MODELS", "MetricRecommender"]

MODELS: dict[str, type[GeneralRecommender]] = {
    "CML": CML,
    "LRML": LRML,
    "TransCF": TransCF,
    "AdaCML": AdaCML,
    "HLR": HLR,
    "HLR++": HLRPP,
    "HLRPP": HLRPP,
    "MF-ALS": MFALS,
    "MFALS": MFALS,
}
