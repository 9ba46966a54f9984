"""Guidance: the guidance scales that requests ask for, where they ask for several."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from forecastcache.calibration.identity import as_seen
from forecastcache.calibration.recording import Recording
from forecastcache.calibration.scales import scales_in_words
from forecastcache.engine.attach import denoisers
from forecastcache.errors import CalibrationError
from forecastcache.sampling.request import Request

ARGUMENTS = {"guidance_scale", "guidance_scale_2", "true_cfg_scale"}


def scales_of(pipe: Any, requests: Sequence[Request]) -> tuple[float, ...]:
    """The guidance scale of each request; none where all ask for the same.

    Raises:
        CalibrationError: rows could not be mixed by the scale, for the model is told it and runs
            do not show it, two models have a scale each, or the requests differ in something else
            too.
    """
    asked = [request.guidance(pipe) for request in requests]
    if len({*asked}) == 1:
        _require_nothing_beside(pipe, requests)
        return ()
    scales = [scale for scale in asked if scale is not None]
    if len(scales) < len(asked):
        raise CalibrationError(
            f"some requests are of guidance {scales_in_words(scales)}, others of the "
            "pipeline's own: give every request its guidance_scale"
        )
    _require_outside(pipe, scales)
    _require_alone(requests)
    twice = next((it for it in scales if [*map(as_seen, scales)].count(as_seen(it)) > 1), None)
    if twice is not None:
        raise CalibrationError(
            f"several requests are of guidance {twice:g} (up to 1 there is none): put all prompts "
            "of one scale into one request"
        )
    return tuple(scales)


def require_seen(pipe: Any, recordings: Sequence[Recording], scales: Sequence[float]) -> None:
    """Refuse scales by which the pipeline combined nothing in its plain runs.

    Raises:
        CalibrationError: naming one.
    """
    for recording, scale in zip(recordings, scales):
        if as_seen(scale) > 1 and not recording.guided_outside:
            raise CalibrationError(
                f"guidance {scale:g} is asked for, but {type(pipe).__name__} hands on what its "
                "model returns: rows do not depend on it; calibrate at one guidance scale"
            )


def _require_nothing_beside(pipe: Any, requests: Sequence[Request]) -> None:
    """Refuse true guidance that differs where the model is told another one as well."""
    called = [request.arguments(pipe) for request in requests]
    names = [name for name in sorted(ARGUMENTS) if len({it.get(name) for it in called}) > 1]
    if names:
        raise CalibrationError(
            f"the requests differ in {names[0]}, by which rows of {type(pipe).__name__} are not "
            "mixed: give all of them the same"
        )


def _require_outside(pipe: Any, scales: Sequence[float]) -> None:
    (model, *others), _ = denoisers(pipe)
    if others:
        raise CalibrationError(
            f"guidance {scales_in_words(scales)} is asked for, but {type(pipe).__name__} has two "
            "models with a scale each, by which rows are not mixed: calibrate at one scale of each"
        )
    if getattr(model, "config", {}).get("guidance_embeds"):
        raise CalibrationError(
            f"guidance {scales_in_words(scales)} is asked for, but {type(model).__name__} is told "
            "it itself: it is not seen in a run, and rows hardly depend on it (measured from 1 to "
            "7); calibrate at one guidance scale"
        )


def _require_alone(requests: Sequence[Request]) -> None:
    first, *others = (
        {name: value for name, value in it.call.items() if name not in ARGUMENTS}
        for it in requests
    )
    for other in others:
        names = {name for name in {*first, *other} if first.get(name) != other.get(name)}
        if names:
            raise CalibrationError(
                f"the requests differ in guidance and in {', '.join(sorted(names))}: calibrate at "
                "several guidance scales or at several sizes, not both"
            )
