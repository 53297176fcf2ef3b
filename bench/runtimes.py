"""The runtimes that marver is measured against: a script of peers/ each, and the Python
environment that it runs in."""

from pathlib import Path
from typing import NamedTuple

import environment

HERE = Path(__file__).resolve().parent


class Runtime(NamedTuple):
    script: Path
    # requirements/NAME.txt, or None: the zoo's own environment has it.
    requirements: str | None = None
    variant: str = ""
    # What it prepares is for one number of threads.
    per_threads: bool = False
    # Computes in less than f32: shown, but not compared as an equal.
    reduced: bool = False

    def requirements_file(self):
        return HERE / "peers" / "requirements" / f"{self.requirements}.txt"

    def python(self):
        """Its interpreter; makes the environment (once, with pip)."""
        if self.requirements is None:
            return environment.python()
        return environment.make_environment(environment.cache() / "peers" / self.requirements,
                                            self.requirements_file())

    def key(self):
        """Changes with what it is: the script and the versions."""
        files = [self.script, self.requirements_file() if self.requirements else environment.REQUIREMENTS]
        return environment.digest(*(file.read_bytes() for file in files), self.variant.encode())


def script(name):
    return HERE / "peers" / f"{name}_peer.py"


MARVER = Runtime(script("marver"))

PEERS = {
    "ONNX Runtime": Runtime(script("onnxruntime")),
    "OpenVINO f32": Runtime(script("openvino"), "openvino", "f32", per_threads=True),
    "OpenVINO default": Runtime(script("openvino"), "openvino", "default", per_threads=True, reduced=True),
    "ExecuTorch": Runtime(script("executorch"), "executorch"),
    "LiteRT": Runtime(script("litert"), "litert"),
    "MNN": Runtime(script("mnn"), "mnn"),
    "ncnn": Runtime(script("ncnn"), "ncnn"),
    "AOTInductor": Runtime(script("torch")),
    "IREE 3.8 O2": Runtime(script("iree"), "iree-3.8", "O2"),
    "IREE 3.8 data tiling": Runtime(script("iree"), "iree-3.8", "O3 early data tiling"),
    "IREE 3.13 O2": Runtime(script("iree"), "iree-3.13", "O2"),
    "IREE 3.13 data tiling": Runtime(script("iree"), "iree-3.13", "O3 data tiling"),
    "TVM": Runtime(script("tvm"), "tvm"),
}
