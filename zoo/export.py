#!/usr/bin/env python3
"""Exports models of the zoo, each once.

usage: export.py [--all] [NAME...]

Without names: the default set, with --all every model. Prints each model's folder.
A model is exported again when its script, exporting.py or a version changes.
"""

import argparse
import importlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import catalog
import environment

HERE = environment.HERE


def key(name):
    script = HERE / f"{catalog.MODELS[name].script}.py"
    return environment.digest(script.read_bytes(), (HERE / "exporting.py").read_bytes(),
                              environment.REQUIREMENTS.read_bytes())


def folder(name):
    """Where the files of `name` are, or will be."""
    return environment.cache() / "zoo" / name


def is_exported(name):
    stamp = folder(name) / "key"
    return stamp.exists() and stamp.read_text() == key(name)


def ensure(name):
    """Exports `name` unless it is there, in a process that has torch."""
    if is_exported(name):
        return folder(name)
    python = environment.python()
    with environment.lock(f"zoo-{name}"):
        if is_exported(name):
            return folder(name)
        begin = time.time()
        target = folder(name)
        partial = target.with_name(f"{name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        subprocess.run([python, HERE / "export.py", "--into", partial, name], check=True,
                       stdout=sys.stderr)
        (partial / "key").write_text(key(name))
        shutil.rmtree(target, ignore_errors=True)
        partial.rename(target)
        print(f"exported {name} in {time.time() - begin:.1f} s", file=sys.stderr, flush=True)
    return target


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--all", action="store_true", help="every model, the large ones too")
    parser.add_argument("--into", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("names", nargs="*", metavar="NAME")
    arguments = parser.parse_args()
    for name in arguments.names:
        if name not in catalog.MODELS:
            parser.error(f"no model '{name}'; there are: {', '.join(catalog.MODELS)}")
    if arguments.into:  # in the environment that has torch
        import exporting

        (name,) = arguments.names
        model = importlib.import_module(catalog.MODELS[name].script).make(name)
        exporting.write(name, model, arguments.into)
        return
    which = "all" if arguments.all or os.environ.get("MARVER_ZOO_SET") == "all" else "default"
    for name in arguments.names or catalog.names(which):
        print(ensure(name))


if __name__ == "__main__":
    main()
