"""PyTorch's ahead-of-time compiler, AOTInductor, with constants folded."""

import numpy as np
import torch
from serve import serve

torch.set_grad_enabled(False)


def prepare(model):
    program = torch.export.load(model.pt2)
    torch._inductor.aoti_compile_and_package(program, package_path=str(model.work / "model.aoti.pt2"))


def load(model, threads):
    torch.set_num_threads(threads)
    compiled = torch._inductor.aoti_load_package(str(model.work / "model.aoti.pt2"))
    inputs = [torch.from_numpy(np.ascontiguousarray(x)) for x in model.inputs]
    return lambda: [x.numpy() for x in torch.utils._pytree.tree_leaves(compiled(*inputs))]


serve(prepare, load)
