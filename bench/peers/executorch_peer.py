"""ExecuTorch with the XNNPACK backend; what that does not take runs in portable kernels."""

import torch
from executorch.extension.pybindings import portable_lib
from serve import serve


def prepare(model):
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    program = to_edge_transform_and_lower(torch.export.load(model.pt2), partitioner=[XnnpackPartitioner()])
    (model.work / "model.pte").write_bytes(program.to_executorch().buffer)
    return [model.work / "model.pte"]


def load(model):
    portable_lib._unsafe_reset_threadpool(model.threads)
    program = portable_lib._load_for_executorch(str(model.work / "model.pte"))
    inputs = tuple(torch.from_numpy(x) for x in model.inputs)
    return lambda: program.forward(inputs), lambda result: [x.numpy() for x in result]


serve(prepare, load)
