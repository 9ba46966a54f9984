"""History: the newest computed features at one site in one branch."""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from forecastcache._util.streamed_sum import sum_on
from forecastcache._util.weighted_sum import Terms, weighted_sum, weighted_sums
from forecastcache.errors import HistoryError
from forecastcache.step import Step


class Beside:
    """A tensor that a branch shows at every call, beside its features.

    Args:
        past: history that keeps it at the computed steps, of the features' depth.

    Attributes:
        now: the tensor of the call under way.
    """

    def __init__(self, past: History) -> None:
        self.past = past
        self.now: Tensor | None = None

    def keep(self, step: Step) -> None:
        """Add the tensor of the call under way, which was computed at `step`, to the past."""
        assert self.now is not None
        self.past.observe(step, self.now)


class History:
    """The newest `depth` computed features of one tensor, with their steps.

    One ring `(depth, *shape)` is allocated at the first feature; `observe` writes one slot
    and moves nothing else.

    Args:
        depth: number of features kept.
        dtype: storage dtype; None keeps the feature's own.
        device: device of the ring; None keeps the feature's own. `cpu` beside a CUDA feature
            is pinned.
        grid: layout of the image's tokens, (frames, height, width) or (height, width), row by
            row; None where the adapter does not tell.
        beside: what the branch shows beside its features, by what a predictor's `needs` call it.
    """

    def __init__(
        self,
        depth: int,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
        grid: tuple[int, ...] | None = None,
        beside: Mapping[str, Beside] | None = None,
    ) -> None:
        self.depth = depth
        self.grid = grid
        self._beside = beside or {}
        self._dtype = dtype
        self._device = torch.device(device) if device is not None else None
        self._ring: Tensor | None = None
        self._slots: tuple[Tensor, ...] = ()  # of the ring
        self._feature_dtype = torch.float32
        self._feature_device = torch.device("cpu")
        self._arrival: torch.cuda.Event | None = None  # of the newest feature in host memory
        self._steps: deque[Step] = deque(maxlen=depth)
        self._next = 0

    def __len__(self) -> int:
        return len(self._steps)

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps of the features, oldest first."""
        return tuple(self._steps)

    @property
    def features(self) -> tuple[Tensor, ...]:
        """The features as they are stored, oldest first."""
        if self._arrival is not None:
            self._arrival.synchronize()
        return tuple(self._slots[slot] for slot in self._order())

    def seen(self, need: str) -> tuple[tuple[Tensor, ...], Tensor]:
        """What the branch showed beside the features: at their steps, oldest first, and now.

        Args:
            need: `latent` or `first_block`, which the predictor's `needs` must hold.

        Raises:
            HistoryError: it was not shown.
        """
        seen = self._beside.get(need)
        if seen is None or seen.now is None or len(seen.past) < len(self):
            raise HistoryError(
                f"this history does not show {need}: add it to the predictor's `needs`, and "
                "forecast in a session"
            )
        return seen.past.features[-len(self) :], seen.now

    @property
    def nbytes(self) -> int:
        """Bytes that the ring holds."""
        return 0 if self._ring is None else self._ring.untyped_storage().nbytes()

    def observe(self, step: Step, feature: Tensor) -> None:
        """Keep `feature`, computed at `step`; the oldest gives way when the ring is full.

        Raises:
            HistoryError: the feature's shape is not that of the features kept.
        """
        if self._ring is None:
            self._ring = self._allocate(feature)
            self._slots = self._ring.unbind()
            self._feature_dtype, self._feature_device = feature.dtype, feature.device
        if feature.shape != self._ring.shape[1:]:
            raise HistoryError(
                f"a feature of shape {tuple(feature.shape)} came to a history of shape "
                f"{tuple(self._ring.shape[1:])}: start a fresh history for it"
            )
        if self._offloads:
            # Nobody waits here: sums on the device come behind the copy, `features` waits.
            self._slots[self._next].copy_(feature.detach(), non_blocking=True)
            self._arrival = torch.cuda.Event()
            self._arrival.record(torch.cuda.current_stream(self._feature_device))
        else:
            self._slots[self._next].copy_(feature.detach())
        self._next = (self._next + 1) % self.depth
        self._steps.append(step)

    def newest(self, count: int) -> History:
        """A view of the newest `count` features, of all if there are fewer; nothing is copied."""
        if count >= len(self):
            return self
        view = copy.copy(self)
        view._steps = deque(self.steps[-count:])
        return view

    @property
    def version(self) -> int:
        """How often the ring was written to, in place and through views too."""
        return -1 if self._ring is None else self._ring._version

    def accept(self, forecast: object, predictor: object) -> Tensor:
        """A forecast made from this history, in the features' dtype and on their device.

        Args:
            forecast: what `predictor` returned; it may have the dtype and device of storage.
            predictor: for the error.

        Raises:
            HistoryError: the forecast is no tensor of the features' shape, dtype and device, or
                it shares memory with the history.
        """
        assert self._ring is not None
        shape, dtype, device = self._ring.shape[1:], self._feature_dtype, self._feature_device
        if (
            not isinstance(forecast, Tensor)
            or forecast.shape != shape
            or forecast.dtype not in (dtype, self._ring.dtype)
            or forecast.device not in (device, self._ring.device)
        ):
            raise HistoryError(
                f"{predictor} forecast {_described(forecast)}, where features are "
                f"{_kind(shape, dtype, device)}: return a tensor like them"
            )
        if forecast.untyped_storage().data_ptr() == self._ring.untyped_storage().data_ptr():
            raise HistoryError(
                f"{predictor} handed out a part of its history, which whoever gets it may write "
                "to: return a copy, as history.features[-1].clone()"
            )
        return forecast.to(device, dtype)

    def combine(self, row: Sequence[float] | np.ndarray) -> Tensor:
        """The features' weighted sum, each read once.

        Accumulates in float32, or in the storage dtype where that is wider.

        Args:
            row: one weight a feature, oldest first; a feature of weight 0 is not read.

        Returns:
            Tensor of the feature's shape, dtype and device.

        Raises:
            HistoryError: the row has not one weight a feature.
        """
        terms = self._terms(row)
        if not terms:
            shape, dtype = self._slots[0].shape, self._feature_dtype
            return torch.zeros(shape, dtype=dtype, device=self._feature_device)
        if terms[0][1].device != self._feature_device:
            return sum_on(self._feature_device, terms, self._feature_dtype)
        return weighted_sum(terms, self._feature_dtype)

    @property
    def _offloads(self) -> bool:
        """Whether features come from a CUDA device to pinned memory."""
        return self._feature_device.type == "cuda" and self._slots[0].device.type == "cpu"

    def _terms(self, row: Sequence[float] | np.ndarray) -> Terms:
        """The features with their weights, without those of weight 0."""
        # A list is as fast as it gets at a forecast step; an array may be of any shape.
        shape = row.shape if isinstance(row, np.ndarray) else (len(row),)
        if self._ring is None or shape != (len(self._steps),):
            raise HistoryError(
                f"a row of shape {shape} came to a history of {len(self)} features: "
                "give one weight a feature, oldest first"
            )
        weights = row.tolist() if isinstance(row, np.ndarray) else row
        return [(w, self._slots[slot]) for w, slot in zip(weights, self._order()) if w != 0]

    def _is_summed_with(self, other: History) -> bool:
        """Whether one launch can make sums of both."""
        a, b = self._slots[0], other._slots[0]
        return (
            a.device == b.device == self._feature_device == other._feature_device
            and a.dtype == b.dtype
            and self._feature_dtype == other._feature_dtype
        )

    def _order(self) -> list[int]:
        """The slots of the features, oldest first."""
        oldest = self._next - len(self._steps)
        return [(oldest + i) % self.depth for i in range(len(self._steps))]

    def _allocate(self, feature: Tensor) -> Tensor:
        device = self._device or feature.device
        # A ring made in inference mode could not be written outside it later on.
        with torch.inference_mode(False):
            return torch.empty(
                (self.depth, *feature.shape),
                dtype=self._dtype or feature.dtype,
                device=device,
                pin_memory=device.type == "cpu" and feature.device.type == "cuda",
            )


def combine_all(histories: Sequence[History], row: Sequence[float]) -> list[Tensor]:
    """What `combine` gives for each history; for histories of one kind in few launches.

    Raises:
        HistoryError: the row has not one weight a feature of each history.
    """
    first, *others = histories
    if others and any(row) and all(each._is_summed_with(first) for each in others):
        return weighted_sums([each._terms(row) for each in histories], first._feature_dtype)
    return [history.combine(row) for history in histories]


def same_values(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors are alike in shape, dtype, device and every value."""
    if a is b:
        return True
    alike = (a.shape, a.dtype, a.device) == (b.shape, b.dtype, b.device)
    return alike and torch.equal(a, b)


def is_feature(leaf: object) -> bool:
    """Whether something that a module returns can be forecast: a tensor of real numbers."""
    return isinstance(leaf, Tensor) and leaf.is_floating_point()


def _described(forecast: object) -> str:
    if isinstance(forecast, Tensor):
        return _kind(forecast.shape, forecast.dtype, forecast.device)
    return f"{type(forecast).__name__}, no tensor"


def _kind(shape: torch.Size, dtype: torch.dtype, device: torch.device) -> str:
    return f"{tuple(shape)} of {dtype} on {device}"
