"""Our vocabulary as a Hugging Face tokenizer: token names, separated by blanks, to ids and back."""

from __future__ import annotations

import json
from collections.abc import Mapping


def tokenizer_files(vocabulary: Mapping[str, int], *, max_tokens: int) -> dict[str, str]:
    """`tokenizer.json` and `tokenizer_config.json`, with which AutoTokenizer opens a checkpoint's folder.

    It knows names alone. How an event becomes a token (bins, units, splits) is in the study's own tokenizer,
    which lies beside it as `study_tokenizer.json`.
    """
    named = {"pad_token": "PAD", "unk_token": "UNK", "bos_token": "TL_START", "eos_token": "TL_END"}
    special = [
        {
            "id": vocabulary[token],
            "content": token,
            "single_word": True,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": True,
        }
        for token in named.values()
    ]
    content = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": sorted(special, key=lambda token: vocabulary[str(token["content"])]),
        "normalizer": None,
        "pre_tokenizer": {"type": "WhitespaceSplit"},
        "post_processor": None,
        "decoder": None,
        "model": {"type": "WordLevel", "vocab": dict(vocabulary), "unk_token": "UNK"},
    }
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": max_tokens,
        "clean_up_tokenization_spaces": False,
        "split_special_tokens": True,  # else PAD would be found within device/PAD
        **named,
    }
    return {
        "tokenizer.json": json.dumps(content, ensure_ascii=False) + "\n",
        "tokenizer_config.json": json.dumps(settings, indent=1) + "\n",
    }
