"""LiteRT (TensorFlow Lite) with XNNPACK, converted from PyTorch."""

import numpy as np
from serve import serve


def prepare(model):
    import litert_torch
    import torch

    program = torch.export.load(model.pt2)
    inputs = tuple(torch.from_numpy(np.ascontiguousarray(x)) for x in model.inputs)
    litert_torch.convert(program.module(), inputs).export(str(model.work / "model.tflite"))


def load(model, threads):
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(model.work / "model.tflite"), num_threads=threads)
    interpreter.allocate_tensors()
    inputs = [d["index"] for d in interpreter.get_input_details()]
    outputs = [d["index"] for d in interpreter.get_output_details()]

    def run():
        for index, value in zip(inputs, model.inputs):
            interpreter.set_tensor(index, value)
        interpreter.invoke()
        return [interpreter.get_tensor(index) for index in outputs]

    return run


serve(prepare, load)
