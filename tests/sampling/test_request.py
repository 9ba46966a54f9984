"""Requests in parts, and together again."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forecastcache.errors import RequestError
from forecastcache.sampling.request import Request, guidance_argument


class Unconditional:
    """As much of a pipeline as a request reads."""

    def __call__(self, batch_size, num_inference_steps, output_type, generator):
        raise NotImplementedError


class Worded(Unconditional):
    def __call__(self, prompt, negative_prompt, num_inference_steps, output_type, generator):
        raise NotImplementedError


class Classed(Unconditional):
    labels = {"zero": 0, "one": 1, "two": 2, "seven": 7}  # noqa: RUF012

    def __call__(self, class_labels, num_inference_steps, output_type, generator):
        raise NotImplementedError


seeds = st.integers(0, 2**62)
counts = st.none() | st.integers(1, 12)


@st.composite
def asked(draw) -> tuple[Any, Request]:
    """A pipeline and a request that it takes."""
    pipe = draw(st.sampled_from([Unconditional(), Worded(), Classed()]))
    fields: dict[str, Any] = {"seed": draw(seeds), "count": draw(counts)}
    if isinstance(pipe, Worded):
        fields["prompts"] = draw(st.lists(st.text(max_size=5), min_size=1, max_size=6))
        if draw(st.booleans()):
            fields["call"] = {"negative_prompt": "blurred"}
    if isinstance(pipe, Classed):
        fields["classes"] = draw(st.lists(st.sampled_from([*Classed.labels, "7"]), max_size=6))
    request = Request(**fields)
    if draw(st.booleans()):
        number = samples(pipe, request)
        given = st.lists(seeds, min_size=number, max_size=number)
        request = Request(**fields, seeds=draw(given))
    return pipe, request


def samples(pipe: Any, request: Request) -> int:
    return len(every_sample(pipe, request))


def every_sample(pipe: Any, request: Request) -> list[tuple[Any, Any]]:
    """What each sample is asked by, and anything else that goes with it."""
    arguments = request.arguments(pipe)
    conditions = arguments.get("class_labels", arguments.get("prompt"))
    if conditions is None:
        return [(None, None)] * arguments["batch_size"]
    negatives = arguments.get("negative_prompt", [None] * len(conditions))
    return list(zip(conditions, negatives, strict=True))


def seeded(pipe: Any, request: Request) -> list[tuple[Any, int]]:
    conditions = every_sample(pipe, request)
    return list(zip(conditions, request._seeds(len(conditions)), strict=True))


@given(asked=asked(), size=st.integers(1, 7))
def test_the_parts_ask_for_the_same_samples_in_the_same_order(asked, size):
    pipe, request = asked
    parts = request.split(pipe, size)
    whole = seeded(pipe, request)
    assert [each for part in parts for each in seeded(pipe, part)] == whole
    assert all(len(part) == samples(pipe, part) <= size for part in parts)
    assert all(len(part) == size for part in parts[:-1])
    assert {(part.steps, part.guidance_scale) for part in parts} == {(50, None)}


@given(asked=asked())
def test_a_request_counts_the_samples_that_it_asks_for(asked):
    pipe, request = asked
    assert len(request) == samples(pipe, request)


def test_a_count_of_its_own_goes_before_that_of_the_prompts():
    assert len(Request(count=4, prompts=("a",))) == 4
    assert len(Request(count=2, classes=("zero", "one", "two"))) == 2


def test_a_folder_is_a_model_as_loading_takes_it():
    assert Request.of(Path("folder"), steps=3) == Request.of("folder", steps=3) == Request(steps=3)
    zoo = "zoo:dit-digits"
    assert Request.of(Path(zoo), count=2) == Request.of(zoo, count=2)


@given(asked=asked(), size=st.integers(1, 7), data=st.data())
def test_parts_or_some_of_them_join_to_what_they_ask_for(asked, size, data):
    pipe, request = asked
    parts = request.split(pipe, size)
    chosen = data.draw(st.lists(st.sampled_from(range(len(parts))), min_size=1, unique=True))
    together = Request.joined([parts[index] for index in chosen])
    expected = [each for index in chosen for each in seeded(pipe, parts[index])]
    assert seeded(pipe, together) == expected
    assert len(together) == len(expected)
    assert seeded(pipe, Request.joined(parts)) == seeded(pipe, request)


def test_what_a_pipeline_does_not_take_is_refused():
    with pytest.raises(RequestError, match="Classed takes no prompt: leave it out"):
        Request(prompts=["one"]).arguments(Classed())
    with pytest.raises(RequestError, match=r"needs prompts: .*--prompts FILE.* prompts=\["):
        Request().arguments(Worded())
    with pytest.raises(RequestError, match="'three' is no class of this model: write a number"):
        Request(classes=["three"]).arguments(Classed())
    with pytest.raises(RequestError, match="2 seeds are given for 3 pictures"):
        Request(count=3, seeds=[1, 2])._seeds(3)


@pytest.mark.parametrize(
    ("embeds", "asked", "name"),
    [
        (True, {"true_cfg_scale": 4.0, "negative_prompt": ""}, "true_cfg_scale"),
        (True, {"true_cfg_scale": 4.0}, "guidance_scale"),
        (True, {"true_cfg_scale": 1.0, "negative_prompt": ""}, "guidance_scale"),
        (True, {}, "guidance_scale"),
        (False, {}, "true_cfg_scale"),
    ],
)
def test_the_scale_of_a_pipeline_with_two_is_what_its_branches_are_combined_at(
    embeds, asked, name
):
    pipe = SimpleNamespace(transformer=SimpleNamespace(config={"guidance_embeds": embeds}))
    takes = dict.fromkeys(("true_cfg_scale", "guidance_scale", "negative_prompt"))
    assert guidance_argument(pipe, takes, asked) == name
    assert guidance_argument(pipe, {"guidance_scale": None}, asked) == "guidance_scale"
