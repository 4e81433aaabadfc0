"""Checkpoints: plain Hugging Face folders, safetensors only."""

from __future__ import annotations

import shutil
from pathlib import Path

from safetensors import SafetensorError
from transformers import LlamaForCausalLM

from ehrfm_core.errors import UserError

FILES = ("config.json", "model.safetensors")


def save(model: LlamaForCausalLM, folder: Path) -> None:
    """Write config.json and model.safetensors into `folder`, whole or not at all."""
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    model.save_pretrained(partial)
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
    try:
        model = LlamaForCausalLM.from_pretrained(folder, local_files_only=True, use_safetensors=True)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        reason = str(error).splitlines()[0][:100]
        raise UserError(f"The checkpoint in {folder} is not readable ({reason}); train it again.") from None
    model.to(device)  # type: ignore[arg-type]
    return model.eval()
