"""Models that diffusers shares among processes, by their tokens or by their weights.

Context parallelism puts hooks on a few modules: some cut what a module is given, so that each
process has a shard of the tokens, and one gathers the output. Tensor parallelism leaves the tokens
whole. Nothing here communicates but `agreed`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import distributed, nn

PARALLEL = "_parallel_config"  # of a model in diffusers that is shared among processes
CUTS, GATHERS = "cp_input", "cp_output"  # what the hooks' names begin with


def shares_tokens(model: nn.Module) -> bool:
    """Whether several processes have a shard of the model's tokens each."""
    return _part(model, "context_parallel_config") is not None


def parallel_hooks(module: nn.Module) -> Iterator[tuple[str, Any]]:
    """The hooks of context parallelism on one module, by name."""
    hooks = getattr(module, "_diffusers_hook", None)
    for name, hook in () if hooks is None else hooks.hooks.items():
        if name.startswith((CUTS, GATHERS)):
            yield name, hook


def shard_of(module: nn.Module, args: Any, kwargs: Any) -> tuple[Any, Any]:
    """The arguments that a module's own forward gets of these: its process's shard."""
    for name, hook in parallel_hooks(module):
        if name.startswith(CUTS):
            args, kwargs = hook.pre_forward(module, *args, **kwargs)
    return args, kwargs


def agreed(model: nn.Module, wanted: bool, device: torch.device) -> bool:
    """Whether any of the processes that share the model wants it: all of them get one answer."""
    context = _part(model, "context_parallel_config")
    tensor = _part(model, "tensor_parallel_config")
    if context is not None:
        mesh = context._flattened_mesh
    elif tensor is not None:
        mesh = tensor._mesh
    else:
        return wanted
    vote = torch.tensor(int(wanted), device=device)
    distributed.all_reduce(vote, distributed.ReduceOp.MAX, group=mesh.get_group())
    return bool(vote)


def _part(model: nn.Module, name: str) -> Any:
    return getattr(getattr(model, PARALLEL, None), name, None)
