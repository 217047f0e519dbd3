"""Which values the next trial gets: the shipped defaults, then random, grid or Optuna's TPE."""

from __future__ import annotations

import json
import math
from typing import Literal

import numpy as np
import optuna
from optuna.trial import TrialState

from recbole_hlr.data.random import Stream, sequence_for
from recbole_hlr.errors import InputError
from recbole_hlr.search.journal import DONE, STOPPED, Trial
from recbole_hlr.search.space import Space, is_same

LARGEST_GRID = 10_000_000  # combinations, whose numbers are shuffled
TRIES = 1000  # random draws after which a space is taken to be used up
TPE_TRIES = 20  # draws after which TPE, which likes to come back to the best values, gives way to chance


class Suggestions:
    """Values by trial number, from 1; trial 1 has the defaults, of options that have one.

    What is suggested depends on `seed`, on the number and, for optuna, on the trials told so far, and
    on nothing else: a search that is resumed goes on as it would have.
    """

    def __init__(
        self,
        space: Space,
        algorithm: str,
        seed: int,
        samples: int,
        defaults: dict[str, object],
        larger_is_better: bool = True,
    ) -> None:
        self.space, self.algorithm, self.seed, self.defaults = space, algorithm, seed, defaults
        self._distributions = {d.key: d.distribution() for d in space}
        self._direction: Literal["maximize", "minimize"] = "maximize" if larger_is_better else "minimize"
        self._told: list[optuna.trial.FrozenTrial] = []
        self._grid = self._order_of_grid() if algorithm == "grid" else np.empty(0, dtype=np.int64)
        self.total = min(samples, 1 + len(self._grid)) if algorithm == "grid" else samples
        self._seen = {key_of(defaults)}

    def ask(self, number: int) -> dict[str, object] | None:
        """Return the values of trial `number`, or None where the search has no more."""
        if number > self.total:
            return None
        if number == 1:
            return self.defaults
        values: dict[str, object] | None
        if self.algorithm == "grid":
            values = self._combination(int(self._grid[number - 2]))
        elif self.algorithm == "optuna":
            values = self._tpe(number) or self._random(number)
        else:
            values = self._random(number)
        if values is not None:
            self._seen.add(key_of(values))
        return values

    def suggested(self, values: dict[str, object]) -> None:
        """Take note of values that were suggested before the search was resumed."""
        self._seen.add(key_of(values))

    def tell(self, trial: Trial) -> None:
        """Take an ended trial into account; a stopped one for as far as it came."""
        drawn = {d.key: d.encode(trial.values.get(d.key)) for d in self.space}
        if self.algorithm != "optuna" or trial.status not in (DONE, STOPPED):
            return
        if not trial.curve or any(value is None for value in drawn.values()):
            return  # the defaults may lie outside of the space
        self._told.append(
            optuna.trial.create_trial(
                state=TrialState.COMPLETE if trial.status == DONE else TrialState.PRUNED,
                params=drawn,
                distributions=self._distributions,
                value=trial.score,
                intermediate_values=dict(enumerate(trial.curve)),
            )
        )

    def _seed_of(self, number: int) -> int:
        return int(sequence_for(self.seed, Stream.SUGGESTIONS, number).generate_state(1)[0])

    def _draw(self, sampler: optuna.samplers.BaseSampler) -> dict[str, object]:
        study = optuna.create_study(direction=self._direction, sampler=sampler)
        study.add_trials(self._told)
        params = study.ask(self._distributions).params
        return {d.key: d.decode(params[d.key]) for d in self.space}

    def _tpe(self, number: int) -> dict[str, object] | None:
        return self._unseen(optuna.samplers.TPESampler(seed=self._seed_of(number)), TPE_TRIES)

    def _random(self, number: int) -> dict[str, object] | None:
        return self._unseen(optuna.samplers.RandomSampler(seed=self._seed_of(number)), TRIES)

    def _unseen(self, sampler: optuna.samplers.BaseSampler, tries: int) -> dict[str, object] | None:
        """Return values that were not suggested before: trials share a seed, the same would end the same."""
        draws = (self._draw(sampler) for _ in range(tries))
        return next((values for values in draws if key_of(values) not in self._seen), None)

    def _order_of_grid(self) -> np.ndarray:
        """Return the numbers of all combinations but the defaults, shuffled: any first part is fair."""
        for dimension in self.space:
            if math.isinf(dimension.count()):
                raise InputError(
                    f"{dimension.key}: {dimension.kind}: has no list of values, which algorithm=grid needs; "
                    "write choice or grid, or use --algorithm=random"
                )
        count = math.prod(int(dimension.count()) for dimension in self.space)
        if count > LARGEST_GRID:
            raise InputError(
                f"space: has {count} combinations, and algorithm=grid takes at most {LARGEST_GRID}; "
                "use --algorithm=random"
            )
        generator = np.random.default_rng(sequence_for(self.seed, Stream.GRID_ORDER, 0))
        left_out = self._numbers_of_defaults()
        order = generator.permutation(count - len(left_out))
        for number in left_out:  # in ascending order
            order[order >= number] += 1
        return order

    def _combination(self, number: int) -> dict[str, object]:
        """Return a combination by its number, the last option changing fastest."""
        values = {}
        for dimension in reversed(self.space):
            number, place = divmod(number, int(dimension.count()))
            values[dimension.key] = dimension.value(place)
        return {dimension.key: values[dimension.key] for dimension in self.space}

    def _numbers_of_defaults(self) -> list[int]:
        """Return the numbers of the combinations that are the defaults, which a list may repeat."""
        numbers = [0]
        for dimension in self.space:
            count, default = int(dimension.count()), self.defaults.get(dimension.key)
            places = [place for place in range(count) if is_same(dimension.value(place), default)]
            numbers = [number * count + place for number in numbers for place in places]
        return numbers


def default_algorithm(space: Space) -> str:
    """Return grid where every line of the space is one, else random."""
    return "grid" if all(dimension.kind == "grid" for dimension in space) else "random"


def key_of(values: dict[str, object]) -> str:
    """Return a text that is the same for the same values."""
    return json.dumps(values, sort_keys=True)
