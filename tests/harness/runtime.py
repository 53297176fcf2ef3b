"""The C API of the runtime, called from Python: for tests of what the tools do not show."""

import ctypes
from pathlib import Path

import numpy as np

OK, SHAPE_MISMATCH, RUN_FAILED, CANCELLED = 0, 9, 14, 15
FAILURE_INDEX, FAILURE_ASSERT, FAILURE_SHAPE, FAILURE_TRIP_COUNT, FAILURE_CANCELLED = 1, 3, 4, 5, 7
DTYPES = {1: np.bool_, 2: np.int8, 3: np.int16, 4: np.int32, 5: np.int64, 6: np.uint8,
          7: np.uint16, 8: np.uint32, 9: np.uint64, 10: np.float16, 12: np.float32, 13: np.float64}


class _Error(ctypes.Structure):
    _fields_ = [("status", ctypes.c_int32), ("message", ctypes.c_char * 500)]


class _Tensor(ctypes.Structure):
    _fields_ = [("dtype", ctypes.c_int32), ("rank", ctypes.c_int32),
                ("dims", ctypes.POINTER(ctypes.c_int64)), ("data", ctypes.c_void_p),
                ("bytes", ctypes.c_size_t)]

    def array(self):
        dims = [self.dims[i] for i in range(self.rank)]
        if not self.bytes:
            return np.zeros(dims, DTYPES[self.dtype])
        memory = (ctypes.c_char * self.bytes).from_address(self.data)
        return np.frombuffer(memory, DTYPES[self.dtype]).reshape(dims)


class Statistics(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in (
        "invokes launches allocations arena_bytes scratch_bytes output_bytes grown_bytes copies "
        "copied_bytes state_bytes").split()]


class CallError(Exception):
    """A call that failed: its status, and for a run the code and place."""

    def __init__(self, status, message, code=0, place=0):
        super().__init__(message)
        self.status, self.code, self.place = status, code, place


class Runtime:
    """libmarver.so of one build."""

    def __init__(self, build):
        self.api = ctypes.CDLL(str(Path(build).resolve() / "runtime" / "libmarver.so"))
        self.api.mv_session_message.restype = ctypes.c_char_p

    def load(self, path):
        return Module(self.api, path)


class Module:
    def __init__(self, api, path):
        self.api, self.handle = api, ctypes.c_void_p()
        error = _Error()
        status = api.mv_module_load_file(str(path).encode(), None, ctypes.byref(self.handle),
                                         ctypes.byref(error))
        if status:
            raise CallError(status, error.message.decode())

    def session(self, function="main", threads=1):
        return Session(self, function, threads)

    def __del__(self):
        self.api.mv_module_release(self.handle)


class Session:
    """Call it with arrays to get arrays."""

    def __init__(self, module, function, threads):
        self.api, self.handle, self.inputs = module.api, ctypes.c_void_p(), []
        pool, error = ctypes.c_void_p(), _Error()
        self.api.mv_pool_create(threads, ctypes.byref(pool), ctypes.byref(error))
        status = self.api.mv_session_create(module.handle, function.encode(), pool,
                                            ctypes.byref(self.handle), ctypes.byref(error))
        self.api.mv_pool_release(pool)
        if status:
            raise CallError(status, error.message.decode())
        self.output_count = 0

    def check(self, status):
        if status:
            code, place = ctypes.c_int(), ctypes.c_int64()
            self.api.mv_session_failure(self.handle, ctypes.byref(code), ctypes.byref(place))
            raise CallError(status, self.api.mv_session_message(self.handle).decode(),
                                code.value, place.value)

    def __call__(self, *arrays):
        self.inputs = [np.ascontiguousarray(array).reshape(np.shape(array)) for array in arrays]
        for i, array in enumerate(self.inputs):
            dims = (ctypes.c_int64 * max(1, array.ndim))(*array.shape)
            self.check(self.api.mv_session_set_input(
                self.handle, i, dims, ctypes.c_void_p(array.ctypes.data),
                ctypes.c_size_t(array.nbytes)))
        self.check(self.api.mv_session_invoke(self.handle))
        results = []
        tensor = _Tensor()
        while self.api.mv_session_output(self.handle, len(results), ctypes.byref(tensor)) == OK:
            results.append(tensor.array().copy())
        return results

    def state(self, index):
        """The state itself: what is written to the array is there in the next call."""
        tensor = _Tensor()
        self.check(self.api.mv_session_state(self.handle, index, ctypes.byref(tensor)))
        return tensor.array()

    def reset(self):
        self.check(self.api.mv_session_reset(self.handle))

    def share_state(self, other):
        self.check(self.api.mv_session_share_state(self.handle, other.handle))

    def cancel(self):
        self.api.mv_session_cancel(self.handle)

    def limit_trips(self, trips):
        self.api.mv_session_set_trip_limit(self.handle, ctypes.c_uint64(trips))

    def statistics(self):
        statistics = Statistics()
        self.api.mv_session_statistics(self.handle, ctypes.byref(statistics))
        return statistics

    def __del__(self):
        self.api.mv_session_free(self.handle)
