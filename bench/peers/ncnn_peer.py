"""ncnn through pnnx, in f32."""

import subprocess
import sys
from pathlib import Path

import ncnn
import numpy as np
from serve import serve


def prepare(model):
    import torch

    module = torch.export.load(model.pt2).module()
    inputs = tuple(torch.from_numpy(np.ascontiguousarray(x)) for x in model.inputs)
    torch.jit.trace(module, inputs, check_trace=False, strict=False).save(model.work / "m.pt")
    kinds = {"float32": "f32", "int64": "i64"}
    shapes = ",".join(f"[{','.join(map(str, x.shape))}]{kinds[str(x.dtype)]}" for x in model.inputs)
    subprocess.run([Path(sys.executable).parent / "pnnx", "m.pt", f"inputshape={shapes}", "fp16=0"],
                   cwd=model.work, check=True, capture_output=True)


def load(model, threads):
    net = ncnn.Net()
    net.opt.num_threads = threads
    for name in dir(net.opt):
        if name.startswith(("use_fp16", "use_bf16")):
            setattr(net.opt, name, False)
    if net.load_param(str(model.work / "m.ncnn.param")) or net.load_model(str(model.work / "m.ncnn.bin")):
        raise RuntimeError("ncnn does not load what pnnx wrote")
    # ncnn knows no batch.
    inputs = [ncnn.Mat(np.ascontiguousarray(x[0] if x.shape[0] == 1 else x)) for x in model.inputs]

    def run():
        extractor = net.create_extractor()
        for name, value in zip(net.input_names(), inputs):
            extractor.input(name, value)
        return [np.array(extractor.extract(name)[1]) for name in net.output_names()]

    return run


serve(prepare, load)
