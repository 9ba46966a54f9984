"""CLIP score: how well a picture fits its prompt."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import interpolate, normalize

from forecastcache.errors import OptionError
from forecastcache.metrics.metric import Compared, Metric

MEAN, DEVIATION = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
NEEDS = "give --metrics clip=FOLDER, a folder of a CLIP model with its tokenizer, as " \
    "save_pretrained writes them (openai/clip-vit-large-patch14 for one)"  # fmt: skip


class CLIPScore(Metric):
    """100 max(cos(picture, prompt), 0) in CLIP's space, mean over samples (2104.08718).

    It says whether a sample is what was asked for, whatever the plain one is: hold it against the
    row "plain, again".

    Attributes:
        weights: folder of a CLIP model of transformers with its tokenizer.
    """

    title: ClassVar[str] = "CLIP score"
    form: ClassVar[str] = "{:.2f}"

    weights: Path | None = None

    def prepare(self, prompts: Sequence[str]) -> None:
        if not prompts:
            raise OptionError(
                "the CLIP score needs prompts, and this model is asked in classes: leave clip out"
            )
        _ = self._loaded

    def measure(self, compared: Compared) -> float | None:
        samples = compared.samples
        clips = samples if samples.dim() == 5 else samples[:, None]
        scores = [self._score(frames, text) for frames, text in zip(clips, compared.prompts)]
        return float(torch.stack(scores).mean())

    def _score(self, frames: Tensor, text: str) -> Tensor:
        """The mean over frames `(frames, 3, h, w)` of one sample."""
        model, tokenizer = self._loaded
        most = model.config.text_config.max_position_embeddings
        words = tokenizer([text], truncation=True, max_length=most, return_tensors="pt")
        with torch.no_grad():
            seen = model.visual_projection(
                model.vision_model(pixel_values=self._pixels(frames)).pooler_output
            )
            said = model.text_projection(
                model.text_model(
                    input_ids=words["input_ids"], attention_mask=words["attention_mask"]
                ).pooler_output
            )
        return 100 * (normalize(seen, dim=-1) @ normalize(said, dim=-1).T).clamp(min=0).mean()

    def _pixels(self, frames: Tensor) -> Tensor:
        """Frames as CLIP reads them: the square in the middle, in its size and scale."""
        size = self._loaded[0].config.vision_config.image_size
        height, width = frames.shape[-2:]
        grown = [max(size, round(side * size / min(height, width))) for side in (height, width)]
        resized = interpolate(
            frames.expand(-1, 3, -1, -1), grown, mode="bicubic", antialias=True
        ).clamp(0, 1)
        top, left = ((side - size) // 2 for side in grown)
        middle = resized[..., top : top + size, left : left + size]
        mean, deviation = (torch.tensor(it)[:, None, None] for it in self._scales)
        return (middle - mean) / deviation

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        if self.weights is None:
            raise OptionError(f"the CLIP score needs a model: {NEEDS}")
        if not (self.weights / "config.json").is_file():
            raise OptionError(f"{self.weights} has no config.json of a model: {NEEDS}")
        try:
            from transformers import AutoTokenizer, CLIPModel
        except ImportError:
            raise OptionError(
                "the CLIP score needs transformers: pip install transformers"
            ) from None
        try:
            model: Any = CLIPModel.from_pretrained(self.weights, dtype=torch.float32)
            return model.eval(), AutoTokenizer.from_pretrained(self.weights)
        except Exception as error:  # of every kind, from bad JSON to missing tensors
            said = (str(error).strip().splitlines() or [""])[0]
            raise OptionError(
                f"{self.weights} cannot be loaded as a CLIP model ({type(error).__name__}: "
                f"{said}): {NEEDS}"
            ) from error

    @cached_property
    def _scales(self) -> tuple[Sequence[float], Sequence[float]]:
        """Mean and deviation of each channel, the model's own where its folder says them."""
        path = (self.weights or Path()) / "preprocessor_config.json"
        said = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        return said.get("image_mean", MEAN), said.get("image_std", DEVIATION)
