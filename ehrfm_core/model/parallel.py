"""One to many processes: who I am, how the model is spread, what is summed over all of them.

Under `torchrun` every process holds the whole model (DDP) or, with `shard`, a part of it (FSDP2); the same
code runs alone without torch.distributed.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import distributed, nn

from ehrfm_core.errors import UserError

if TYPE_CHECKING:
    from ehrfm_core.model.scorer import Scorer


# Whoever lets a process group go last joins gloo's threads. A DDP model would do so under Python's lock, and
# one of the threads may wait for that lock, for good. Here it is held longer, and let go without the lock.
_held: list[Any] = []
atexit.register(_held.clear)


@dataclass(frozen=True)
class Group:
    """One of `world` processes; rank 0 writes and speaks."""

    rank: int = 0
    world: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    def sum(self, value: torch.Tensor) -> torch.Tensor:
        """The value summed over all processes, in place."""
        if self.world > 1:
            distributed.all_reduce(value)
        return value

    def wait(self) -> None:
        """Until every process is here."""
        if self.world > 1:
            distributed.barrier()

    def any(self, flag: bool, device: str) -> bool:
        """Whether the flag is up in any process."""
        if self.world == 1:
            return flag
        return bool(self.sum(torch.tensor(float(flag), device=device)).item())


def launched() -> bool:
    """Whether torchrun started this process."""
    return "TORCHELASTIC_RUN_ID" in os.environ or {"RANK", "WORLD_SIZE", "MASTER_ADDR"} <= set(os.environ)


@contextmanager
def joined(device: str) -> Iterator[Group]:
    """Join the other processes that torchrun started; yields the group."""
    if not launched():
        raise UserError("--distributed: torchrun did not start this process.")
    cuda = device.startswith("cuda")
    if cuda:
        place = int(os.environ.get("LOCAL_RANK", "0"))
        if place >= torch.cuda.device_count():
            raise UserError(
                f"--distributed: {place + 1} processes but {torch.cuda.device_count()} GPUs on this machine; "
                "start as many processes as there are GPUs."
            )
        torch.cuda.set_device(place)
    distributed.init_process_group("nccl" if cuda else "gloo")
    _held.append(distributed.group.WORLD)
    try:
        yield Group(distributed.get_rank(), distributed.get_world_size())
    finally:
        distributed.destroy_process_group()


def spread(scorer: Scorer, group: Group, *, shard: bool) -> nn.Module:
    """The scorer, its gradients summed over the group; with `shard`, its weights spread too.

    Gradients are averaged by both wrappers: the loss is multiplied by the number of processes for it.
    """
    if shard:
        from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

        half = torch.bfloat16 if scorer.bf16 else None
        policy = MixedPrecisionPolicy(param_dtype=half, reduce_dtype=torch.float32)
        for layer in scorer.model.model.layers:
            fully_shard(layer, mp_policy=policy)
        return fully_shard(scorer, mp_policy=policy)  # type: ignore[return-value]
    if group.world > 1:
        return nn.parallel.DistributedDataParallel(scorer, gradient_as_bucket_view=True)
    return scorer


def no_sync_until_last(spread_scorer: nn.Module, *, last: bool) -> Any:
    """A context for one of several backward passes of a step: gradients meet at the last alone."""
    if isinstance(spread_scorer, nn.parallel.DistributedDataParallel):
        return nullcontext() if last else spread_scorer.no_sync()
    if hasattr(spread_scorer, "set_requires_gradient_sync"):
        spread_scorer.set_requires_gradient_sync(last)  # type: ignore[operator]
    return nullcontext()


def shard_again(spread_scorer: nn.Module) -> None:
    """After passes without a backward pass, which leave some weights whole and unknown to the optimizer."""
    if hasattr(spread_scorer, "reshard"):
        spread_scorer.reshard()  # type: ignore[operator]


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """A sharded tensor as one (every process must ask); any other as it is."""
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def like(full: torch.Tensor, template: torch.Tensor) -> torch.Tensor:
    """A whole tensor, sharded as the template is."""
    if not hasattr(template, "device_mesh"):
        return full.to(template.device)
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(full.to(template.device), template.device_mesh, template.placements)  # type: ignore[attr-defined]
