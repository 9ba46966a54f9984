"""Completion: what the shell offers after a model, a predictor, a schedule, a site and so on."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, MutableMapping

from forecastcache import zoo
from forecastcache.granularity import GRANULARITIES
from forecastcache.registry import PREDICTORS, SCHEDULES, declared

Completer = Callable[[str], list[str]]

PROMISED, BASH = "_FORECASTCACHE_COMPLETE", "complete_bash"
BEFORE = "_FORECASTCACHE_BEFORE"  # what stands before the colon of the word to complete


def rejoin_words(environ: MutableMapping[str, str]) -> None:
    """Put together what bash takes for several words: it breaks zoo:NAME at the colon.

    Of the last word it replaces what follows the colon alone, so that only this is completed.

    Args:
        environ: environment in which bash asks for completion; any other is left as it is.
    """
    if environ.get(PROMISED) != BASH:
        return
    said = environ.get("COMP_WORDS", "")
    words = said.split("\n" if "\n" in said else " ")
    joined: list[str] = []
    for word in words:
        if joined and (word == ":" or joined[-1].endswith(":")):
            joined[-1] += word
        else:
            joined.append(word)
    if environ.get("COMP_CWORD") == str(len(words) - 1):  # the cursor is at the end
        before, colon, last = joined[-1].rpartition(":")
        environ[BEFORE] = before + colon
        environ["COMP_WORDS"] = " ".join([*joined[:-1], last])
        environ["COMP_CWORD"] = str(len(joined) - 1)


def _offering(names: Callable[[], Iterable[str]]) -> Completer:
    def complete(incomplete: str) -> list[str]:
        before = os.environ.get(BEFORE, "")
        begun = before + incomplete
        return [name.removeprefix(before) for name in names() if name.startswith(begun)]

    return complete


models = _offering(lambda: [zoo.PREFIX + name for name in zoo.MODELS])
predictors = _offering(PREDICTORS.names)
schedules = _offering(SCHEDULES.names)
sites = _offering(lambda: GRANULARITIES)
devices = _offering(lambda: ("auto", "cpu", "cuda", "mps"))
# By their entry points alone: their modules take seconds to import.
baselines = _offering(lambda: sorted(declared("forecastcache.baselines")))
metrics = _offering(lambda: sorted(declared("forecastcache.metrics")))
