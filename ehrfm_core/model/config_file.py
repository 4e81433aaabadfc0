"""`config.json` of a checkpoint that may have come from somebody else: a Llama's sizes, and nothing else.

transformers follows what a config names: classes in other files (`auto_map`), kernels and adapters from
elsewhere, and layers by the thousand million before a single weight has been read. Here only sizes are taken
from it, and only those that the weights have.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError, safe_open
from transformers import LlamaConfig

from ehrfm_core import strict_json
from ehrfm_core.errors import UserError, brief

_SIZES = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "max_position_embeddings",
)
_FLAGS = ("attention_bias", "mlp_bias", "tie_word_embeddings", "use_cache")
_IDS = ("bos_token_id", "eos_token_id", "pad_token_id")
_NUMBERS = ("rms_norm_eps", "initializer_range", "attention_dropout")
_TEXTS = {"hidden_act": ("silu",), "dtype": ("float32", "bfloat16", "float16")}
_LARGEST = 2**24
_RANGES: tuple[tuple[tuple[str, ...], Any, int, int], ...] = (
    (_SIZES, int, 1, _LARGEST),
    (_IDS, int, 0, _LARGEST),
    (_NUMBERS, int | float, 0, 1),
    (_FLAGS, bool, 0, 1),
)


def read_config(folder: Path) -> LlamaConfig:
    """The config of the checkpoint in `folder`, which names `config.json` and `model.safetensors`.

    Raises UserError where it is not a Llama's, a part has another type, or the sizes are not the weights'.
    """
    path = folder / "config.json"
    try:
        value = strict_json.parse(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(
            f"The checkpoint in {folder} is not readable (config.json: {brief(error, 80)}); train it again."
        ) from None
    if not isinstance(value, dict) or value.get("model_type") != "llama":
        named = brief(value.get("model_type") if isinstance(value, dict) else "no object", 40)
        raise UserError(f"{path} is of the architecture {named!r}; this program reads llama only.")
    if "auto_map" in value or (folder / "adapter_config.json").exists():
        raise UserError(f"{path} asks for code or weights from elsewhere; give a plain Llama checkpoint.")
    kept: dict[str, Any] = {}
    for names, kind, low, high in _RANGES:
        for name in (name for name in names if value.get(name) is not None):
            whole = isinstance(value[name], kind) and isinstance(value[name], bool) == (kind is bool)
            if not whole or not low <= value[name] <= high:
                raise UserError(f"{path}: {name} cannot be {brief(value[name], 40)!r}.")
            kept[name] = value[name]
    for name, known in _TEXTS.items():
        if name in value and value[name] not in known:
            raise UserError(f"{path}: {name} {brief(value[name], 40)!r} is none of {', '.join(known)}.")
    rope = value.get("rope_parameters") or {}
    theta = rope.get("rope_theta", 10_000.0) if isinstance(rope, dict) else None
    if not isinstance(theta, int | float) or theta <= 1 or rope.get("rope_type", "default") != "default":
        raise UserError(f"{path}: rope_parameters are not those of a plain Llama.")
    dtype = {"dtype": value["dtype"]} if "dtype" in value else {}
    rope = {"rope_type": "default", "rope_theta": float(theta)}
    try:
        config = LlamaConfig(**kept, **dtype, rope_parameters=rope)
    except StrictDataclassError as error:
        raise UserError(f"{path} is not that of a Llama ({brief(error.__cause__ or error)}).") from None
    _fit(path, folder / "model.safetensors", config)
    return config


def _fit(path: Path, weights: Path, config: LlamaConfig) -> None:
    """Raise UserError where the weights are of another model than the config."""
    try:
        with safe_open(weights, "pt") as file:
            layers = {name.split(".")[2] for name in file.keys() if name.startswith("model.layers.")}  # noqa: SIM118
            embedding = tuple(file.get_slice("model.embed_tokens.weight").get_shape())
            mlp = tuple(file.get_slice("model.layers.0.mlp.up_proj.weight").get_shape())
    except (OSError, SafetensorError, IndexError) as error:
        raise UserError(
            f"The checkpoint in {weights.parent} is not readable ({brief(error, 100)}); train it again."
        ) from None
    told = {
        "vocab_size, hidden_size": ((config.vocab_size, config.hidden_size), embedding),
        "intermediate_size": ((config.intermediate_size, config.hidden_size), mlp),
        "num_hidden_layers": ((config.num_hidden_layers,), (len(layers),)),
    }
    heads, groups = config.num_attention_heads, config.num_key_value_heads or 1
    if heads * (config.head_dim or 1) > 16 * config.hidden_size or groups > heads:
        raise UserError(f"{path}: num_attention_heads and head_dim are not those of a Llama.")
    for names, (said, held) in told.items():
        if said != held:
            raise UserError(f"{path}: {names} {said} is not what model.safetensors holds, {held}.")
