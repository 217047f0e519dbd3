"""The device that a run computes on: its name, and the one that was asked for in vain."""

from __future__ import annotations

from collections.abc import Collection

import torch

from recbole_hlr.errors import InputError
from recbole_hlr.protocols import RunConfig


def describe_device(device: torch.device) -> str:
    """Return `cpu, 2 threads` or `cuda:0 (name)`."""
    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    threads = torch.get_num_threads()
    return f"{device}, {threads} thread{'s' * (threads > 1)}"


def refuse_missing_gpu(config: RunConfig, asked: Collection[str]) -> None:
    """Raise `InputError` where the user, who gave the options `asked`, wants a GPU and there is none.

    The default, a GPU where there is one, falls back to the CPU.
    """
    wanted = [key for key in ("gpu_id", "use_gpu") if key in asked]
    if wanted and config["use_gpu"] and config["gpu_id"] and config["device"].type == "cpu":
        key = wanted[0]
        raise InputError(
            f"{key}={config[key]}",
            "PyTorch finds no GPU here; leave it out, or give use_gpu=False",
            place=config.sources[key],
            option=key,
            value=config[key],
        )
