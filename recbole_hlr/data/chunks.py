"""Into what pieces evaluation is cut, so that `eval_memory` GiB hold what is there of it at once.

One half is for the scores of the users that are ranked together, `SCORE_BYTES` of every user and item:
`users_per_block` follows from the number of items alone. The other half is for what a model needs to
compute those scores, or a validation loss: it says how many floats a row of its work holds, and takes as
many rows at a time as `rows_within` allows. At least one user, and one row, is always taken.
"""

from __future__ import annotations

from recbole_hlr.protocols import RunConfig

GIB = 2**30
SCORE_BYTES = 12  # of a user and an item in the host's evaluation: scores, their copy, positives as int32


def spans(total: int, size: int) -> list[slice]:
    """Return slices of `size` places, the last one of what is left, that cover `total` places."""
    return [slice(start, min(start + size, total)) for start in range(0, total, size)]


def memory_budget(eval_memory: float) -> int:
    """Return the bytes of `eval_memory` GiB, of which each side takes half."""
    return int(eval_memory * GIB)


def users_per_block(eval_memory: float, items: int) -> int:
    """Return for how many users at a time `items` are ranked, within `eval_memory` GiB."""
    return max(int(eval_memory * GIB / 2 // (SCORE_BYTES * items)), 1)


def pairs_per_batch(config: RunConfig, items: int) -> int:
    """Return how many users times `items` an evaluation batch has: `eval_batch_size` where that is given."""
    if "eval_batch_size" in config.external_config_dict:
        return config["eval_batch_size"]
    return users_per_block(config["eval_memory"], items) * items


def rows_within(budget: int, row_bytes: int) -> int:
    """Return how many rows of a model's work, of `row_bytes` each, half of the `budget` in bytes holds."""
    return max(budget // (2 * max(row_bytes, 1)), 1)
