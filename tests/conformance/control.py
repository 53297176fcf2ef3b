#!/usr/bin/env python3
"""Runs that must end, through the C API: limits, cancelling, failures, memory of loops.

usage: control.py --build BUILD [--keep]
"""

import argparse
import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "harness"))
from marver import Failure, Tools, run_in_environment  # noqa: E402

# Adds one to `x` until the count is `n`: for ever, if that is negative.
COUNT = """
func.func @main(%x: tensor<4xf32>, %n: tensor<i64>) -> tensor<4xf32> {
  %one = arith.constant dense<1.0> : tensor<4xf32>
  %c0 = arith.constant 0 : i64
  %c1 = arith.constant 1 : i64
  %limit = tensor.extract %n[] : tensor<i64>
  %r:2 = scf.while (%i = %c0, %t = %x) : (i64, tensor<4xf32>) -> (i64, tensor<4xf32>) {
    %go = arith.cmpi ne, %i, %limit : i64
    scf.condition(%go) %i, %t : i64, tensor<4xf32>
  } do {
  ^bb0(%i: i64, %t: tensor<4xf32>):
    %e = tensor.empty() : tensor<4xf32>
    %u = linalg.add ins(%t, %one : tensor<4xf32>, tensor<4xf32>)
                    outs(%e : tensor<4xf32>) -> tensor<4xf32>
    %j = arith.addi %i, %c1 : i64
    scf.yield %j, %u : i64, tensor<4xf32>
  }
  return %r#1 : tensor<4xf32>
}
"""

# A list that grows by a row in each iteration, and the list of the first loop
# in a second one, where it stays.
GROW = """
func.func @main(%x: tensor<1x100xf32>, %n: tensor<i64>) -> (tensor<?x100xf32>, tensor<?x100xf32>) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c3 = arith.constant 3 : index
  %limit = tensor.extract %n[] : tensor<i64>
  %end = arith.index_cast %limit : i64 to index
  %first = tensor.cast %x : tensor<1x100xf32> to tensor<?x100xf32>
  %list = scf.for %i = %c0 to %end step %c1 iter_args(%t = %first) -> tensor<?x100xf32> {
    %u = tensor.concat dim(0) %t, %x : (tensor<?x100xf32>, tensor<1x100xf32>) -> tensor<?x100xf32>
    scf.yield %u : tensor<?x100xf32>
  }
  %more = scf.for %i = %c0 to %c3 step %c1 iter_args(%t = %list) -> tensor<?x100xf32> {
    %u = tensor.concat dim(0) %t, %list : (tensor<?x100xf32>, tensor<?x100xf32>) -> tensor<?x100xf32>
    scf.yield %u : tensor<?x100xf32>
  }
  return %list, %more : tensor<?x100xf32>, tensor<?x100xf32>
}
"""

# Row `at` of a table, in a loop: an index may be out of range at any time.
INDEX = """
func.func @main(%table: tensor<5xf32>, %at: tensor<?xi64>) -> tensor<f32> {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %zero = arith.constant dense<0.0> : tensor<f32>
  %five = arith.constant 5 : index
  %n = tensor.dim %at, %c0 : tensor<?xi64>
  %r = scf.for %i = %c0 to %n step %c1 iter_args(%sum = %zero) -> tensor<f32> {
    %a = tensor.extract %at[%i] : tensor<?xi64>
    %k = arith.index_cast %a : i64 to index
    %ok = arith.cmpi ult, %k, %five : index
    mv.check %ok, 1, "the index is one of the table"
    %v = tensor.extract %table[%k] : tensor<5xf32>
    %s = tensor.extract %sum[] : tensor<f32>
    %t = arith.addf %s, %v : f32
    %u = tensor.from_elements %t : tensor<f32>
    scf.yield %u : tensor<f32>
  }
  return %r : tensor<f32>
}
"""


def expect(session, arguments, status, code):
    from runtime import CallError

    try:
        session(*arguments)
    except CallError as error:
        if (error.status, error.code) != (status, code):
            raise Failure(f"{error} (status {error.status}, code {error.code})") from None
        return error
    raise Failure(f"no failure with status {status}, code {code}")


def check_count(module):
    import numpy as np
    from runtime import CANCELLED, FAILURE_CANCELLED, FAILURE_TRIP_COUNT, RUN_FAILED

    x = np.zeros(4, np.float32)
    endless = (x, np.array(-1))
    for threads in (1, 2):
        session = module.session(threads=threads)

        def works():
            (y,) = session(x, np.array(100))
            if not (y == 100).all():
                raise Failure(f"counts to {y}")

        works()
        session.limit_trips(1000)
        error = expect(session, endless, RUN_FAILED, FAILURE_TRIP_COUNT)
        if not error.place:
            raise Failure("the limit has no place")
        works()
        session.limit_trips(99)
        expect(session, (x, np.array(100)), RUN_FAILED, FAILURE_TRIP_COUNT)
        session.limit_trips(100)
        works()
        session.limit_trips(0)
        for _ in range(5):
            done = threading.Event()

            def cancel():
                time.sleep(0.02)
                while not done.is_set():
                    session.cancel()
                    time.sleep(0.001)

            thread = threading.Thread(target=cancel)
            thread.start()
            expect(session, endless, CANCELLED, FAILURE_CANCELLED)
            done.set()
            thread.join()
            works()


def check_grow(module):
    import numpy as np

    rows = 1000
    x = np.arange(100, dtype=np.float32).reshape(1, 100)
    session = module.session()
    allocations = 0
    for call in range(4):
        whole, more = session(x, np.array(rows))
        if whole.shape != (rows + 1, 100) or more.shape != (4 * (rows + 1), 100):
            raise Failure(f"{whole.shape} and {more.shape}")
        if not (whole == x).all() or not (more == x).all():
            raise Failure("rows are wrong")
        statistics = session.statistics()
        # The list and its copy, a list of three and one of four times its length, results.
        if statistics.grown_bytes > 12 * whole.nbytes:
            raise Failure(f"{statistics.grown_bytes} bytes for a list of {whole.nbytes}")
        if call > 2 and statistics.allocations != allocations:
            raise Failure("a call like the one before allocates")
        allocations = statistics.allocations


def check_index(module):
    import numpy as np
    from runtime import FAILURE_INDEX, RUN_FAILED, SHAPE_MISMATCH, CallError

    table = np.arange(5, dtype=np.float32)
    session = module.session()
    for bad in (5, -1, 2**62, -2**63):
        expect(session, (table, np.array([1, 2, bad, 3])), RUN_FAILED, FAILURE_INDEX)
        (total,) = session(table, np.array([1, 2, 4]))
        if total != 7:
            raise Failure(f"{total} after a failure")
    try:
        session(np.zeros(6, np.float32), np.array([1]))
        raise Failure("a wrong dim is accepted")
    except CallError as error:
        if error.status != SHAPE_MISMATCH:
            raise Failure(f"{error}") from None
    if session(table, np.zeros(0, np.int64))[0] != 0:
        raise Failure("a loop of no iteration")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", required=True)
    parser.add_argument("--keep", action="store_true")
    options = parser.parse_args()
    run_in_environment()
    from runtime import Runtime

    tools, runtime = Tools(options.build), Runtime(options.build)
    folder = Path(tempfile.mkdtemp(prefix="marver-control-"))
    failures = 0
    for name, text, check in (("count", COUNT, check_count), ("grow", GROW, check_grow),
                              ("index", INDEX, check_index)):
        (folder / f"{name}.mlir").write_text(text)
        try:
            tools("marver-compile", folder / f"{name}.mlir", "-o", folder / f"{name}.mv")
            check(runtime.load(folder / f"{name}.mv"))
        except Failure as failure:
            failures += 1
            print(f"{name}: {failure}")
    if options.keep:
        print(folder)
    else:
        shutil.rmtree(folder)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
