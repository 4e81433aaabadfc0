"""Checkpoints: plain Hugging Face folders, safetensors only, with the tokenizer and a card beside them."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from transformers import LlamaForCausalLM

from ehrfm_core.errors import UserError
from ehrfm_core.model.config_file import read_config
from ehrfm_core.model.state import why_not_written

FILES = ("config.json", "model.safetensors")


def save(model: LlamaForCausalLM, folder: Path, beside: Mapping[str, str] | None = None) -> None:
    """Write a checkpoint into `folder`, whole or not at all; `beside` are further files by name.

    Raises UserError where the disk is full; what was in `folder` before is kept then.
    """
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        model.save_pretrained(partial)
        for name, text in (beside or {}).items():
            (partial / name).write_text(text, encoding="utf-8")
    except (OSError, SafetensorError) as error:
        shutil.rmtree(partial, ignore_errors=True)
        needed = sum(p.numel() * p.element_size() for p in model.parameters())
        raise UserError(why_not_written(error, folder, needed)) from None
    for path in partial.iterdir():
        path.chmod(0o644)  # safetensors writes for the owner alone; a dashboard may run as someone else
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)


def load(folder: Path, *, device: str = "cpu") -> LlamaForCausalLM:
    """Load a checkpoint for reading states; UserError where it is missing or not readable."""
    if not all((folder / name).is_file() for name in FILES):
        raise UserError(
            f"{folder} holds no checkpoint ({' and '.join(FILES)}); run `python -m train pretrain`."
        )
    config = read_config(folder)
    try:
        model = LlamaForCausalLM.from_pretrained(
            folder, config=config, local_files_only=True, use_safetensors=True
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        reason = str(error).splitlines()[0][:100]
        raise UserError(f"The checkpoint in {folder} is not readable ({reason}); train it again.") from None
    model.to(device)  # type: ignore[arg-type]
    return model.eval()
