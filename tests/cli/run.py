#!/usr/bin/env python3
"""The command lines as they are documented: options, exit codes, messages, files.

usage: run.py --build BUILD [--only REGEX] [SUBJECT...]

A subject is one of the files beside this one.
"""

import argparse
import importlib
import re
import sys
import tempfile
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "harness"))
from context import CHECKS, Context  # noqa: E402
from marver import Failure, run_in_environment  # noqa: E402

SUBJECTS = ("every_tool", "compile", "models", "results", "run_module", "bench_and_audit", "python_export")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--build", type=Path, required=True)
    parser.add_argument("--only", default="", metavar="REGEX", help="only the checks whose name matches")
    parser.add_argument("subjects", nargs="*", choices=[[], *SUBJECTS], metavar="SUBJECT")
    arguments = parser.parse_args()
    run_in_environment()
    for subject in arguments.subjects or SUBJECTS:
        importlib.import_module(subject)
    failures = count = 0
    with tempfile.TemporaryDirectory() as base:
        Context(arguments.build, Path(base))  # without a compiler there is nothing to check
        for number, function in enumerate(CHECKS):
            if not re.search(arguments.only, function.__name__):
                continue
            count += 1
            folder = Path(base) / str(number)
            folder.mkdir()
            try:
                function(Context(arguments.build, folder))
                print(f"ok    {function.__name__}", flush=True)
            except Failure as failure:
                failures += 1
                print(f"FAIL  {function.__name__}: {failure}", flush=True)
            except Exception:
                failures += 1
                print(f"FAIL  {function.__name__}: {traceback.format_exc(limit=-2)}", flush=True)
    print(f"{count} checks, {failures} failed")
    return 1 if failures or not count else 0


if __name__ == "__main__":
    sys.exit(main())
