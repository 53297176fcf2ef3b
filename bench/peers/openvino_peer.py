"""OpenVINO for latency; with f32 forced, or in its default precision (bf16 where the
CPU has it). Its inputs and outputs are shared, not copied."""

import os

import openvino
from serve import serve


def load(model, threads):
    settings = {"PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": "1",
                "INFERENCE_NUM_THREADS": threads, "ENABLE_CPU_PINNING": threads != 1}
    if os.environ.get("VARIANT") == "f32":
        settings["INFERENCE_PRECISION_HINT"] = "f32"
    core = openvino.Core()
    compiled = core.compile_model(str(model.onnx), "CPU", settings)
    request = compiled.create_infer_request()
    feeds = dict(enumerate(model.inputs))

    def run():
        result = request.infer(feeds, share_inputs=True, share_outputs=True)
        return [result[output] for output in compiled.outputs]

    return run


serve(None, load)
