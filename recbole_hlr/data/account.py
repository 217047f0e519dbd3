"""What loading did to the interactions of a data set: read, left out by what, kept."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from recbole_hlr.data.atomic import AtomicDataset

REASONS = {  # in the order in which the host filters, then what the labels leave out of a part
    "missing_id": "without a user or an item id",
    "rm_dup_inter": "given more than once (rm_dup_inter)",
    "val_interval": "outside val_interval",
    "threshold": "below threshold",
    "label": "of label 0",
    "filter_inter_by_user_or_item": "whose user or item has no row in the .user or .item file "
    "(filter_inter_by_user_or_item)",
    "inter_num_interval": "outside user_inter_num_interval and item_inter_num_interval",
    "negative": "of label 0 in a part that is not rated by labels",
    # of a split by users or by time, and of a file that is given for a run
    "untrained": "of a user or an item without a training interaction",
    "unknown_user": "of users that the run does not have",
    "unknown_item": "of items that the run does not have",
    "known": "that the run has already",
    "repeated": "given more than once",
}


class Account:
    """How many interactions were `read`, and how many were `left_out` by each of `REASONS`."""

    def __init__(self) -> None:
        self.read = 0
        self.left_out: dict[str, int] = {}

    @property
    def kept(self) -> int:
        """What was read and not left out."""
        return self.read - sum(self.left_out.values())

    def leave_out(self, reason: str, count: int) -> None:
        """Enter `count` interactions, if any, under one of `REASONS`."""
        if count:
            self.left_out[reason] = self.left_out.get(reason, 0) + count

    @contextlib.contextmanager
    def step(self, reason: str, data: AtomicDataset) -> Iterator[None]:
        """Enter what a step of loading takes out of the interactions of `data`."""
        before = len(data.inter_feat)
        yield
        self.leave_out(reason, before - len(data.inter_feat))

    def as_dict(self) -> dict[str, int | dict[str, int]]:
        """Return the account as `result.json` has it."""
        return {"read": self.read, "left_out": dict(self.left_out), "kept": self.kept}

    def __str__(self) -> str:
        """Return the account in words."""
        if not self.left_out:
            return f"{self.read} interactions read, all kept"
        left_out = ", ".join(f"{count} {REASONS[reason]}" for reason, count in self.left_out.items())
        return f"{self.read} interactions read, {self.kept} kept; left out: {left_out}"
