# lit's configuration: which files are tests, and which tools they may call.
# One folder a stage of the compiler; a test is textual IR (or a small Python
# script that prints a model) with RUN and CHECK lines.

import os

import lit.formats

config.name = "marver"
config.test_format = lit.formats.ShTest(execute_external=False)
config.suffixes = [".mlir", ".test"]
config.excludes = ["Inputs"]
config.test_source_root = os.path.dirname(__file__)
config.test_exec_root = os.path.join(config.marver_build, "tests", "lit")

# FileCheck, not and split-file come from LLVM's own tools of the same version.
config.environment["PATH"] = os.pathsep.join(
    [config.marver_tools, config.llvm_tools, os.environ["PATH"]]
)
for variable in ("ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS", "LSAN_OPTIONS"):
    if variable in os.environ:
        config.environment[variable] = os.environ[variable]
config.substitutions.append(("%python", config.python))
