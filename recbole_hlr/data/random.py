"""All streams of random numbers, named once, and the generators that draw from them."""

from __future__ import annotations

from enum import IntEnum, unique

import numpy as np
import torch


@unique
class Stream(IntEnum):
    """What is drawn, each from a stream of its own; those of a number have one for each such number."""

    GRID_ORDER = 0  # the order of the combinations of a grid search
    ORDER = 1  # of an epoch: the order of its positives
    NEGATIVES = 2  # of an epoch: its negatives
    HISTORY = 3  # of an epoch: which of a user's items are attended to
    SCORING_HISTORY = 4  # which of them scoring attends to
    AUDIENCE = 5  # of an epoch: which of an item's users are attended to
    SCORING_AUDIENCE = 6  # which of them scoring attends to
    FACTORS = 7  # the tables of MF-ALS before its first iteration
    COHORTS = 8  # who is in which cohort
    DESCRIBED_PAIRS = 9  # the pairs over which a translation is described
    VALIDATION_NEGATIVES = 10  # of epoch 0 alone: the negatives of the validation loss
    VALIDATION_CANDIDATES = 11  # what sampled ranking ranks for validation
    TEST_CANDIDATES = 12  # and for testing
    SUGGESTIONS = 13  # of a trial: the values that a search gives it
    SAMPLED_CANDIDATES = 14  # of an epoch: the items that stand for the catalogue
    DISLIKED = 18  # which of the dislikes are trained on, as the training part is drawn
    DISLIKED_NEGATIVES = 19  # of an epoch: which negatives are dislikes, and which dislikes
    FOLDED_NEGATIVES = 15  # what users who were not in the data are held against under the triplet loss
    HELD_OUT_USERS = 20  # who is held out of training


def sequence_for(seed: int, stream: Stream, number: int | None = None) -> np.random.SeedSequence:
    """Return numpy's seed sequence of `seed` and `stream`, and of `number` where there is one.

    Always of four words: numpy takes words that are missing for zeros, so that a stream without a
    number would be that of number 0.
    """
    return np.random.SeedSequence([seed, stream, number or 0, number is None])


def generator_for(
    seed: int, stream: Stream, epoch: int | None = None, device: torch.device | str = "cpu"
) -> torch.Generator:
    """Return a generator whose state depends on `seed`, `stream` and `epoch` alone.

    Whatever is drawn in an epoch is drawn from a generator of that epoch, so that a resumed run
    draws what the run that was never interrupted draws.
    """
    state = sequence_for(seed, stream, epoch).generate_state(1, np.uint64)[0]
    return torch.Generator(device=device).manual_seed(int(state >> np.uint64(1)))
