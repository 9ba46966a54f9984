"""Times: what the calls of a run tell the model, known without waiting for the device."""

from __future__ import annotations

from math import isnan
from typing import Any

import torch
from torch import Tensor

from forecastcache.errors import AttachError

TRAINED = 1000  # times of training, where a scheduler does not say
NAN = "look at the sigmas or timesteps that the pipeline was asked for"


def read_time(given: Any) -> float:
    """The time that a call gives, a tensor or a number; of a tensor this waits for its device.

    Where tokens have times of their own, those of given frames are 0: the largest is the step's.

    Raises:
        AttachError: it is NaN, or no number.
    """
    try:
        time = float(given if isinstance(given, (int, float)) else torch.as_tensor(given).max())
    except (TypeError, ValueError, RuntimeError) as error:
        found = repr(given)
        if isinstance(given, Tensor):
            found = f"a tensor {tuple(given.shape)} of {given.dtype}"
        raise AttachError(
            f"a step cannot be placed by its time, {found:.80}: give the model a number, or a "
            "tensor of the times of tokens or frames"
        ) from error
    if isnan(time):
        raise AttachError(f"the model was given a time that is NaN: {NAN}")
    return time


def own_times(given: Any) -> Tensor | None:
    """The times of a call in which tokens or frames may differ; None where all share one."""
    if not isinstance(given, Tensor) or given.numel() == 1:
        return None
    shared = all(stride == 0 or size == 1 for size, stride in zip(given.shape, given.stride()))
    return None if shared else given


def telling_time(run: Tensor | None, given: Any) -> Any:
    """The time that tells the step, of those that a call gives.

    A model that denoises an image and a text takes a time for each; one of them may stand still,
    at 0 where it is given, or at its end where it is left out.

    Args:
        run: the scheduler's times, shape `(steps,)`.
        given: a time, or a tuple of several.

    Returns:
        The first that shares the memory of the scheduler's times; else all of them in one tensor,
        like the times of tokens.
    """
    if not isinstance(given, tuple):
        return given
    if len(given) == 1:
        return given[0]
    own = next((time for time in given if place_in(run, time) is not None), None)
    if own is not None:
        return own
    tensors = [time for time in given if isinstance(time, Tensor)]
    device = tensors[0].device if tensors else None
    return torch.cat([torch.as_tensor(time, device=device).flatten() for time in given])


def times_moved(before: Any, given: Any) -> bool:
    """Whether tokens that have times of their own were told others before.

    Waits for the device, but for a tensor that is the very one of before.
    """
    one, other = own_times(before), own_times(given)
    if one is None or other is None or one is other or one.shape != other.shape:
        return False
    return not torch.equal(one, other.to(one))


def place_in(run: Tensor | None, given: Any) -> int | None:
    """The place of a time among those of a run whose memory it shares; None if it has its own.

    Args:
        run: the scheduler's times, shape `(steps,)`.
        given: time of a call: an element of `run` or a view that repeats one, as pipelines make.
    """
    if run is None or not isinstance(given, Tensor) or given.dtype != run.dtype:
        return None
    if own_times(given) is not None or run.stride(0) == 0:
        return None
    if given.untyped_storage().data_ptr() != run.untyped_storage().data_ptr():
        return None
    return (given.storage_offset() - run.storage_offset()) // run.stride(0)


class RunTimes:
    """The scheduler's times of one run, copied to the host once.

    Pipelines tell their models these times, or their part of the times of training, t / 1000, or
    what is left of that to 1. The first call of a run shows which, or one behind it: at 500 of
    1000 the last two are the same.

    Args:
        run: the scheduler's times, shape `(steps,)`.
        scheduler: scheduler of diffusers.

    Attributes:
        begin: place of the first step: image-to-image leaves out the first ones.

    Raises:
        AttachError: one of the times is NaN.
    """

    def __init__(self, run: Tensor, scheduler: Any) -> None:
        trained = getattr(scheduler, "config", {}).get("num_train_timesteps") or TRAINED
        own = run.detach().cpu()
        forms = own, own / trained, 1 - own / trained
        self._own: list[float] = own.tolist()
        self.begin = 0
        if any(map(isnan, self._own)):
            raise AttachError(f"{type(scheduler).__name__} gives a time that is NaN: {NAN}")
        self._forms: list[list[float]] = [form.tolist() for form in forms]

    def __len__(self) -> int:
        return len(self._own)

    def places(self, time: float) -> list[int]:
        """Where the scheduler has this very time."""
        return [i for i, own in enumerate(self._own) if own == time]

    def place(self, index: int) -> int | None:
        """Where a step of the trajectory stands; None past the end."""
        place = self.begin + index
        return place if place < len(self) else None

    def narrow(self, index: int, time: float, given: Any) -> None:
        """Keep those forms in which the call of a step, which gave `time`, may have come."""
        exact = not isinstance(given, Tensor) or not given.is_floating_point()
        near = 2 * torch.finfo(torch.float32 if exact else given.dtype).eps * max(1.0, time)
        place = self.place(index)
        self._forms = [
            form for form in self._forms if place is not None and abs(form[place] - time) <= near
        ]

    def forget(self) -> None:
        """Tell no times any more: they are to be read."""
        self._forms = []

    def told(self, index: int) -> float | None:
        """The time of a step, before it is rounded to the model's dtype.

        None where it is not known yet in which form, or in none of them.
        """
        place = self.place(index)
        return None if place is None or len(self._forms) != 1 else self._forms[0][place]
