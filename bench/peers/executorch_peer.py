"""ExecuTorch with the XNNPACK backend."""

import numpy as np
import torch
from serve import serve


def prepare(model):
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    program = to_edge_transform_and_lower(torch.export.load(model.pt2), partitioner=[XnnpackPartitioner()])
    (model.work / "model.pte").write_bytes(program.to_executorch().buffer)


def load(model, threads):
    from executorch.extension.pybindings import portable_lib

    for name in ("_unsafe_reset_threadpool", "_threadpool_set_num_threads"):
        if hasattr(portable_lib, name):
            getattr(portable_lib, name)(threads)
            break
    program = portable_lib._load_for_executorch(str(model.work / "model.pte"))
    inputs = tuple(torch.from_numpy(np.ascontiguousarray(x)) for x in model.inputs)
    return lambda: [x.numpy() for x in program.forward(inputs)]


serve(prepare, load)
