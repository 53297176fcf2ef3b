"""MNN from ONNX, in high precision."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
from serve import serve


def prepare(model):
    subprocess.run([Path(sys.executable).parent / "mnnconvert", "-f", "ONNX", "--modelFile", model.onnx,
                    "--MNNModel", model.work / "model.mnn", "--bizCode", "x"],
                   cwd=model.work, check=True, capture_output=True)


def load(model, threads):
    import MNN.expr as expr
    import MNN.nn as nn

    graph = onnx.load(model.onnx, load_external_data=False).graph
    manager = nn.create_runtime_manager(({"backend": "CPU", "precision": "high", "numThread": threads},))
    net = nn.load_module_from_file(str(model.work / "model.mnn"), [i.name for i in graph.input],
                                   [o.name for o in graph.output], runtime_manager=manager,
                                   dynamic=False, shape_mutable=False)
    kinds = {"float32": expr.float, "int32": expr.int}
    arrays = [x.astype(np.int32) if x.dtype == np.int64 else x for x in model.inputs]

    def run():
        outputs = net.forward([expr.const(x, list(x.shape), expr.NCHW, kinds[str(x.dtype)]) for x in arrays])
        outputs = outputs if isinstance(outputs, (list, tuple)) else [outputs]
        return [np.array(expr.convert(y, expr.NCHW).read()) for y in outputs]

    return run


serve(prepare, load)
