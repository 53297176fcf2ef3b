"""TVM (Relax) from ONNX, untuned."""

import numpy as np
import onnx
import tvm
from serve import serve
from tvm import relax
from tvm.relax.frontend.onnx import from_onnx


def prepare(model):
    graph = onnx.load(model.onnx)
    weights = {w.name for w in graph.graph.initializer}
    names = [i.name for i in graph.graph.input if i.name not in weights]
    module = from_onnx(graph, shape_dict={n: list(x.shape) for n, x in zip(names, model.inputs)})
    target = tvm.target.Target({"kind": "llvm", "mcpu": "native"})
    module = tvm.transform.Sequential([relax.transform.DecomposeOpsForInference(),
                                       relax.transform.CanonicalizeBindings()])(module)
    with target:
        module = relax.get_pipeline("zero")(module)
    with tvm.transform.PassContext(opt_level=3):
        tvm.compile(module, target=target).export_library(str(model.work / "model.so"))


def load(model, threads):
    tvm.runtime.config_threadpool(1, threads) if hasattr(tvm.runtime, "config_threadpool") else None
    machine = relax.VirtualMachine(tvm.runtime.load_module(str(model.work / "model.so")), tvm.cpu())
    inputs = [tvm.runtime.tensor(x) for x in model.inputs]

    def run():
        result = machine["main"](*inputs)
        return [result.numpy()] if hasattr(result, "numpy") else [x.numpy() for x in result]

    return run


serve(prepare, load)
