"""Share: the samples of a request that one of several processes makes."""

from __future__ import annotations

from typing import Any

from forecastcache.errors import RequestError
from forecastcache.sampling.request import Request


def share(request: Request, pipe: Any, rank: int, size: int) -> Request:
    """The samples of one process: neighbours, as many as any other's or one more.

    Args:
        request: the samples of all processes.
        pipe: the pipeline that is asked for them.
        rank: rank of the process.
        size: number of processes.

    Raises:
        RequestError: there are fewer samples than processes.
    """
    if size == 1:
        return request
    every = request.split(pipe, 1)
    if len(every) < size:
        raise RequestError(
            f"{size} processes cannot share {len(every)} samples: start fewer, or ask for more"
        )
    first, last = (len(every) * each // size for each in (rank, rank + 1))
    return Request.joined(every[first:last])
