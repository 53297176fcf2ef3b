"""IREE from ONNX for llvm-cpu. VARIANT: how its compiler is called."""

import os
import sys

from iree import runtime
from serve import serve
from tool import script, tool

FLAGS = {
    "O2": ["--iree-opt-level=O2"],
    "O3 data tiling": ["--iree-opt-level=O3", "--iree-opt-data-tiling"],
    "O3 early data tiling": ["--iree-opt-level=O3", "--iree-dispatch-creation-data-tiling"],
}
# Some kernels of larger models need more than the 32 kB that the compiler allows.
STACK = "--iree-llvmcpu-stack-allocation-limit=262144"


def prepare(model):
    imported, module = model.work / "model.mlir", model.work / "model.vmfb"
    tool(sys.executable, "-m", "iree.compiler.tools.import_onnx", model.onnx, "-o", imported,
         "--opset-version", "20", folder=model.work)
    command = [script("iree-compile"), imported, "-o", module, "--iree-hal-target-device=local",
               "--iree-hal-local-target-device-backends=llvm-cpu", "--iree-llvmcpu-target-cpu=host",
               *FLAGS[os.environ["VARIANT"]]]
    try:
        tool(*command, folder=model.work, marker="error:")
    except RuntimeError as error:
        if "stack allocation limit" not in str(error):
            raise
        tool(*command, STACK, folder=model.work, marker="error:")
    return [module]


def load(model):
    if model.threads == 1:
        device = runtime.get_device("local-sync")
    else:
        runtime.flags.parse_flags(f"--task_topology_group_count={model.threads}")
        device = runtime.get_device("local-task")
    configuration = runtime.Config(device=device)
    context = runtime.SystemContext(config=configuration)
    module = runtime.VmModule.mmap(configuration.vm_instance, str(model.work / "model.vmfb"))
    context.add_vm_module(module)
    (name,) = [n for n in module.function_names if not n.startswith("__") and "$" not in n]
    function = context.modules[module.name][name]
    inputs = [runtime.asdevicearray(device, x) for x in model.inputs]

    def fetch(result):
        return [x.to_host() for x in (result if isinstance(result, (list, tuple)) else [result])]

    return lambda: function(*inputs), fetch


serve(prepare, load)
