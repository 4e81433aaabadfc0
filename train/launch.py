"""Several processes on this machine, each `python -m train pretrain`, started by torchrun's launcher."""

from __future__ import annotations

import logging
import os
import sys
import uuid
from argparse import Namespace

from ehrfm_core.errors import UserError
from ehrfm_core.study.manifest import read_manifest
from train.devices import INTERRUPTED
from train.training_options import command_line

WITHOUT_GPU = 2  # processes


def launch(options: Namespace) -> int:
    """Run the command of `options` in that many processes; return their exit status.

    Raises UserError where one was killed: any other end is told by the process that met it.
    """
    import torch
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    read_manifest(options.study)  # what is no study is told before anything is started
    gpus = 0 if options.device == "cpu" else torch.cuda.device_count()
    processes = options.distributed or gpus or WITHOUT_GPU
    logging.getLogger("torch.distributed").setLevel(logging.CRITICAL)  # a child says itself what went wrong
    if gpus == 0:
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // processes)))
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        run_id=uuid.uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
        monitor_interval=0.2,
    )
    words = ["pretrain", str(options.study), "--distributed", *command_line(options)]
    try:
        elastic_launch(config, sys.executable)("-m", "train", *words)
    except SignalException:  # which the children got as well
        return INTERRUPTED
    except ChildFailedError as error:
        statuses = {rank: failure.exitcode for rank, failure in sorted(error.failures.items())}
        said = [status for status in statuses.values() if status > 0]
        if said:
            return said[0]
        rank, status = next(iter(statuses.items()))
        raise UserError(
            f"Process {rank} of {processes} was killed by signal {-status} (was there memory left?); the "
            "last state saved is kept: run the same command again to go on."
        ) from None
    return 0
