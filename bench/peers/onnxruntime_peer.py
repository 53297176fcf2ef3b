"""ONNX Runtime: every graph optimization, made ahead of time and stored in its format."""

import onnxruntime
from serve import serve


def options(model):
    made = onnxruntime.SessionOptions()
    made.intra_op_num_threads = model.threads
    made.inter_op_num_threads = 1
    made.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    made.log_severity_level = 3
    return made


def session(path, made):
    return onnxruntime.InferenceSession(path, made, providers=["CPUExecutionProvider"])


def prepare(model):
    made = options(model)
    made.optimized_model_filepath = str(model.work / "model.ort")
    made.add_session_config_entry("session.save_model_format", "ORT")
    session(model.onnx, made)
    return [model.work / "model.ort"]


def load(model):
    loaded = session(model.work / "model.ort", options(model))
    feeds = {i.name: x for i, x in zip(loaded.get_inputs(), model.inputs)}
    return lambda: loaded.run(None, feeds), lambda result: result


serve(prepare, load)
