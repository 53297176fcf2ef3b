"""MNN from ONNX, in high precision."""

import sys

import MNN.expr as expr
import MNN.nn as nn
import numpy as np
import onnx
from serve import serve
from tool import tool


def prepare(model):
    (model.work / "model.mnn").unlink(missing_ok=True)
    # Not the wheel's own mnnconvert, which installs a package to report its use.
    said = tool(sys.executable, "-c", "import sys, _tools; _tools.mnnconvert(sys.argv)", "-f", "ONNX",
                "--modelFile", model.onnx, "--MNNModel", "model.mnn", "--bizCode", "x", folder=model.work)
    if not (model.work / "model.mnn").exists():
        reason = next((line for line in said.splitlines() if "Not Support" in line), "")
        raise RuntimeError(f"the converter wrote no model{reason[reason.find(':', 12):] if reason else ''}")
    return [model.work / "model.mnn"]


def load(model):
    graph = onnx.load(model.onnx, load_external_data=False).graph
    manager = nn.create_runtime_manager(({"backend": "CPU", "precision": "high", "numThread": model.threads},))
    net = nn.load_module_from_file(str(model.work / "model.mnn"), [i.name for i in graph.input],
                                   [o.name for o in graph.output], runtime_manager=manager,
                                   dynamic=False, shape_mutable=False)
    kinds = {"float32": expr.float, "int32": expr.int}
    arrays = [x.astype(np.int32) if x.dtype == np.int64 else x for x in model.inputs]

    def run():
        outputs = net.forward([expr.const(x, list(x.shape), expr.NCHW, kinds[str(x.dtype)]) for x in arrays])
        outputs = outputs if isinstance(outputs, (list, tuple)) else [outputs]
        return [expr.convert(y, expr.NCHW).read() if y.data_format == expr.NC4HW4 else y.read() for y in outputs]

    return run, lambda result: result


serve(prepare, load)
