"""The node: it puts two wrappers on a copy of a MODEL, and nothing on the model itself."""

from __future__ import annotations

from typing import Any

from forecastcache.errors import OptionError
from forecastcache.predictor import Predictor
from forecastcache.schedule import Schedule
from forecastcache.spec import parse_predictor, parse_schedule

from .sampling import KEY, SamplingRun


class ForecastCache:
    """MODEL in, MODEL out: steps that the schedule leaves out are forecast."""

    CATEGORY = "model/forecastcache"
    RETURN_TYPES = ("MODEL",)
    FUNCTION = "forecast"
    DESCRIPTION = (
        "Computes some steps of the sampler and forecasts the model's output at the others. "
        "`forecastcache list` on the command line has all schedules and predictors."
    )

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        """The inputs, as ComfyUI asks for them."""
        return {
            "required": {
                "model": ("MODEL",),
                "schedule": ("STRING", {"default": "every:4,first=3"}),
                "predictor": ("STRING", {"default": "taylor:order=1"}),
                "enabled": ("BOOLEAN", {"default": True}),
            }
        }

    def forecast(self, model: Any, schedule: str, predictor: str, enabled: bool) -> tuple[Any]:
        """A copy of the model whose sampling runs are forecast.

        Raises:
            ForecastCacheError: a text names nothing that is known, or what needs to look into the
                model, which is not done here.
        """
        from comfy.patcher_extension import WrappersMP

        how = parse_schedule(schedule), parse_predictor(predictor)
        _require_served(*how)
        patched = model.clone()
        for kind in (WrappersMP.OUTER_SAMPLE, WrappersMP.APPLY_MODEL):
            patched.remove_wrappers_with_key(kind, KEY)  # of such a node before this one
        if enabled:
            wrapped = _outer_sample_by(*how)
            patched.add_wrapper_with_key(WrappersMP.OUTER_SAMPLE, KEY, wrapped)
            patched.add_wrapper_with_key(WrappersMP.APPLY_MODEL, KEY, _apply_model)
        return (patched,)


def _require_served(schedule: Schedule, predictor: Predictor) -> None:
    if type(schedule).computed is Schedule.computed:
        raise OptionError(
            f"{schedule} decides as it runs, which this node does not serve: write such as every:4"
        )
    if predictor.needs:
        needs = " and ".join(sorted(predictor.needs))
        raise OptionError(
            f"{predictor} needs {needs}, which ComfyUI does not show here: write such as taylor:1"
        )


def _outer_sample_by(schedule: Schedule, predictor: Predictor) -> Any:
    def outer_sample(executor: Any, *args: Any, **kwargs: Any) -> Any:
        """One run of a sampler: what it holds lives as long as this call."""
        _noise, _latent, _sampler, sigmas = args[:4]
        options = executor.class_obj.model_options.setdefault("transformer_options", {})
        run = options[KEY] = SamplingRun(schedule, predictor, sigmas.tolist())
        try:
            return executor(*args, **kwargs)
        finally:
            del options[KEY]
            run.end()

    return outer_sample


def _apply_model(executor: Any, x: Any, sigma: Any, *args: Any, **kwargs: Any) -> Any:
    """One call of the model, for one condition or several in a batch."""
    options = kwargs.get("transformer_options") or (args[3] if len(args) > 3 else {})
    run: SamplingRun | None = options.get(KEY)

    def compute() -> Any:
        return executor(x, sigma, *args, **kwargs)

    return compute() if run is None else run.call(compute, x, sigma, options)


NODE_CLASS_MAPPINGS = {"ForecastCache": ForecastCache}
NODE_DISPLAY_NAME_MAPPINGS = {"ForecastCache": "ForecastCache"}
