"""KnownValues: integers and booleans that keep their values where a model runs without data.

Masks, token numbers and positions decide how many tokens there are; other tensors hardly ever do.
"""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils.weak import WeakTensorKeyDictionary

MOST = 2**16  # elements of a tensor whose values are kept
aten = torch.ops.aten
INDEXING = {aten.index.Tensor, aten.index_put.default, aten.index_put_.default}
# Read nothing of a tensor but its shape.
LIKE = {
    aten.zeros_like,
    aten.ones_like,
    aten.full_like,
    aten.new_zeros,
    aten.new_ones,
    aten.new_full,
}


def is_kept(tensor: Tensor) -> bool:
    """Whether a dry run is to know the values of a tensor."""
    real = tensor.is_floating_point() or tensor.is_complex()
    return not real and not tensor.is_meta and tensor.numel() <= MOST


def has_no_data(tensor: Tensor) -> bool:
    """Whether a tensor is one of a dry run."""
    return tensor.is_meta or isinstance(tensor, FakeTensor)


class KnownValues(TorchDispatchMode):
    """Computes the result beside every operation without data whose inputs are all known.

    Args:
        answers: truth values of the first conditions that are not known; of others it is True.

    Attributes:
        answered: the truth values that the model has asked for so far and that are not known.
    """

    def __init__(self, answers: Sequence[bool] = ()) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.answered: list[bool] = []
        self._answers = answers
        self._values: MutableMapping[Tensor, Tensor] = WeakTensorKeyDictionary()

    def know(self, empty: Tensor, value: Tensor) -> Tensor:
        """A tensor without data, whose value is known from now on."""
        self._values[empty] = value
        return empty

    def value(self, tensor: Tensor) -> Tensor | None:
        """The value of a tensor on the CPU; None if it is not known."""
        if has_no_data(tensor):
            return self._values.get(tensor)
        return tensor if is_kept(tensor) and tensor.device.type == "cpu" else None

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is aten._local_scalar_dense.default:
            return self._scalar(func, args[0])
        given = [it for it in pytree.tree_leaves((args, kwargs)) if isinstance(it, Tensor)]
        shapes_do = func.overloadpacket in LIKE
        computable = torch.Tag.nondeterministic_seeded not in func.tags and (
            shapes_do or all(self.value(tensor) is not None for tensor in given)
        )
        if func in INDEXING:
            args = (args[0], self._as_numbers(args[1], args[0]), *args[2:])
        try:
            result = func(*args, **kwargs)
        except RuntimeError:  # its shape depends on data
            if computable and given:
                return self._emptied(self._compute(func, args, kwargs), given[0])
            if func is aten.nonzero.default:  # at most all of them
                return args[0].new_empty((args[0].numel(), args[0].ndim), dtype=torch.int64)
            raise
        if computable and all(map(_is_whole, pytree.tree_leaves(result))):
            self._know_all(result, self._compute(func, args, kwargs))
        elif func._schema.is_mutable:
            self._forget(_written(func, args, kwargs))
        return result

    def _scalar(self, func: Any, tensor: Tensor) -> Any:
        value = self.value(tensor)
        if value is not None:
            with _disable_current_modes():
                return value.item()
        if tensor.dtype is torch.bool:
            number = len(self.answered)
            self.answered.append(self._answers[number] if number < len(self._answers) else True)
            return self.answered[-1]
        return func(tensor)

    def _as_numbers(self, indices: Sequence[Tensor | None], indexed: Tensor) -> list[Any]:
        """Indices in which masks that are known have become the numbers that they let through."""
        found: list[Any] = []
        for index in indices:
            mask = None if index is None or index.dtype is not torch.bool else self.value(index)
            if mask is None:
                found.append(index)
                continue
            with _disable_current_modes():
                numbers = mask.nonzero().unbind(1)
            found += [self._emptied(each, indexed) for each in numbers]
        return found

    def _compute(self, func: Any, args: Any, kwargs: Any) -> Any:
        def real(it: Any) -> Any:
            if isinstance(it, torch.device):
                return torch.device("cpu")
            if not isinstance(it, Tensor):
                return it
            value = self.value(it)
            return torch.empty(it.shape, dtype=it.dtype, device="meta") if value is None else value

        with _disable_current_modes():
            args, kwargs = pytree.tree_map(real, (args, kwargs))
            if func.overloadpacket in LIKE:
                kwargs = {**kwargs, "device": "cpu"}
            return func(*args, **kwargs)

    def _emptied(self, results: Any, beside: Tensor) -> Any:
        def emptied(value: Tensor) -> Tensor:
            empty = beside.new_empty(value.shape, dtype=value.dtype)
            return self.know(empty, value) if is_kept(value) else empty

        return pytree.tree_map_only(Tensor, emptied, results)

    def _know_all(self, results: Any, values: Any) -> None:
        pairs = zip(pytree.tree_leaves(results), pytree.tree_leaves(values), strict=True)
        for result, value in pairs:
            if isinstance(result, Tensor) and has_no_data(result):
                self.know(result, value)

    def _forget(self, tensors: Sequence[Tensor]) -> None:
        """Forget the values of tensors, and of all that are views of the same memory."""
        storages = {
            value.untyped_storage().data_ptr()
            for value in map(self.value, tensors)
            if value is not None
        }
        for empty, value in list(self._values.items()):
            if value.untyped_storage().data_ptr() in storages:
                del self._values[empty]


def _written(func: Any, args: Any, kwargs: Any) -> list[Tensor]:
    """The tensors that an operation writes to, and not those that it only reads."""
    named = [*zip(func._schema.arguments, args)]
    named += [(it, kwargs[it.name]) for it in func._schema.arguments if it.name in kwargs]
    written = [value for it, value in named if it.alias_info and it.alias_info.is_write]
    return [leaf for leaf in pytree.tree_leaves(written) if isinstance(leaf, Tensor)]


def _is_whole(result: Any) -> bool:
    """Whether a result is no tensor of real numbers, and small."""
    if not isinstance(result, Tensor):
        return True
    return not result.is_floating_point() and not result.is_complex() and result.numel() <= MOST
