"""Which values the next trial gets: the shipped defaults, then Optuna's random values or TPE, or a grid's."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.study import Study
from optuna.trial import TrialState, create_trial

from recbole_hlr.data.random import Stream, sequence_for
from recbole_hlr.errors import InputError
from recbole_hlr.protocols import Values
from recbole_hlr.search.record import Record
from recbole_hlr.search.space import Space, key_of

LARGEST_GRID = 10_000_000  # combinations, whose numbers are shuffled
TRIES = 1000  # random draws after which a space is taken to be used up
TPE_TRIES = 20  # draws after which TPE, which likes to come back to the best values, gives way to chance


class Suggestions:
    """Values of one trial after another, none of them twice: trials share a seed, they would end the same.

    The first has the defaults, of options that have one. What is suggested follows from `seed`, from the
    number and from what is recorded.
    """

    def __init__(self, space: Space, algorithm: str, seed: int, samples: int, defaults: Values) -> None:
        self.space, self.algorithm, self.seed, self.defaults = space, algorithm, seed, defaults
        self.total = samples
        if algorithm == "grid":
            count = self._combinations()
            inside = all(d.encode(defaults.get(d.key)) is not None for d in space)
            self.total = min(samples, count if inside else count + 1)
            self._grid = self._shuffled(count)

    def next(self, record: Record) -> Values | None:
        """Return the values of the next trial, or None where the search has no more."""
        number = len(record.trials) + 1
        if number > self.total:
            return None
        if number == 1:
            return self.defaults
        draws = self._grid if self.algorithm == "grid" else self._draws(number, record.study)
        return next((values for values in draws if key_of(values) not in record.seen), None)

    def _draws(self, number: int, study: Study) -> Iterator[Values]:
        """Yield what trial `number` may have, the preferred first."""
        seed = int(sequence_for(self.seed, Stream.SUGGESTIONS, number).generate_state(1)[0])
        if self.algorithm == "optuna":
            tpe = TPESampler(seed=seed, multivariate=False)
            yield from (self._draw(tpe, study) for _ in range(TPE_TRIES))
        chance = RandomSampler(seed=seed)
        yield from (self._draw(chance, study) for _ in range(TRIES))

    def _draw(self, sampler: BaseSampler, study: Study) -> Values:
        """Draw as `study.ask` does, which would record what is then not run."""
        nobody = create_trial(state=TrialState.RUNNING)
        return {
            d.key: d.decode(sampler.sample_independent(study, nobody, d.key, d.distribution))
            for d in self.space
        }

    def _combinations(self) -> int:
        """Return how many combinations a grid has; `InputError` where they cannot be tried."""
        for dimension in self.space:
            if math.isinf(dimension.count):
                raise InputError(
                    f"{dimension.key}: {dimension.kind}: has no list of values, which algorithm=grid needs; "
                    "write choice or grid, or use --algorithm=random"
                )
        count = math.prod(int(dimension.count) for dimension in self.space)
        if count > LARGEST_GRID:
            raise InputError(
                f"space: has {count} combinations, and algorithm=grid takes at most {LARGEST_GRID}; "
                "use --algorithm=random"
            )
        return count

    def _shuffled(self, count: int) -> Iterator[Values]:
        """Yield all combinations in a random order: any first part of it is fair."""
        generator = np.random.default_rng(sequence_for(self.seed, Stream.GRID_ORDER, 0))
        sizes = [int(dimension.count) for dimension in self.space]
        for number in generator.permutation(count):
            places = np.unravel_index(number, sizes)
            yield {d.key: d.value(int(place)) for d, place in zip(self.space, places, strict=True)}


def default_algorithm(space: Space) -> str:
    """Return grid where every line of the space is one, else random."""
    return "grid" if all(dimension.kind == "grid" for dimension in space) else "random"
