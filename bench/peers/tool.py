"""Runs another runtime's converter or compiler."""

import subprocess
import sys
from pathlib import Path


def script(name):
    """A program of the environment this Python belongs to."""
    return Path(sys.executable).parent / name


def tool(*command, folder, marker="rror"):
    """Runs `command` in `folder`; a failure is the first line that has `marker`, or the last.
    Returns what it printed."""
    done = subprocess.run([*map(str, command)], cwd=folder, capture_output=True, text=True, errors="replace")
    if done.returncode:
        lines = [line.strip() for line in (done.stderr + done.stdout).splitlines() if line.strip()]
        reason = next((line for line in lines if marker in line), lines[-1] if lines else "")
        reason = reason.replace(f"{folder}/", "")
        raise RuntimeError(reason or f"{Path(command[0]).name}: exit {done.returncode}")
    return done.stdout + done.stderr
