"""Whether it pays to learn from known dislikes: validation and test NDCG@10 of CML on ml-100k.

Ratings of 4 and 5 are positives, 1 and 2 dislikes. The last figure is of the same model where dislikes of the
training part are not ranked either: what is left of a gain there is more than that they are pushed away.

    python benchmarks/dislikes.py --seeds 1,2,3 --objective softmax --weights 1,2,5
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

import numpy as np

from recbole_hlr import prepare
from recbole_hlr.data.dislikes import disliked_in_training
from recbole_hlr.data.ranking import RankingLoader
from recbole_hlr.experiment.assemble import Experiment
from recbole_hlr.protocols import Values

RATED = {"val_interval": {"rating": "[1,2];[4,5]"}, "threshold": {"rating": 4}, "state": "ERROR"}


def settings(objective: str, weights: list[float]) -> Iterator[tuple[str, Values]]:
    """Yield names and options: of weights 1 is `ignored`, and 0 `masked`; of shares 0 is `sampled`."""
    for weight in weights:
        if objective == "triplet":
            yield f"disliked_share {weight:g}", {"negatives": "disliked", "disliked_share": weight}
        elif weight:
            yield f"disliked_weight {weight:g}", {"disliked": "weighted", "disliked_weight": weight}
        else:
            yield "masked", {"disliked": "masked"}


def measured(options: Values) -> list[float]:
    """Return the validation figure, the test figure, that without dislikes, and the best epoch of a run."""
    parts = prepare("CML", "ml-100k", **RATED, **options)
    best, _ = parts.trainer.fit(parts.train_data, parts.valid_data)
    test = tested(parts)
    loader: Any = parts.test_data
    disliked = disliked_in_training(parts.config, [parts.train_data.dataset, *others(parts)])
    assert disliked is not None
    loader.history = loader.history.joined(disliked.without(loader.positives))
    return [best, test, tested(parts), parts.trainer.best_epoch or 0]


def others(parts: Experiment) -> list[Any]:
    """Return the validation and the test part."""
    return [loader.dataset for loader in (parts.valid_data, parts.test_data) if loader is not None]


def tested(parts: Experiment) -> float:
    """Return the test figure."""
    assert isinstance(parts.test_data, RankingLoader)
    return float(parts.trainer.evaluate(parts.test_data, load_best_model=False)["ndcg@10"])


def main() -> None:
    """Print a row for every setting: means over the seeds, and the deviation of the test figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--objective", default="softmax", choices=("softmax", "triplet"))
    parser.add_argument("--weights", default="1,2,5", help="of dislikes, or shares of negatives")
    given = parser.parse_args()
    print(
        "| setting | validation | test (deviation) | test, dislikes not ranked | best epoch |\n"
        "|---|---|---|---|---|"
    )
    for name, options in settings(given.objective, [float(one) for one in given.weights.split(",")]):
        rows = [
            measured({"seed": int(seed), "objective": given.objective, **options})
            for seed in given.seeds.split(",")
        ]
        valid, test, unranked, epoch = np.mean(rows, axis=0)
        spread = np.std([row[1] for row in rows])
        print(
            f"| {name} | {valid:.4f} | {test:.4f} ({spread:.4f}) | {unranked:.4f} | {epoch:.0f} |", flush=True
        )


if __name__ == "__main__":
    main()
