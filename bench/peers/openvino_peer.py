"""OpenVINO for latency, from its exported blob; VARIANT: f32 is forced, or the default
precision (bf16 where the CPU has it). Inputs and outputs are shared, not copied."""

import os

import openvino
from serve import serve


def settings(model):
    made = {"PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": "1",
            "INFERENCE_NUM_THREADS": model.threads, "ENABLE_CPU_PINNING": model.threads != 1}
    if os.environ["VARIANT"] == "f32":
        made["INFERENCE_PRECISION_HINT"] = "f32"
    return made


def blob(model):
    return model.work / f"model-{model.threads}.blob"


def prepare(model):
    exported = openvino.Core().compile_model(str(model.onnx), "CPU", settings(model)).export_model()
    blob(model).write_bytes(exported if isinstance(exported, bytes) else exported.getvalue())
    return [blob(model)]


def load(model):
    compiled = openvino.Core().import_model(blob(model).read_bytes(), "CPU", settings(model))
    request = compiled.create_infer_request()
    feeds = dict(enumerate(model.inputs))
    return (lambda: request.infer(feeds, share_inputs=True, share_outputs=True),
            lambda result: [result[output] for output in compiled.outputs])


serve(prepare, load)
