"""The pipelines that the documentation calls tested are those that the tests have."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch import nn

from forecastcache.registry import adapter_for

from . import test_experts, test_more_pipelines, test_odd_calls
from .more_pipelines_image import flux2_klein_with_kept_keys
from .more_pipelines_newer_video import anyflow_by_chunks
from .pipelines import PIPELINES

TABLE = Path(__file__).parents[2] / "docs" / "hooks" / "tested_pipelines.json"


def in_tests() -> Iterator[tuple[Any, list[nn.Module]]]:
    """Every pipeline of these folders' tests, with the models that are attached to."""
    apart = flux2_klein_with_kept_keys, anyflow_by_chunks
    stock = [*PIPELINES.values(), *test_more_pipelines.CASES.values()]
    for make in (*stock, *apart, *test_experts.OF_TWO.values()):
        case = make()
        yield case.pipe, case.models
    for make_odd in test_odd_calls.CASES:
        odd = make_odd()
        yield odd.pipe, [getattr(odd.pipe, odd.part)]


def test_the_table_of_the_documentation_has_them_all_and_no_others():
    found: dict[str, set[str]] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for pipe, models in in_tests():
            for model in models:
                found.setdefault(adapter_for(model).name, set()).add(type(pipe).__name__)
    expected = {name: sorted(kinds) for name, kinds in sorted(found.items())}
    text = json.dumps(expected, indent=1) + "\n"
    assert json.loads(TABLE.read_text("utf-8")) == expected, f"write to {TABLE}:\n{text}"
