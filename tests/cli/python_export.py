"""python -m marver.export."""

import re
import subprocess
import sys

from context import check, expect
from marver import ROOT


@check
def export_module(c):
    (c.folder / "net.py").write_text(
        "import torch\n"
        "class Net(torch.nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        torch.manual_seed(0)\n"
        "        self.conv = torch.nn.Conv2d(3, 8, 3, padding=1)\n"
        "        self.drop = torch.nn.Dropout()\n"
        "    def forward(self, x):\n"
        "        return self.drop(self.conv(x)).relu()\n")
    environment = {"PYTHONPATH": str(ROOT / "python"), "PATH": "/usr/bin:/bin"}
    command = [sys.executable, "-m", "marver.export", "net:Net", "Nx3x8xW", "--dim", "N=1:4", "--dim", "W=2:64",
               "-o", "net.pt2"]
    run = subprocess.run(command, cwd=c.folder, env=environment, capture_output=True, text=True)
    expect(run.returncode == 0, run.stderr[-300:])
    c.tools("marver-compile", c.folder / "net.pt2", "-o", c.folder / "net.mv")
    text = c.tools("marver-run", c.folder / "net.mv", "--input=2x3x8x30xf32=random:1")
    expect(text.startswith("result[0]: 2x8x8x30xf32="), text[:80])
    for wrong in (["net"], ["net:Net", "Nx3"], ["net:Net", "1x3x8x8", "-o", "x.onnx"], ["net:Net", "99999999999x99999999"]):
        run = subprocess.run([*command[:3], *wrong, *([] if "-o" in wrong else ["-o", "x.pt2"])], cwd=c.folder,
                             env=environment, capture_output=True, text=True)
        expect(run.returncode == 2 and "Traceback" not in run.stderr, f"{wrong}: exit {run.returncode}: {run.stderr[-200:]}")


@check
def export_failures_are_one_line(c):
    """What torch has to say of a model, in one line with the place in the model; nothing written."""
    (c.folder / "faulty.py").write_text(
        "import torch\n"
        "class Branch(torch.nn.Module):\n"
        "    def forward(self, x):\n"
        "        if x.sum() > 0:\n"
        "            return x\n"
        "        return -x\n"
        "class Fixed(torch.nn.Module):\n"
        "    def forward(self, x):\n"
        "        return x.reshape(3, 4)\n"
        "class Sized(torch.nn.Module):\n"
        "    def __init__(self, width):\n"
        "        super().__init__()\n")
    environment = {"PYTHONPATH": str(ROOT / "python"), "PATH": "/usr/bin:/bin"}
    for wrong, says in ((["faulty:Branch", "3"], r"data-dependent.*\(\S*faulty\.py:4\)"),
                        (["faulty:Fixed", "Nx4", "--dim", "N=1:8"], r"N .*constant \(3\)"),
                        (["faulty:Sized", "3"], r"missing 1 required.*'width'"),
                        (["faulty:Missing", "3"], r"no attribute 'Missing'"),
                        (["faulty:Fixed", "3x4", "-o", "no/such/x.pt2"], r"no/such")):
        command = [sys.executable, "-m", "marver.export", *wrong, *([] if "-o" in wrong else ["-o", "x.pt2"])]
        run = subprocess.run(command, cwd=c.folder, env=environment, capture_output=True, text=True)
        expect(run.returncode == 1 and len(run.stderr.splitlines()) == 1 and re.search(says, run.stderr),
               f"{wrong}: exit {run.returncode}: {run.stderr[-600:]}")
        expect(not list(c.folder.glob("*x.pt2*")), f"{wrong}: left {list(c.folder.iterdir())}")
    run = subprocess.run([*command, "--verbose"], cwd=c.folder, env=environment, capture_output=True, text=True)
    expect(run.returncode == 1 and "Traceback" in run.stderr, f"--verbose: {run.stderr[-300:]}")
