r"""Repeat the search behind the defaults of triplets and of MF-ALS, by validation; a run is a JSON line.

    python benchmarks/defaults.py --models CML --seeds 1 -- --dataset=ml-100k-peer --data_path=dataset \
        --benchmark_filename=[train,valid,test] "--load_col={inter: [user_id, item_id]}"

The table that it led to stands in docs/defaults.md. What follows `--` goes to every run.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from typing import Any

from recbole_hlr import prepare
from recbole_hlr.host import recbole as compat

SOFT = {"negative_reduction": "soft", "margin": 2.5}
SMALL = {"max_history": 20, "num_memories": 5}
LAMBDAS = {0.0: (10, 20, 30, 50, 80), 0.5: (0.3, 0.6, 0.9, 1.2, 2.0), 1.0: (0.01, 0.02, 0.03, 0.05, 0.1)}
GRID: dict[str, list[dict[str, Any]]] = {
    "CML": [
        {"K": 1, "negative_reduction": "mean", "margin": 0.5, "learning_rate": 0.001},
        {"K": 10, "negative_reduction": "mean", "margin": 0.5},
        {"K": 20, "negative_reduction": "soft", "negative_temperature": 0.3, "margin": 0.5},
        {"K": 20, "negative_reduction": "soft", "negative_temperature": 0.1, "margin": 0.5},
        {"K": 20, "negative_reduction": "rank", "margin": 0.5},
        {"K": 10, "negative_reduction": "mean", "margin": 1.0},
        {"K": 10, "negative_reduction": "mean", "margin": 1.0, "learning_rate": 0.001},
        {"K": 50, "negative_reduction": "mean", "margin": 1.0},
        {"K": 10, "negative_reduction": "mean", "margin": 1.5},
        {"K": 10, "negative_reduction": "mean", "margin": 2.0},
        {"K": 10, "negative_reduction": "hardest", "margin": 1.5},
        {"K": 10, "negative_reduction": "hardest", "margin": 2.5},
        {"K": 20, "negative_reduction": "soft", "negative_temperature": 1.0, "margin": 1.5},
        {"K": 20, "negative_reduction": "soft", "negative_temperature": 0.5, "margin": 2.0},
        {"K": 20, **SOFT, "negative_temperature": 0.2},
        {"K": 20, **SOFT, "negative_temperature": 0.25},
        {"K": 20, **SOFT, "negative_temperature": 0.3},
        {"K": 20, **SOFT, "negative_temperature": 0.4},
        {"K": 50, **SOFT, "negative_temperature": 0.3},
        {"K": 20, **SOFT, "negative_temperature": 0.3, "margin": 4.0, "max_norm": 0.8},
        {"K": 20, **SOFT, "negative_temperature": 0.3, "margin": 4.0, "max_norm": 1.5},
        {"K": 20, **SOFT, "weight_decay": 0.1},
    ],
    "HLR": [
        {"K": 10, "negative_reduction": "mean", "margin": 1.0, "max_history": 50, "num_memories": 20},
        {"K": 10, **SOFT, "negative_temperature": 0.3, "num_memories": 10, "learning_rate": 0.001},
        {"K": 20, **SOFT, "share_negative_relation": True, "max_history": 50, "num_memories": 20},
        {"K": 10, **SOFT, **SMALL, "max_memory_norm": 0.5, "learning_rate": 0.003},
        {"K": 10, **SOFT, **SMALL, "max_memory_norm": 0.3, "learning_rate": 0.003},
        {"K": 10, **SOFT, **SMALL, "max_memory_norm": 0.1, "learning_rate": 0.003},
        {"K": 10, **SOFT, "max_memory_norm": 0.3, "num_memories": 20, "learning_rate": 0.003},
        {"K": 10, **SOFT, **SMALL, "max_memory_norm": 0.3, "max_history": 50, "learning_rate": 0.003},
        {"K": 20, **SOFT, "share_negative_relation": True, "max_memory_norm": 0.3, "max_history": 50,
         "num_memories": 20},
        {"K": 20, **SOFT, **SMALL, "max_memory_norm": 0.15},
        {"K": 20, **SOFT, **SMALL, "max_memory_norm": 0.3},
    ],
    "MF-ALS": [
        *(
            {"confidence_weight": weight, "regularization_scaling": scaling, "regularization": value}
            for scaling, values in LAMBDAS.items()
            for weight, value in itertools.product((1.0, 2.0, 4.0, 8.0, 16.0), values)
        ),
        *({"embedding_size": size} for size in (20, 50, 200)),
        *({"cg_steps": steps} for steps in (1, 10, 100)),
    ],
}  # fmt: skip
BASE: dict[str, dict[str, Any]] = {
    "CML": {"learning_rate": 0.002, "negative_temperature": 0.4},
    "HLR": {"learning_rate": 0.002, "negative_temperature": 0.4, "max_memory_norm": None, "max_history": 20},
    "MF-ALS": {"K": 1},  # which it does not read
}


def train(model: str, seed: int, options: dict[str, Any], arguments: list[str]) -> dict[str, Any]:
    """Train one setting and return its options, best epoch, validation and test NDCG@10 and seconds."""
    started = time.perf_counter()
    given = {**BASE[model], **options}
    negatives = {"sample_num": given.pop("K")}
    common = {"seed": seed, "epochs": 150, "stopping_step": 8, "show_progress": False, "objective": "triplet"}
    parts = prepare(model, arguments=arguments, train_neg_sample_args=negatives, **common, **given)
    score, _ = parts.trainer.fit(parts.train_data, parts.valid_data, verbose=False)
    test = parts.trainer.evaluate(parts.test_data, load_best_model=False)
    return {
        "model": model,
        "seed": seed,
        **options,
        "best_epoch": parts.trainer.best_epoch,
        "valid": round(score, 4),
        "test": round(test["ndcg@10"], 4),
        "seconds": round(time.perf_counter() - started),
    }


def main() -> None:
    """Train every setting of the grid with every seed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", default="CML,HLR")
    parser.add_argument("--seeds", type=int, default=1, help="seeds 1 to this number")
    parser.add_argument("options", nargs="*", help="options of every run, after --")
    given = parser.parse_args()
    compat.quiet_host()
    for model in given.models.split(","):
        for options in GRID[model]:
            for seed in range(1, given.seeds + 1):
                print(json.dumps(train(model, seed, options, given.options)), flush=True)


if __name__ == "__main__":
    main()
