"""Train models over several seeds on the same splits and print mean and deviation as Markdown.

    python benchmarks/compare.py --models HLR,CML,BPR,LightGCN,EASE,ItemKNN --seeds 5 -- --dataset=ml-100k

What follows `--` goes to every model; a model's own options stand in MODEL_OPTIONS. A seed changes
the split too, and all models share the split of a seed. With --protocol=paper, an option like any
other, the table says so and has the metrics that are reported then.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from typing import Any

from tabulate import tabulate

from recbole_hlr import RunResult, compat, run
from recbole_hlr.config import HLRConfig
from recbole_hlr.protocol import STANDARD, one_protocol

# d = 100 for all factor models, so that none is larger; all else is RecBole's default.
MODEL_OPTIONS: dict[str, dict[str, Any]] = {
    "BPR": {"embedding_size": 100},
    "LightGCN": {"embedding_size": 100},
}
SHOWN = ("ndcg@10", "recall@10", "mrr@10", "hit@10")  # under the standard protocol


def cells(values: list[float]) -> str:
    """Return mean ± standard deviation of the values of all seeds."""
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.mean(values):.4f} ± {deviation:.4f}"


def row(model: str, results: list[RunResult], metrics: Sequence[str]) -> list[str]:
    """Return the cells of a model: name, validation, test metrics, median seconds of a run."""
    seconds = statistics.median(sum(result.seconds.values()) for result in results)
    valid = cells([result.valid["ndcg@10"] for result in results])
    return [model, valid, *(cells([r.test[name] for r in results]) for name in metrics), f"{seconds:.0f}"]


def table(runs: dict[str, list[RunResult]]) -> str:
    """Return the Markdown table of all models' runs; `InputError` where they are of two protocols."""
    results = [result for of_model in runs.values() for result in of_model]
    protocol = one_protocol(results)
    metrics = SHOWN if protocol == STANDARD else tuple(results[0].test)
    rows = [row(model, of_model, metrics) for model, of_model in runs.items()]
    headers = [f"model, protocol {protocol}", "valid ndcg@10", *metrics, "seconds"]
    return tabulate(rows, headers, tablefmt="github", disable_numparse=True)


def main() -> None:
    """Run every model with every seed, then print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", default="HLR,CML,BPR,LightGCN,EASE,ItemKNN")
    parser.add_argument("--seeds", type=int, default=5, help="seeds 1 to this number")
    parser.add_argument("options", nargs="*", help="options of every run, after --")
    given = parser.parse_args()
    compat.quiet_host()
    runs: dict[str, list[RunResult]] = {}
    for model in given.models.split(","):
        options = MODEL_OPTIONS.get(HLRConfig(model, arguments=given.options).model, {})
        runs[model] = [
            run(model, arguments=given.options, seed=seed, show_progress=False, **options)
            for seed in range(1, given.seeds + 1)
        ]
        print(model, cells([result.valid["ndcg@10"] for result in runs[model]]), flush=True)
    print(table(runs))


if __name__ == "__main__":
    main()
