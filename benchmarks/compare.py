"""Train models over several seeds on the same splits and print mean and deviation as Markdown.

    python benchmarks/compare.py --models HLR,CML,BPR,LightGCN,EASE,ItemKNN --seeds 5 -- --dataset=ml-100k

What follows `--` goes to every model; a model's own options stand in MODEL_OPTIONS. A seed changes
the split too, and all models share the split of a seed.
"""

from __future__ import annotations

import argparse
import statistics
from typing import Any

from tabulate import tabulate

from recbole_hlr import compat, run
from recbole_hlr.config import HLRConfig

# d = 100 for all factor models, so that none is larger; all else is RecBole's default.
MODEL_OPTIONS: dict[str, dict[str, Any]] = {
    "BPR": {"embedding_size": 100},
    "LightGCN": {"embedding_size": 100},
}
SHOWN = ("ndcg@10", "recall@10", "mrr@10", "hit@10")


def cells(values: list[float]) -> str:
    """Return mean ± standard deviation of the values of all seeds."""
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.mean(values):.4f} ± {deviation:.4f}"


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
    rows = []
    for model in given.models.split(","):
        options = MODEL_OPTIONS.get(HLRConfig(model, arguments=given.options).model, {})
        results = [
            run(model, arguments=given.options, seed=seed, show_progress=False, **options)
            for seed in range(1, given.seeds + 1)
        ]
        seconds = statistics.median(sum(result.seconds.values()) for result in results)
        metrics = [cells([result.test[name] for result in results]) for name in SHOWN]
        valid = cells([result.valid["ndcg@10"] for result in results])
        rows.append([model, valid, *metrics, f"{seconds:.0f}"])
        print(rows[-1], flush=True)
    print(
        tabulate(
            rows, ["model", "valid ndcg@10", *SHOWN, "seconds"], tablefmt="github", disable_numparse=True
        )
    )


if __name__ == "__main__":
    main()
