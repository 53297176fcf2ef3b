"""IREE from ONNX for llvm-cpu. VARIANT: O2, or O3 with data tiling."""

import os
import subprocess
import sys
from pathlib import Path

from serve import serve

FLAGS = {
    "O2": ["--iree-opt-level=O2"],
    "O3": ["--iree-opt-level=O3", "--iree-dispatch-creation-data-tiling"],
}[os.environ.get("VARIANT", "O2")]


def prepare(model):
    tools = Path(sys.executable).parent
    imported = model.work / "model.mlir"
    subprocess.run([sys.executable, "-m", "iree.compiler.tools.import_onnx", model.onnx, "-o", imported,
                    "--opset-version", "20"], check=True, capture_output=True)
    run = subprocess.run(
        [tools / "iree-compile", imported, "-o", model.work / "model.vmfb",
         "--iree-hal-target-device=local", "--iree-hal-local-target-device-backends=llvm-cpu",
         "--iree-llvmcpu-target-cpu=host", "--iree-llvmcpu-stack-allocation-limit=262144", *FLAGS],
        capture_output=True, text=True)
    if run.returncode:
        raise RuntimeError(run.stderr[:300])


def load(model, threads):
    from iree import runtime

    if threads == 1:
        device = runtime.get_device("local-sync")
    else:
        runtime.flags.parse_flags(f"--task_topology_group_count={threads}")
        device = runtime.get_device("local-task")
    configuration = runtime.Config(device=device)
    context = runtime.SystemContext(config=configuration)
    module = runtime.VmModule.mmap(configuration.vm_instance, str(model.work / "model.vmfb"))
    context.add_vm_module(module)
    (name,) = [n for n in module.function_names if not n.startswith("__") and "$" not in n]
    function = context.modules[module.name][name]
    inputs = [runtime.asdevicearray(device, x) for x in model.inputs]

    def run():
        result = function(*inputs)
        result = result if isinstance(result, (list, tuple)) else [result]
        return [x.to_host() for x in result]

    return run


serve(prepare, load)
