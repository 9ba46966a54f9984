"""Every adapter conforms, on the stock classes that it serves; what does not is named."""

from __future__ import annotations

import pytest

from forecastcache.registry import adapter_for
from forecastcache.testing import check_adapter

from ..adapters.models import MODELS, make, other_conditions

INSIDE = {
    "dit", "flux", "qwen_image", "hunyuan_video", "hunyuan_video_token_replace", "framepack",
    "framepack_alone", "wan", "hidream", "hidream_wide",
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_every_model_conforms_at_every_site(name):
    tiny = make(name)
    sites = ("output", "hidden", "block", "module") if name in INSIDE else ("output",)
    assert adapter_for(tiny.model).granularities == sites
    check_adapter(tiny.model, tiny.arguments, other_conditions(tiny))
