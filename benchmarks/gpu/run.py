"""What only a GPU can show, in the order of what it tells a second.

python benchmarks/gpu/run.py --device cuda [--only a,c] [--minutes 8] [--out FOLDER]

One JSON file a question. `--device cpu --tiny` runs every line at sizes that say nothing.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from time import monotonic
from typing import NamedTuple

# Asked so, torch looks for a GPU without taking hold of it, and the processes forked later can.
os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")

import torch
from answer import Answer
from asked import Asked
from question import NO_GPU, started

OUT = Path(__file__).parents[1] / "results" / "gpu"
CLOSING = 10  # seconds beyond its time after which a question is ended
# Loaded once for all questions; none of them touches the GPU.
LOADED_ONCE = (
    "diffusers.pipelines.flux.pipeline_flux",
    "diffusers.pipelines.hunyuan_video.pipeline_hunyuan_video",
    "forecastcache.memory.plan",
    "forecastcache.baselines.diffusers_caches",
)


class Question(NamedTuple):
    """A module that answers a question, and its share of the time in seconds of eight minutes."""

    module: str
    share: float


# In this order.
QUESTIONS = {
    "a": Question("flux", 75),
    "c": Question("combine", 30),
    "d": Question("syncs", 20),
    "g": Question("zoo_bf16", 60),
    "b": Question("hunyuan", 115),
    "e": Question("compiled", 75),
    "f": Question("offload", 45),
    "h": Question("calibrate_big", 45),
}


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--tiny", action="store_true", help="sizes of a test, which say nothing")
    parser.add_argument("--only", default="", help="letters of the questions, such as a,c")
    parser.add_argument("--minutes", type=float, default=8)
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args()
    given.only = [letter for letter in given.only.split(",") if letter] or list(QUESTIONS)
    unknown = [letter for letter in given.only if letter not in QUESTIONS]
    if unknown:
        parser.error(f"no question is called {unknown[0]}: write some of {','.join(QUESTIONS)}")
    return given


def deadlines(questions: Sequence[Question], begun: float, seconds: float) -> Iterator[float]:
    """When each question must be done: what one leaves over, those after it have."""
    whole, spent = sum(each.share for each in questions), 0.0
    for question in questions:
        spent += question.share
        yield begun + (seconds - CLOSING) * spent / whole


def usable(device: str) -> bool:
    return device == "cpu" or torch.cuda.is_available()


def load() -> None:
    for name in LOADED_ONCE:
        try:
            import_module(name)
        except ImportError as error:  # the questions that need it say so
            print(f"{name} cannot be loaded: {error}", file=sys.stderr)


class Runner:
    """Has one process after another answer.

    Args:
        out: folder of the answers.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        self._how = "fork"

    def ask(self, question: Question, asked: Asked) -> None:
        """Have a process of its own answer, and end it when its time is over."""
        path = self.out / f"{question.module}.json"
        answer = Answer.new(path, question.module, asked.device, asked.tiny)
        if not usable(asked.device):
            answer.skip(question.module, "no CUDA: torch sees no GPU here")
        elif asked.left <= 0:
            answer.skip(question.module, "time used up")
        else:
            print(f"{question.module}, {asked.left:.0f} s", flush=True)
            status = self._status(question.module, path, asked)
            if status is None:
                Answer.left_behind(path).skip("the rest", "time used up: the process was ended")
            elif status != 0:
                Answer.left_behind(path).fail(
                    "the rest", f"the process ended with exit status {status}"
                )

    def _status(self, name: str, path: Path, asked: Asked) -> int | None:
        """The exit status of a process that has answered; None where it had to be ended."""
        process = started(self._how, name, path, asked)
        try:
            process.join(asked.left + CLOSING)
            status = process.exitcode
        finally:
            process.kill()
            process.join()
        if status == NO_GPU and self._how == "fork":
            self._how = "spawn"  # slower to begin, and for all that follow
            return self._status(name, path, asked)
        return status


def main() -> None:
    begun, given = monotonic(), parsed()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))  # so the process under way is too
    questions = [each for letter, each in QUESTIONS.items() if letter in given.only]
    if len(questions) > 1 and usable(given.device):
        load()
    runner = Runner(given.out)
    for question, until in zip(questions, deadlines(questions, begun, given.minutes * 60)):
        runner.ask(question, Asked(given.device, given.tiny, until))


if __name__ == "__main__":
    main()
