"""What is told of samples or of their tokens, in the shape of a feature."""

from __future__ import annotations

from torch import Tensor

from forecastcache.errors import HistoryError


def by_sample(values: Tensor, feature: Tensor) -> Tensor:
    """Values of each sample `(batch,)`, or of each of its tokens `(batch, tokens)`, spread.

    Values of tokens that are not the feature's must have been joined to values of samples before.

    Args:
        values: what is told.
        feature: tensor `(batch, ...)` or `(batch, tokens, ...)`.

    Returns:
        Tensor that multiplies the feature, on its device.

    Raises:
        HistoryError: the feature has another batch.
    """
    if feature.shape[:1] != values.shape[:1]:
        raise HistoryError(
            f"a feature of shape {tuple(feature.shape)} is not of the {len(values)} samples that "
            "the first block has: use a site whose features have the batch first"
        )
    return values.to(feature.device).reshape(*values.shape, *[1] * (feature.ndim - values.ndim))
