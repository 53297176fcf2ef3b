"""LiteRT (TensorFlow Lite) with XNNPACK, converted from PyTorch. Inputs are copied
before every run, as its interface wants it; outputs are not."""

from ai_edge_litert.interpreter import Interpreter
from serve import serve


def prepare(model):
    import litert_torch
    import torch

    program = torch.export.load(model.pt2)
    inputs = tuple(torch.from_numpy(x) for x in model.inputs)
    litert_torch.convert(program.module(), inputs).export(str(model.work / "model.tflite"))
    return [model.work / "model.tflite"]


def load(model):
    interpreter = Interpreter(model_path=str(model.work / "model.tflite"), num_threads=model.threads)
    interpreter.allocate_tensors()
    # Its converter makes 32 bits of 64.
    inputs = [(d["index"], x.astype(d["dtype"], copy=False))
              for d, x in zip(interpreter.get_input_details(), model.inputs)]
    outputs = [d["index"] for d in interpreter.get_output_details()]

    def run():
        for index, value in inputs:
            interpreter.set_tensor(index, value)
        interpreter.invoke()

    return run, lambda _: [interpreter.get_tensor(index) for index in outputs]


serve(prepare, load)
