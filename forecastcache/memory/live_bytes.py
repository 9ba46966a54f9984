"""LiveBytes: the most bytes of tensors that are alive at a time, with data or without."""

from __future__ import annotations

import weakref
from typing import Any

from torch import Tensor
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode


class LiveBytes(TorchDispatchMode):
    """Follows the memory of every tensor that an operation makes, until it is freed.

    What was made before counts nothing, nor do views of it, unless it is given to `follow`. An
    operation counts with its inputs and results; what a kernel takes for itself is not seen.

    Attributes:
        peak: most bytes that were alive at a time.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak = 0
        self._live = 0
        self._known: dict[int, weakref.ref[Any]] = {}  # by the address of the storage

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.follow(result, besides=(args, kwargs))
        return result

    def follow(self, tensors: Any, besides: Any = ()) -> None:
        """Follow tensors, however nested, but for views of others that are not followed."""
        others = _storages(besides)
        for address, storage in _storages(tensors).items():
            if address not in self._known and address not in others:
                self._follow(address, storage)
        self.peak = max(self.peak, self._live)

    def _follow(self, address: int, storage: Any) -> None:
        count = storage.nbytes()

        def freed(_: object) -> None:
            self._live -= count
            del self._known[address]

        self._live += count
        self._known[address] = weakref.ref(storage, freed)


def _storages(nest: Any) -> dict[int, Any]:
    tensors = (leaf for leaf in pytree.tree_leaves(nest) if isinstance(leaf, Tensor))
    storages = (tensor.untyped_storage() for tensor in tensors)
    return {storage._cdata: storage for storage in storages}
