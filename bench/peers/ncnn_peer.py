"""ncnn through pnnx from TorchScript, in f32."""

import os
import tempfile

import ncnn
import numpy as np
from serve import serve
from tool import script, tool

FILES = ("m.ncnn.param", "m.ncnn.bin")


def prepare(model):
    import torch

    module = torch.export.load(model.pt2).module()
    inputs = tuple(torch.from_numpy(x) for x in model.inputs)
    torch.jit.trace(module, inputs, check_trace=False, strict=False).save(model.work / "m.pt")
    kinds = {"float32": "f32", "int64": "i64"}
    shapes = ",".join(f"[{','.join(map(str, x.shape))}]{kinds[str(x.dtype)]}" for x in model.inputs)
    tool(script("pnnx"), "m.pt", f"inputshape={shapes}", "fp16=0", folder=model.work)
    return [model.work / name for name in FILES]


def load_files(net, folder):
    """Its only reason for a failure is what it writes to stderr."""
    with tempfile.TemporaryFile("w+") as said:
        stderr = os.dup(2)
        os.dup2(said.fileno(), 2)
        failed = net.load_param(str(folder / FILES[0])) or net.load_model(str(folder / FILES[1]))
        os.dup2(stderr, 2)
        os.close(stderr)
        said.seek(0)
        lines = said.read().splitlines()
    if failed:
        raise RuntimeError(lines[-1] if lines else "ncnn does not load what pnnx wrote")


def load(model):
    net = ncnn.Net()
    net.opt.num_threads = model.threads
    for name in dir(net.opt):
        if name.startswith(("use_fp16", "use_bf16")):
            setattr(net.opt, name, False)
    load_files(net, model.work)
    # ncnn knows no batch.
    inputs = [ncnn.Mat(np.ascontiguousarray(x[0] if x.ndim > 1 and x.shape[0] == 1 else x)) for x in model.inputs]
    names = list(zip(net.input_names(), inputs))

    def run():
        extractor = net.create_extractor()
        for name, value in names:
            extractor.input(name, value)
        results = [extractor.extract(name) for name in net.output_names()]
        if any(status for status, _ in results):
            raise RuntimeError("ncnn does not run it")
        return results

    return run, lambda results: [np.array(mat) for _, mat in results]


serve(prepare, load)
