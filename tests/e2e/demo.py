#!/usr/bin/env python3
"""The model of `./dev demo`: is the file that a script wrote valid, and right?

usage: demo.py --build BUILD

ONNX's checker and ONNX Runtime judge the file and the stored reference; then marver
must agree with that reference.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "harness"))
from marver import ROOT, Tools, mismatch, run_in_environment  # noqa: E402

REFERENCE = ROOT / "zoo" / "mobilenetv2_onnx.reference.npy"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--build", type=Path, required=True)
    arguments = parser.parse_args()
    run_in_environment()
    import numpy as np
    import onnx
    import onnxruntime

    want = np.load(REFERENCE)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        # Without site-packages: the script may need the standard library only.
        subprocess.run([sys.executable, "-I", "-S", ROOT / "zoo" / "mobilenetv2_onnx.py", folder], check=True)
        model, image = folder / "mobilenetv2.onnx", np.load(folder / "input.npy")
        onnx.checker.check_model(onnx.load(model), full_check=True)
        session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        difference = mismatch(want, session.run(None, {"image": image})[0], 0, 1e-4)
        if difference:
            sys.exit(f"ONNX Runtime and the stored reference: {difference}")
        tools = Tools(arguments.build)
        tools("marver-compile", model, "-o", folder / "m.mv")
        for threads in (1, 2):
            tools.run(folder / "m.mv", [folder / "input.npy"], [folder / f"out{threads}.npy"], threads)
        one, two = (np.load(folder / f"out{threads}.npy") for threads in (1, 2))
        difference = mismatch(want, one, 0, 1e-4)
        if difference:
            sys.exit(f"marver and the stored reference: {difference}")
        if one.tobytes() != two.tobytes():
            sys.exit("one and two threads differ")
    print("ok")


if __name__ == "__main__":
    main()
