"""Prompts files, of text and of JSON."""

from __future__ import annotations

import pytest

from forecastcache.cli.prompts import Prompt, read_prompts
from forecastcache.errors import ForecastCacheError


def test_a_text_file_has_a_prompt_a_line(tmp_path):
    path = tmp_path / "prompts.txt"
    path.write_text("a red seven\n\n  a blue two \n")
    assert read_prompts(path) == [Prompt("a red seven"), Prompt("a blue two")]


def test_a_jsonl_file_says_seeds_and_arguments(tmp_path):
    path = tmp_path / "prompts.jsonl"
    path.write_text('{"prompt": "a red seven", "seed": 3, "height": 48}\n\n')
    assert read_prompts(path) == [Prompt("a red seven", 3, {"height": 48})]


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        ("", "is empty: write a prompt a line"),
        ("a red seven", r'line 1: write an object such as {"prompt"'),
        ('{"prompt": "one"}\n\n["two"]', "line 3: write an object"),
        ('{"text": "one"}', "line 1: write an object"),
        ('{"prompt": "one", "seed": "x"}', "line 1: a seed is a number such as 3"),
        ('{"prompt": "one", "seed": -1}', "a seed is a number"),
        ('{"prompt": "one", "seed": true}', "a seed is a number"),
        ('{"prompt": "one", "seed": 1}\n{"prompt": "two"}', "give one to all, or none"),
    ],
)
def test_other_lines_are_refused_by_their_number(tmp_path, lines, complaint):
    path = tmp_path / "prompts.jsonl"
    path.write_text(lines)
    with pytest.raises(ForecastCacheError, match=complaint):
        read_prompts(path)
