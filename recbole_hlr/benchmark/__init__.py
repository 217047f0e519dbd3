"""Models x data sets x seeds: one run each, on the same splits, and the tables and the page made of them."""

from recbole_hlr.benchmark.run import benchmark

__all__ = ["benchmark"]
