"""marver, called from Python like the peers: the C interface through ctypes."""

import ctypes as c
import os

import numpy as np
from serve import serve


class TensorType(c.Structure):
    _fields_ = [("dtype", c.c_int32), ("rank", c.c_int32), ("dims", c.POINTER(c.c_int64))]


class Alias(c.Structure):
    _fields_ = [("input", c.c_uint32), ("output", c.c_uint32)]


class Signature(c.Structure):
    _fields_ = [("input_count", c.c_uint32), ("output_count", c.c_uint32), ("symbol_count", c.c_uint32),
                ("alias_count", c.c_uint32), ("inputs", c.POINTER(TensorType)), ("outputs", c.POINTER(TensorType)),
                ("symbols", c.c_void_p), ("aliases", c.POINTER(Alias))]


class Tensor(c.Structure):
    _fields_ = [("dtype", c.c_int32), ("rank", c.c_int32), ("dims", c.POINTER(c.c_int64)), ("data", c.c_void_p),
                ("bytes", c.c_size_t)]


class Error(c.Structure):
    _fields_ = [("status", c.c_int32), ("message", c.c_char * 500)]


class LoadOptions(c.Structure):
    _fields_ = [("flags", c.c_uint32), ("public_key", c.c_void_p), ("pool", c.c_void_p)]


library = c.CDLL(os.environ["MARVER_LIBRARY"])
library.mv_module_signature.restype = c.POINTER(Signature)
library.mv_session_message.restype = c.c_char_p
library.mv_dtype_name.restype = c.c_char_p


def load(model):
    error = Error()

    def check(status):
        if status:
            raise RuntimeError(error.message.decode())

    pool, module, session = c.c_void_p(), c.c_void_p(), c.c_void_p()
    check(library.mv_pool_create(model.threads, c.byref(pool), c.byref(error)))
    options = LoadOptions(0, None, pool)
    path = os.fsencode(os.environ["MARVER_MODULE"])
    check(library.mv_module_load_file(path, c.byref(options), c.byref(module), c.byref(error)))
    check(library.mv_session_create(module, b"main", pool, c.byref(session), c.byref(error)))
    signature = library.mv_module_signature(module, b"main").contents

    def call(function, *arguments):
        if function(session, *arguments):
            raise RuntimeError(library.mv_session_message(session).decode())

    for i, x in enumerate(model.inputs):
        dims = (c.c_int64 * x.ndim)(*x.shape)
        call(library.mv_session_set_input, i, dims, c.c_void_p(x.ctypes.data), c.c_size_t(x.nbytes))
    # A decoder's cache is updated where it is.
    for i in range(signature.alias_count):
        x = model.inputs[signature.aliases[i].input]
        call(library.mv_session_set_output, signature.aliases[i].output, c.c_void_p(x.ctypes.data),
             c.c_size_t(x.nbytes))

    invoke, status_of = library.mv_session_invoke, session

    def run():
        if invoke(status_of):
            raise RuntimeError(library.mv_session_message(session).decode())

    def output(index):
        tensor = Tensor()
        call(library.mv_session_output, index, c.byref(tensor))
        dtype = np.dtype(NUMPY_NAMES[library.mv_dtype_name(tensor.dtype).decode()])
        shape = tensor.dims[:tensor.rank]
        return np.frombuffer(c.string_at(tensor.data, tensor.bytes), dtype).reshape(shape)

    return run, lambda _: [output(i) for i in range(signature.output_count)]


# What the benchmarked models return.
NUMPY_NAMES = {"f32": "float32", "f64": "float64", "i64": "int64", "i32": "int32"}

serve(None, load)
