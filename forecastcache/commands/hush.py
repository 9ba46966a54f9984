"""What the libraries below say while they load is not for those who read our output."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any


def hush() -> None:
    """Let diffusers and transformers say errors alone, and draw no bars."""
    for library in ("diffusers", "transformers"):
        if find_spec(library):
            logging: Any = import_module(f"{library}.utils.logging")
            logging.set_verbosity_error()
            logging.disable_progress_bar()
