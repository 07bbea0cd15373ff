"""In which precision the arithmetic of training is done."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import partial
from typing import Literal

import torch
from torch import nn

Arithmetic = Literal["32-true", "bf16-mixed"]
"""As lightning names it."""


def choose_arithmetic(precision: Literal["auto", "float32", "bfloat16"], accelerator: str) -> Arithmetic:
    """What an option of training comes to here; auto: bfloat16 where the machine computes in it."""
    if precision != "auto":
        return "bf16-mixed" if precision == "bfloat16" else "32-true"
    if accelerator != "cpu" and torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "32-true"
    return "bf16-mixed" if _computes_in_bfloat16() else "32-true"


def _computes_in_bfloat16() -> bool:
    """Whether the processor has instructions for it; without them it is many times slower than float32."""
    wanted = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, name, bool)() for name in wanted)


@contextlib.contextmanager
def depthwise_in_float32(network: nn.Module) -> Iterator[None]:
    """Depthwise convolutions stay in float32 within, whatever autocast does with the rest.

    Going back through them in bfloat16 a processor takes five to a hundred times as long (torch 2.9 with
    oneDNN: 99 ms in place of 10 for 96 channels of 160 × 160 pixels), more than the rest of a step gains.
    """
    depthwise = [m for m in network.modules() if isinstance(m, nn.Conv2d) and m.groups > 1]
    for module in depthwise:
        module.forward = partial(_in_float32, module)  # which other processes can be handed, unlike a closure
    try:
        yield
    finally:
        for module in depthwise:
            del module.forward


def _in_float32(module: nn.Module, input: torch.Tensor) -> torch.Tensor:
    with torch.autocast(input.device.type, enabled=False):
        return type(module).forward(module, input.float())
