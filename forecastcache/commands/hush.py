"""What the libraries below say while they load is not for those who read our output."""

from __future__ import annotations

from importlib.util import find_spec


def hush() -> None:
    """Let diffusers and transformers say errors alone, and draw no bars."""
    from diffusers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    if find_spec("transformers"):
        from transformers.utils import logging as theirs

        theirs.set_verbosity_error()
        theirs.disable_progress_bar()
