"""One dial: the size of the model, from which everything else follows.

`medium` and `1b` are the lab's own two architectures (arXiv 2504.10422 and its successors). Learning rates of
`tiny` and `small` were found by `python -m train.recipes.learning_rates` on the synthetic hospitals; those
of `medium` and `1b` follow the usual fall with width and are not measured (docs/log.md).
"""

from __future__ import annotations

from dataclasses import dataclass

from transformers import LlamaConfig


@dataclass(frozen=True)
class Size:
    """Architecture and training defaults of one size.

    `batch_tokens` go into one optimizer step, over all processes; `pack_tokens` into one forward pass.
    """

    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    learning_rate: float
    batch_tokens: int
    pack_tokens: int
    max_steps: int
    max_epochs: int


SIZES: dict[str, Size] = {
    "tiny": Size(128, 512, 4, 4, 4, 32, 1e-3, 2_048, 2_048, 2_000, 14),
    "small": Size(256, 1024, 6, 4, 4, 64, 1e-3, 8_192, 4_096, 5_000, 20),
    "medium": Size(1024, 2048, 8, 8, 8, 64, 4e-4, 65_536, 32_768, 20_000, 10),
    "1b": Size(2048, 8192, 16, 32, 8, 64, 2e-4, 262_144, 16_384, 20_000, 10),
}


def llama_config(size: Size, *, vocabulary: dict[str, int], max_tokens: int) -> LlamaConfig:
    """Llama configuration of a size for a vocabulary; embeddings tied, random start."""
    return LlamaConfig(
        vocab_size=len(vocabulary),
        hidden_size=size.hidden,
        intermediate_size=size.intermediate,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        num_key_value_heads=size.kv_heads,
        head_dim=size.head_dim,
        max_position_embeddings=max_tokens,
        tie_word_embeddings=True,
        pad_token_id=vocabulary["PAD"],
        bos_token_id=vocabulary["TL_START"],
        eos_token_id=vocabulary["TL_END"],
        use_cache=False,
    )
