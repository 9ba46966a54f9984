"""Arguments of the command line as the objects that they stand for."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from pathlib import Path
from typing import Any

from forecastcache.bounds import require_at_most, shortened, whole_number
from forecastcache.cli.prompts import Prompt, read_prompts, require_said_once
from forecastcache.errors import OptionError, UnknownNameError
from forecastcache.granularity import Granularity, as_site
from forecastcache.predictor import Predictor
from forecastcache.schedule import Every, Schedule
from forecastcache.spec import assignment, build, once, parse_predictor, parse_schedule
from forecastcache.step import Step

# Arguments of a pipeline's call that options of the same names give.
FURTHER = ("negative_prompt", "guidance_scale_2")


def choose(option: str, value: str, known: dict[str, Any]) -> Any:
    """What `value` stands for."""
    if value not in known:
        raise UnknownNameError(f"--{option} {value} is not known: write one of {', '.join(known)}")
    return known[value]


def predictor_from(spec: str, order: int | None, settings: Sequence[str]) -> Predictor:
    """The predictor of `spec`, a name alone or with options, and of options set beside it."""
    shorthand = [] if order is None else [("order", order)]
    options = once([*map(assignment, settings), *shorthand])
    if ":" not in spec:
        return build(spec, options)
    if options:
        raise OptionError(f"{spec} sets its options itself: leave out --order and --set")
    return parse_predictor(spec)


def schedule_from(spec: str | None, interval: int | None, first: int | None) -> Schedule:
    """The schedule of `--schedule`, else of `--interval` and `--first`."""
    if spec is None:
        given = {"interval": 5 if interval is None else interval, "first": first}
        return Every(**{name: value for name, value in given.items() if value is not None})
    if interval is not None or first is not None:
        raise OptionError("--schedule says which steps: leave out --interval and --first")
    return parse_schedule(spec)


def site_from(text: str) -> Granularity:
    """The site of `--site`."""
    try:
        return as_site(text)
    except OptionError as error:
        raise OptionError(f"--site {error}") from None


def steps_from(option: str, text: str) -> list[int]:
    """Step indices listed with commas."""
    parts = text.split(",")
    if not all(part.strip().isdecimal() for part in parts):
        raise OptionError(
            f"{option} {shortened(text)} is no list of steps: write such as 0,1,2,8,20"
        )
    return [whole_number("steps", part, option) for part in parts]


def numbers_from(option: str, text: str | None) -> list[int]:
    """Numbers of steps from `3..8` or `3,5,7`; none from None."""
    if text is None:
        return []
    first, dots, last = text.partition("..")
    parts = [first, last] if dots else text.split(",")
    if not all(part.strip().isdecimal() for part in parts):
        raise OptionError(f"--{option} {shortened(text)} is none: write 3..8 or 3,5,7")
    numbers = [whole_number("steps", part, f"--{option}", least=1) for part in parts]
    if dots and numbers[1] < numbers[0]:
        raise OptionError(f"--{option} {text} holds no number: write the smaller one first")
    listed = list(range(numbers[0], numbers[1] + 1)) if dots else numbers
    require_at_most("rows", len(listed), f"--{option} {shortened(text)}")
    return listed


def with_times(indices: Sequence[int], times: str | None) -> list[Step]:
    """The steps of these indices, at the times listed with commas if any are."""
    if times is None:
        return [Step(index, float("nan")) for index in indices]
    try:
        listed = [float(part) for part in times.split(",")]
    except ValueError:
        listed = []
    if len(listed) != len(indices) or not all(map(isfinite, listed)):
        raise OptionError(
            f"--times {times} is no list of {len(indices)} finite numbers: give one for each "
            "computed step and one for the target"
        )
    return [Step(index, time) for index, time in zip(indices, listed)]


def requests_fields(
    steps: int,
    seed: int | None,
    count: int | None,
    classes: str | None,
    prompts: Path | None,
    guidance_scales: Sequence[float],
    sizes: Sequence[str] = (),
    usual_seed: int = 0,
    further: Sequence[Any] = (),
) -> list[dict[str, Any]]:
    """The fields of a `Request`, from options of the same names, for each size or scale asked for.

    Prompts that are to be called alike go into one request. `further` are the values of `FURTHER`,
    None where they are not given.

    Raises:
        OptionError: two options, or an option and a line of the prompts, say different things.
    """
    if classes and prompts:
        raise OptionError("--classes and --prompts both say what to make: leave one out")
    _require_different("--size", sizes)
    _require_different("--guidance-scale", [f"{scale:g}" for scale in guidance_scales])
    if len(sizes) > 1 and len(guidance_scales) > 1:
        raise OptionError(
            "--size and --guidance-scale are both given several times: calibrate at several sizes "
            "or at several guidance scales, not both"
        )
    lines = read_prompts(prompts) if prompts else []
    given = {name: value for name, value in zip(FURTHER, further) if value is not None}
    options = {"--size": sizes, "--seed": seed, "--guidance-scale": guidance_scales}
    options |= {f"--{name.replace('_', '-')}": value for name, value in given.items()}
    require_said_once(lines, options)
    common: dict[str, Any] = {
        "steps": steps,
        "seed": usual_seed if seed is None else seed,
        "count": count,
        "classes": [name.strip() for name in classes.split(",")] if classes else (),
    }
    calls = [_size(text) for text in sizes] or [{}]
    scales = guidance_scales or (None,)
    return [
        {**common, **asked, "call": {**asked["call"], **given, **call}, "guidance_scale": scale}
        for asked in (_alike(lines) if lines else [{"call": {}}])
        for call in calls
        for scale in scales
    ]


def request_fields(
    steps: int,
    seed: int | None,
    count: int | None,
    classes: str | None,
    prompts: Path | None,
    guidance_scale: float | None,
    size: str | None = None,
    further: Sequence[Any] = (),
) -> dict[str, Any]:
    """The fields of the one `Request` that all prompts make together."""
    sizes = [size] if size else []
    scales = [] if guidance_scale is None else [guidance_scale]
    fields, *others = requests_fields(
        steps, seed, count, classes, prompts, scales, sizes, further=further
    )
    if others:
        raise OptionError(
            f"--prompts {prompts} asks for {1 + len(others)} kinds of call, and one can be had "
            "here: give every line the same arguments"
        )
    return fields


def _alike(prompts: Sequence[Prompt]) -> list[dict[str, Any]]:
    groups: dict[str, list[Prompt]] = {}
    for prompt in prompts:
        groups.setdefault(repr(sorted(prompt.call.items())), []).append(prompt)
    return [
        {
            "prompts": tuple(prompt.text for prompt in group),
            "seeds": tuple(prompt.seed for prompt in group if prompt.seed is not None),
            "call": group[0].call,
        }
        for group in groups.values()
    ]


def _require_different(option: str, given: Sequence[str]) -> None:
    repeated = next((text for i, text in enumerate(given) if text in given[:i]), None)
    if repeated is not None:
        raise OptionError(f"{option} {repeated} is given twice: leave one out")


def _size(text: str) -> dict[str, int]:
    height, cross, width = text.partition("x")
    if not (cross and height.isdecimal() and width.isdecimal()):
        raise OptionError(
            f"--size {shortened(text)} is no size: write height and width such as 1024x768"
        )
    sides = {"height": height, "width": width}
    return {
        side: whole_number("pixels", pixels, f"--size {shortened(text)}: {side}", least=1)
        for side, pixels in sides.items()
    }
