"""Finished cells of a benchmark, made up, so that a report's figures are known."""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from recbole_hlr.benchmark.cells import Cell

METRICS = ["recall@5", "ndcg@5"]


def make_cell(out: Path, dataset: str, model: str, seed: int, lift: float = 0.0, **changes) -> Cell:
    """A cell of 40 users whose values are random, `lift` higher than those of other models of this seed.

    `change_users` changes the table of users before its means are taken, `changes` are of the result.
    """
    rng = np.random.default_rng(seed)
    users = pd.DataFrame({"user": [f"u{number}" for number in range(40)], "history": rng.integers(3, 50, 40)})
    for metric in METRICS:
        users[metric] = rng.random(40) + lift + 0.01 * np.random.default_rng(len(model)).random(40)
    users = changes.pop("change_users", lambda users: users)(users)
    users.attrs["split"] = changes.pop("split", f"{dataset} {seed}")
    cell = Cell(dataset, model, seed, out)
    cell.write(dataset=dataset, model=model, seed=seed, command=f"recbole-hlr train --model={model}")
    run_dir = cell.folder / "a-run"
    run_dir.mkdir()
    test = {metric: float(users[metric].mean()) for metric in METRICS if metric in users}
    result = {
        "model": model,
        "dataset": dataset,
        "protocol": "standard",
        "seed": seed,
        "valid_metric": "ndcg@5",
        "best_epoch": 1,
        "epochs": 2,
        "parameters": 1000,
        "test": {**test, "averagepopularity@5": 20.0 + lift},
        "seconds": {"evaluate": 0.25},
        "version": "0",
        **changes,
    }
    (run_dir / "config.yaml").write_text(f"model: {model}\ndataset: x\nprotocol: {result['protocol']}\n")
    (run_dir / "result.json").write_text(json.dumps(result))
    epochs = [
        {"epoch": e, "train_seconds": 1.5, "valid_score": 0.1 * e, "valid": {"ndcg@5": 0.1 * e}}
        for e in (0, 1)
    ]
    (run_dir / "metrics.jsonl").write_text("".join(json.dumps(epoch) + "\n" for epoch in epochs))
    users.to_parquet(run_dir / "users.parquet", index=False)
    return cell


def make_benchmark(out: Path, dataset: str = "shop") -> Path:
    """Three models with three seeds: CML, EASE clearly better, Pop worse and with two seeds only."""
    for seed in (1, 2, 3):
        make_cell(out, dataset, "CML", seed)
        make_cell(out, dataset, "EASE", seed, lift=0.1)
        if seed < 3:
            make_cell(out, dataset, "Pop", seed, lift=-0.1)
    return out
