"""Collaborative Metric Learning.

Hsieh et al., Collaborative Metric Learning, WWW 2017 (doi 10.1145/3038912.3052639), in the form that
Tran et al., RecSys 2021 (doi 10.1145/3460231.3474230) compare with: Eq. 1.
"""

from __future__ import annotations

from recbole_hlr.model.base import MetricRecommender


class CML(MetricRecommender):
    """score(u, v) = -||p_u - q_v||^2: no translation.

    Deviation: without the covariance regulariser; rank weights only by `negative_reduction: rank`.
    """
