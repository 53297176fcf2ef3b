"""PyTorch's ahead-of-time compiler, AOTInductor, with constants folded."""

import torch
from serve import serve

torch.set_grad_enabled(False)


def package(model):
    return model.work / "model.aoti.pt2"


def prepare(model):
    program = torch.export.load(model.pt2)
    torch._inductor.aoti_compile_and_package(program, package_path=str(package(model)),
                                             inductor_configs={"freezing": True})
    return [package(model)]


def load(model):
    torch.set_num_threads(model.threads)
    compiled = torch._inductor.aoti_load_package(str(package(model)))
    inputs = [torch.from_numpy(x) for x in model.inputs]
    return (lambda: compiled(*inputs),
            lambda result: [x.numpy() for x in torch.utils._pytree.tree_leaves(result)])


serve(prepare, load)
