"""Host reads: what would have the host wait for a GPU, counted where there is none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

# Numbers that the host reads, and sizes that depend on data.
OPERATIONS = {"_local_scalar_dense", "equal", "nonzero", "masked_select", "_unique2"}
COPIES = {Tensor.cpu, Tensor.numpy}  # on CPUs these dispatch nothing


@contextmanager
def host_reads() -> Iterator[Callable[[], int]]:
    """A context that counts reads; what it gives tells how many there were so far."""
    operations = _Operations()  # type: ignore[no-untyped-call]
    copies = _Copies()
    with operations, copies:
        yield lambda: operations.count + copies.count


class _Operations(TorchDispatchMode):
    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func.overloadpacket.__name__ in OPERATIONS
        return func(*args, **(kwargs or {}))


class _Copies(TorchFunctionMode):
    count = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func in COPIES
        return func(*args, **(kwargs or {}))
