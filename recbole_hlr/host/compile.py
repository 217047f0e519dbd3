"""`torch.compile` where it pays, and a way back where it cannot run."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Generic, Literal, ParamSpec, TypeVar

import torch

P = ParamSpec("P")
T = TypeVar("T")
log = logging.getLogger("recbole_hlr")
Mode = Literal["auto", "on", "off"]
WORTH_FLOPS = 2e12  # about a minute of two CPU cores; compilation takes up to half of that


class Compiled(Generic[P, T]):
    """A compiled function; without a working compiler, the function itself and one line of notice."""

    def __init__(self, function: Callable[P, T]) -> None:
        self.function = function
        self._compiled: Callable[P, T] = torch.compile(function)
        self._works = True

    def __call__(self, *arguments: P.args, **named: P.kwargs) -> T:
        """Call the compiled function; the plain one from the first failure to compile on."""
        if not self._works:
            return self.function(*arguments, **named)
        from torch._dynamo.exc import TorchDynamoException

        try:
            return self._compiled(*arguments, **named)
        except TorchDynamoException as error:
            self._works = False
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            log.warning("compile: not possible here, going on without (%s)", reason)
            return self.function(*arguments, **named)


def compiled(function: Callable[P, T], mode: Mode, flops: float, device: torch.device) -> Callable[P, T]:
    """Return `function`, compiled or not.

    `auto` compiles what does `flops` operations in an epoch, or in one ranking of all users, when
    that is worth the compiler's time; on a GPU, where launches are the cost, always. The decision
    depends on model and data alone, so that a resumed run takes the same.
    """
    pays = device.type == "cuda" or flops >= WORTH_FLOPS
    return Compiled(function) if mode == "on" or (mode == "auto" and pays) else function
