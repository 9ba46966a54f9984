"""WithoutData: the context in which a model runs on tensors that have no data."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

from forecastcache.memory.autocast import Autocast
from forecastcache.memory.known_values import KnownValues, is_kept
from forecastcache.memory.shapes import map_tensors


class WithoutData:
    """Tensors of shapes and dtypes alone, and the context in which a model runs on them.

    Args:
        autocast: device of the call and its mixed precision, which fake tensors follow; None for
            the meta device, which is faster and knows no autocast, not even one switched off.
        answers: truth values of the first conditions that depend on data; of others it is True.
    """

    def __init__(self, autocast: Autocast | None = None, answers: Sequence[bool] = ()) -> None:
        self._autocast = autocast
        self._fake = None if autocast is None else FakeTensorMode(allow_non_fake_inputs=True)
        self._values = KnownValues(answers)

    @property
    def answered(self) -> tuple[bool, ...]:
        """The truth values that the model has asked for so far and that depend on data."""
        return tuple(self._values.answered)

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """The context in which a model runs."""
        with ExitStack() as stack:
            stack.enter_context(torch.no_grad())
            if self._autocast is not None and self._fake is not None:
                device, dtype = self._autocast
                stack.enter_context(_unlogged())
                stack.enter_context(self._fake)
                # torch counts no FLOPs of the fused attention that a CPU would take.
                stack.enter_context(sdpa_kernel(SDPBackend.MATH))
                stack.enter_context(torch.autocast(device, dtype, enabled=dtype is not None))
            stack.enter_context(self._values)
            stack.enter_context(_WholeSlices(self._values))
            yield

    def given(self, arguments: Any) -> Any:
        """The arguments of a call without data; values are known where they are kept."""
        return map_tensors(self.known, arguments)

    def known(self, tensor: Tensor) -> Tensor:
        """A tensor like one given, whose value is known if it is kept."""
        empty = self.like(tensor)
        # Copied, for the model may write to what it is given.
        return self._values.know(empty, tensor.cpu().clone()) if is_kept(tensor) else empty

    def like(self, tensor: Tensor) -> Tensor:
        """A tensor like one given, whose data is not read."""
        device = "meta" if self._autocast is None else self._autocast.device
        with self._fake or nullcontext():
            return torch.empty_strided(
                tensor.shape, tensor.stride(), dtype=tensor.dtype, device=device
            )


@contextmanager
def _unlogged() -> Iterator[None]:
    """Keep torch from logging an operation that fails, with a traceback: the error is reported."""
    logger = logging.getLogger("torch._subclasses.fake_tensor")

    def none(record: logging.LogRecord) -> bool:
        return False

    logger.addFilter(none)
    try:
        yield
    finally:
        logger.removeFilter(none)


class _WholeSlices(TorchFunctionMode):
    """Replaces the end of a slice that depends on data by its upper bound."""

    def __init__(self, values: KnownValues) -> None:
        super().__init__()
        self._values = values

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (Tensor.__getitem__, Tensor.__setitem__):
            args = (args[0], pytree.tree_map(self._whole_if_unknown, args[1]), *args[2:])
        return func(*args, **(kwargs or {}))

    def _whole_if_unknown(self, index: Any) -> Any:
        if not isinstance(index, slice) or not isinstance(index.stop, Tensor):
            return index
        return slice(index.start, None) if self._values.value(index.stop) is None else index
