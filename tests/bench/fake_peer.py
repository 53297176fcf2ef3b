"""A runtime that knows the results already; VARIANT says what goes wrong with it."""

import os

import numpy as np
from serve import serve

VARIANT = os.environ["VARIANT"]


def prepare(model):
    if VARIANT == "does not compile":
        raise ValueError("no operator\nof that name")
    if VARIANT == "dies compiling":
        os._exit(3)
    (model.work / "made").write_bytes(bytes(1000))
    return [model.work / "made"]


def load(model):
    if VARIANT == "does not load":
        raise ValueError("not this one")
    if VARIANT == "dies loading":
        os._exit(4)
    result = [np.load(path) for path in sorted((model.folder / "0").glob("out*.npy"))]
    if VARIANT == "wrong":
        result[0] = result[0] * 1.05
    if VARIANT == "reduced":
        result[0] = result[0] * 1.001
    if VARIANT == "another shape":
        result[0] = result[0][..., 1:]

    def run():
        if VARIANT == "dies running":
            os._exit(5)
        return result

    return run, lambda result: result


serve(prepare, load)
