"""Budget: whether a planned cache fits into the bytes allowed, and what would."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from forecastcache.errors import BudgetError
from forecastcache.granularity import Granularity
from forecastcache.memory.dry_run import DryRun

UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
UNITS |= {"kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}


def parse_budget(budget: int | str | None) -> int | None:
    """Bytes, from a number or from text such as `500 MB` or `2 GiB`; None stays None.

    Raises:
        BudgetError: it is no number of bytes above 0.
    """
    if budget is None:
        return None
    text = str(budget).strip().lower()
    number = text.rstrip("bikmgt ")
    try:
        count = int(float(number) * UNITS[text[len(number) :].strip()])
    except (ValueError, KeyError, OverflowError):
        count = 0
    if count <= 0:
        raise BudgetError(
            f"budget={budget!r} is no number of bytes above 0: write such as 2 * 2**30 or '2 GiB'"
        )
    return count


def require_budget(
    budget: int,
    dry_runs_at: Callable[[Granularity], Sequence[DryRun]],
    granularities: Sequence[Granularity],
    site: Granularity,
    depth: int,
    dtype: torch.dtype | None,
) -> None:
    """Go on if histories of `depth` features at `site`, of every branch, fit into the budget.

    Raises:
        BudgetError: they do not; it names the sites and depths that would.
    """
    branches = dry_runs_at(site)
    planned = _bytes(branches, depth, dtype)
    if planned <= budget:
        return
    deepest = {other: budget // _bytes(dry_runs_at(other), 1, dtype) for other in granularities}
    fitting = [f"site={other!r} up to depth {most}" for other, most in deepest.items() if most]
    raise BudgetError(
        f"histories of depth {depth} at site={site!r} are planned at {in_mebibytes(planned)} for "
        f"{len(branches)} branch{'es' * (len(branches) > 1)}, over the budget of "
        f"{in_mebibytes(budget)}: "
        + ("these fit: " + ", ".join(fitting) if fitting else "none fits, raise the budget")
    )


def _bytes(branches: Sequence[DryRun], depth: int, dtype: torch.dtype | None) -> int:
    return sum(branch.planned_bytes(depth, dtype) for branch in branches)


def in_mebibytes(count: int) -> str:
    """Bytes as people read them: `5,819 MiB`, and `6,144 bytes` for less than 10 MiB."""
    return f"{count / 2**20:,.0f} MiB" if count >= 10 * 2**20 else f"{count:,} bytes"
