"""Small text encoders with their tokenizers, of the classes that the large pipelines use.

Each is taught for a minute to read captions (which digit, which ink, ...), then frozen. Their
tokenizers know the words of the captions whole; an unknown one becomes `<unk>` or letters.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

import torch
from tokenizers import Regex, Tokenizer, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
    LlamaConfig,
    LlamaModel,
    LlamaTokenizer,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2Tokenizer,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
    UMT5Config,
    UMT5EncoderModel,
)

from forecastcache.zoo import captions, data
from forecastcache.zoo.motion import MOTIONS
from forecastcache.zoo.training import Stage

WIDTH = 64
HEADS = 4
BATCH = 64
IN_ANGLES = re.compile(r"<\|\w+\|>")  # special tokens, as chat templates write them


def clip(words: Sequence[str], width: int = WIDTH) -> tuple[CLIPTextModel, CLIPTokenizer]:
    """CLIP's text encoder, whose pooled output speaks for the whole caption.

    Args:
        words: words of the captions.
        width: number of channels.
    """
    special = ["<|startoftext|>", "<|endoftext|>"]
    vocabulary, merges = _byte_pairs(
        _spelt(words), CLIPTokenizer().backend_tokenizer.pre_tokenizer, special, suffix="</w>"
    )
    tokenizer = CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=77)
    config = CLIPTextConfig(
        **_sizes(tokenizer, width),
        projection_dim=width,
        max_position_embeddings=77,
        bos_token_id=tokenizer.bos_token_id,
    )
    return CLIPTextModel(config), tokenizer


def t5(words: Sequence[str], width: int = WIDTH) -> tuple[T5EncoderModel, T5Tokenizer]:
    """T5's encoder, one vector a word.

    Args:
        words: words of the captions.
        width: number of channels.
    """
    tokenizer = _whole_words(words)
    return T5EncoderModel(T5Config(**_sizes_of_t5(tokenizer, width))), tokenizer


def umt5(words: Sequence[str]) -> tuple[UMT5EncoderModel, T5Tokenizer]:
    """UMT5's encoder, as T5's but for positions, which each layer has of its own."""
    tokenizer = _whole_words(words)
    return UMT5EncoderModel(UMT5Config(**_sizes_of_t5(tokenizer, WIDTH))), tokenizer


def llama(template: str, words: Sequence[str]) -> tuple[LlamaModel, LlamaTokenizer]:
    """Llama, for captions inside a chat template.

    Word by word the template then has as many tokens as in the large model's tokenizer, which is
    what the pipeline cuts off.
    """
    special = ["<unk>", "<s>", "</s>", "<pad>"]
    angled = list(dict.fromkeys(IN_ANGLES.findall(template)))
    pieces = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Metaspace(prepend_scheme="never"),
            pre_tokenizers.Split(Regex(r"▁?\p{L}+|\p{N}|\p{P}|\n+"), "isolated"),
        ]
    )
    texts = _spelt(words) + IN_ANGLES.split(template)
    vocabulary, merges = _byte_pairs(texts, pieces, special + angled)
    tokenizer = LlamaTokenizer(
        vocab=vocabulary,
        merges=merges,
        pad_token="<pad>",
        padding_side="right",
        extra_special_tokens=angled,
        add_prefix_space=False,
        add_bos_token=True,
        model_max_length=512,
    )
    config = LlamaConfig(
        **_sizes(tokenizer, layers=3),  # the pipeline reads the third from the last hidden states
        num_key_value_heads=HEADS,
        max_position_embeddings=512,
        bos_token_id=tokenizer.bos_token_id,
    )
    return LlamaModel(config), tokenizer


def qwen(
    template: str, words: Sequence[str]
) -> tuple[Qwen2_5_VLForConditionalGeneration, Qwen2Tokenizer]:
    """Qwen2.5-VL, for captions inside a chat template; it sees no pictures here."""
    angled = list(dict.fromkeys(IN_ANGLES.findall(template)))
    texts = _spelt(words) + IN_ANGLES.split(template)
    pieces = Qwen2Tokenizer().backend_tokenizer.pre_tokenizer
    vocabulary, merges = _byte_pairs(texts, pieces, ["<|endoftext|>", *angled])
    tokenizer = Qwen2Tokenizer(vocab=vocabulary, merges=merges, extra_special_tokens=angled)
    config = Qwen2_5_VLConfig(
        text_config={
            **_sizes(tokenizer),
            "num_key_value_heads": HEADS,
            "max_position_embeddings": 512,
            "rope_parameters": {"rope_type": "default", "mrope_section": [2, 3, 3]},
            "bos_token_id": tokenizer.pad_token_id,
        },
        vision_config={
            "depth": 1,
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_heads": 2,
            "out_hidden_size": WIDTH,
        },
    )
    return Qwen2_5_VLForConditionalGeneration(config), tokenizer


def teach(
    name: str,
    encoder: nn.Module,
    summary: Callable[[list[str]], Tensor],
    moving: bool = False,
    steps: int = 300,
) -> Stage:
    """The stage that trains an encoder until every attribute can be read off its summaries.

    Args:
        name: name of the stage.
        encoder: text encoder to train.
        summary: captions to `(n, WIDTH)`, through the encoder; linear heads read from it.
        moving: whether captions say a motion.
        steps: number of optimiser steps.
    """
    combination = [data.DIGITS, captions.INKS, captions.BACKGROUNDS]
    details = [captions.WEIGHTS, captions.SLANTS, *([MOTIONS] if moving else [])]
    heads = nn.ModuleList(nn.Linear(WIDTH, len(words)) for words in [*combination, *details])
    known = captions.combinations("train")

    def pick(words: Sequence[Any], generator: torch.Generator) -> list[int]:
        return torch.randint(len(words), (BATCH,), generator=generator).tolist()

    def loss(generator: torch.Generator) -> Tensor:
        said = [known[i] for i in pick(known, generator)]
        picks = [pick(words, generator) for words in details]
        spoken = [[words[i] for i in of] for words, of in zip(details, picks)]
        features = summary([captions.write(*parts) for parts in zip(said, *spoken)])
        answers = [*zip(*said), *picks]
        losses = [
            F.cross_entropy(head(features), torch.tensor(answer))
            for head, answer in zip(heads, answers)
        ]
        return torch.stack(losses).mean()

    reader = nn.ModuleDict({"encoder": encoder, "heads": heads})
    return Stage(name, reader, loss, steps, rate=3e-3, decay=0.98)


def mean_word(words: Tensor, mask: Tensor) -> Tensor:
    """The mean of the vectors `(n, tokens, WIDTH)` that the mask `(n, tokens)` lets through."""
    mean: Tensor = (words * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
    return mean


def remembered(
    encode: Callable[[list[str]], tuple[Tensor, ...]],
) -> Callable[[list[str]], tuple[Tensor, ...]]:
    """`encode`, asked only once for a caption: frozen encoders say the same each time.

    Args:
        encode: captions to tensors `(n, ...)` whose shapes do not depend on the captions.
    """
    known: dict[str, tuple[Tensor, ...]] = {}

    @torch.no_grad()
    def recall(texts: list[str]) -> tuple[Tensor, ...]:
        new = [text for text in dict.fromkeys(texts) if text not in known]
        if new:
            known.update(zip(new, zip(*(tensor.unbind() for tensor in encode(new)))))
        return tuple(torch.stack(rows) for rows in zip(*(known[text] for text in texts)))

    return recall


def _sizes(tokenizer: Any, width: int = WIDTH, layers: int = 2) -> dict[str, Any]:
    """What the configurations of the encoders have in common."""
    return {
        "vocab_size": len(tokenizer),
        "hidden_size": width,
        "intermediate_size": 2 * width,
        "num_hidden_layers": layers,
        "num_attention_heads": HEADS,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }


def _whole_words(words: Sequence[str]) -> T5Tokenizer:
    special = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -20.0)]
    whole = [(f"▁{word}", -5.0) for word in words]
    return T5Tokenizer(vocab=[*special, *whole, (",", -5.0)], extra_ids=0)


def _sizes_of_t5(tokenizer: Any, width: int) -> dict[str, Any]:
    return {
        "vocab_size": len(tokenizer),
        "d_model": width,
        "d_kv": width // HEADS,
        "d_ff": 2 * width,
        "num_layers": 2,
        "num_heads": HEADS,
        "dropout_rate": 0.0,
    }


def _spelt(words: Sequence[str]) -> list[str]:
    """Every word as it stands in captions: at the start, after a space, before a comma."""
    return [text for word in words for text in (word, f"a {word},")]


def _byte_pairs(
    texts: Sequence[str], words: Any, special: list[str], suffix: str = ""
) -> tuple[dict[str, int], Any]:
    """Vocabulary and merges that make every word of `texts` one token."""
    ending: dict[str, Any] = {"end_of_word_suffix": suffix} if suffix else {}
    tokenizer = Tokenizer(BPE(**ending))
    tokenizer.pre_tokenizer = words
    trainer = BpeTrainer(vocab_size=10_000, special_tokens=special, show_progress=False, **ending)
    tokenizer.train_from_iterator(texts, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    return model["vocab"], [tuple(pair) for pair in model["merges"]]
