"""A question in a process of its own: neither its errors nor its lack of memory end others."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch
from answer import Answer
from asked import Asked

NO_GPU = 3  # exit status of a forked process that cannot use the GPU


def started(how: str, name: str, path: Path, asked: Asked) -> BaseProcess:
    """A process that has begun to answer.

    Args:
        how: `fork`, which has loaded what this process has, or `spawn`, which begins afresh.
        name: module of the question: `main` adds the rows, `NEEDS` are packages it must have.
        path: path of the answer.
        asked: how it is to be answered.
    """
    process = get_context(how).Process(target=_begin, args=(how, name, path, asked))
    process.start()
    return process


def _begin(how: str, name: str, path: Path, asked: Asked) -> None:
    card = None
    if asked.device == "cuda":
        try:
            torch.zeros(1, device="cuda")
        except (RuntimeError, AssertionError):
            if how == "fork":  # something that was loaded has taken hold of the GPU
                sys.exit(NO_GPU)
            raise
        card = torch.cuda.get_device_name()
    torch.manual_seed(0)
    answer = Answer.new(path, name, asked.device, asked.tiny, card)
    with answer.trying(name):
        question = import_module(name)
        missing = [package for package in question.NEEDS if find_spec(package) is None]
        for package in missing:
            answer.skip(name, f"no {package.replace('_', '-')}: it is not installed")
        if not missing:
            question.main(asked, answer)
    answer.finish()
