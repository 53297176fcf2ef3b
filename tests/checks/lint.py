#!/usr/bin/env python3
"""Runs clang-tidy on every file of the compilation database.

usage: lint.py BUILD [FILE...]

A file that passed is not looked at again until something changes that could
change the answer: its own text, the text of any header of this project that it
includes, its compile command, the .clang-tidy files above it, or clang-tidy itself.
The results are kept in $XDG_CACHE_HOME/marver/lint (~/.cache/marver/lint).
"""

import concurrent.futures
import hashlib
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TIDY = os.environ.get("CLANG_TIDY", "clang-tidy-22")
INCLUDE = re.compile(rb'^[ \t]*#[ \t]*include[ \t]*"([^"]+)"', re.M)


def include_folders(command):
    """The folders that -I and -isystem name, in order."""
    words = iter(command)
    for word in words:
        if word in ("-I", "-isystem"):
            yield Path(next(words))
        elif word.startswith("-I"):
            yield Path(word[2:])


def project_files(source, folders, build):
    """`source` and every file of this project that it includes, found by text."""
    found, todo = {}, [source]
    while todo:
        file = todo.pop()
        if file in found:
            continue
        text = found[file] = file.read_bytes()
        for name in INCLUDE.findall(text):
            for folder in [file.parent, *folders]:
                header = (folder / name.decode()).resolve()
                if header.is_file():
                    if header.is_relative_to(ROOT) or header.is_relative_to(build):
                        todo.append(header)
                    break
    return found


def settings(source):
    """What the .clang-tidy files say that hold for `source`."""
    files = (folder / ".clang-tidy" for folder in source.parents if folder.is_relative_to(ROOT))
    return b"".join(file.read_bytes() for file in files if file.is_file())


def main():
    build = Path(sys.argv[1]).resolve()
    wanted = {Path(name).resolve() for name in sys.argv[2:]}
    # Outside the clone, so that a fresh one does not look at every file again: the
    # key below holds no path of this clone.
    caches = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    cache = caches / "marver" / "lint"
    cache.mkdir(parents=True, exist_ok=True)
    version = subprocess.run([TIDY, "--version"], capture_output=True, check=True).stdout

    # A file that several targets compile is looked at as the first of them does.
    todo, seen = [], set()
    for entry in json.loads((build / "compile_commands.json").read_text()):
        source = Path(entry["directory"], entry["file"]).resolve()
        # Generated files are under the build folder and not ours to judge.
        if not source.is_relative_to(ROOT) or source.is_relative_to(build):
            continue
        if (wanted and source not in wanted) or source.suffix not in (".c", ".cpp"):
            continue
        if source in seen:
            continue
        seen.add(source)
        command = shlex.split(entry["command"])
        # The command is the same in every clone but for where that is.
        portable = entry["command"].replace(str(build), "@build").replace(str(ROOT), "@root")
        key = hashlib.sha256(version + settings(source) + portable.encode())
        for file, text in sorted(project_files(source, list(include_folders(command)), build).items()):
            key.update(hashlib.sha256(text).digest())
        stamp = cache / key.hexdigest()
        if not stamp.exists():
            todo.append((source, stamp))

    def check(item):
        source, stamp = item
        run = subprocess.run(
            [TIDY, "-p", build, "--quiet", source], capture_output=True, text=True
        )
        if run.returncode == 0:
            stamp.touch()
        return source, run

    failures = 0
    with concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for source, run in pool.map(check, todo):
            if run.returncode:
                failures += 1
                print(f"-- {source.relative_to(ROOT)}", (run.stdout.strip() or run.stderr.strip()), sep="\n", flush=True)
    print(f"clang-tidy: {len(todo)} files looked at, {failures} with findings")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
