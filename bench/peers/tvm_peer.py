"""TVM (Relax) from ONNX, untuned: its default pipeline for this CPU."""

import onnx
import tvm
from serve import serve
from tvm import relax


def prepare(model):
    from tvm.relax.frontend.onnx import from_onnx

    graph = onnx.load(model.onnx)
    weights = {w.name for w in graph.graph.initializer}
    names = [i.name for i in graph.graph.input if i.name not in weights]
    module = from_onnx(graph, shape_dict={n: list(x.shape) for n, x in zip(names, model.inputs)})
    target = tvm.target.Target({"kind": "llvm", "mcpu": tvm.target.codegen.llvm_get_system_cpu()})
    module = tvm.transform.Sequential([relax.transform.DecomposeOpsForInference(),
                                       relax.transform.CanonicalizeBindings()])(module)
    with target:
        module = relax.get_pipeline("zero")(module)
    with tvm.transform.PassContext(opt_level=3):
        tvm.compile(module, target=target).export_library(str(model.work / "model.so"))
    return [model.work / "model.so"]


def load(model):
    machine = relax.VirtualMachine(tvm.runtime.load_module(str(model.work / "model.so")), tvm.cpu())
    inputs = [tvm.runtime.tensor(x) for x in model.inputs]
    main = machine["main"]
    return (lambda: main(*inputs),
            lambda result: [x.numpy() for x in ([result] if hasattr(result, "numpy") else result)])


serve(prepare, load)
