"""The cases of evaluate.py: textual IR, inputs and references."""

import dataclasses
import math

import numpy as np

NAMES = {"float16": "f16", "float32": "f32", "float64": "f64", "bool": "i1",
         "int8": "i8", "int16": "i16", "int32": "i32", "int64": "i64"}


@dataclasses.dataclass
class Case:
    name: str
    function: str
    inputs: list
    expected: list
    tolerance: tuple = (2e-6, 1e-7)
    failure: str = ""


def tensor(shape, element="f32"):
    return "tensor<" + "".join(f"{'?' if d is None else d}x" for d in shape) + element + ">"


def of(array, dynamic=()):
    shape = [None if i in dynamic else d for i, d in enumerate(array.shape)]
    return tensor(shape, NAMES[str(array.dtype)])


def function(name, inputs, results, body):
    """`inputs` and `results` are types; the body defines %r0, %r1, ..."""
    arguments = ", ".join(f"%a{i}: {t}" for i, t in enumerate(inputs))
    returned = ", ".join(f"%r{i}" for i in range(len(results)))
    return (f"func.func @{name}({arguments}) -> ({', '.join(results)}) attributes {{mv.entry}} {{\n"
            f"{body}\n  return {returned} : {', '.join(results)}\n}}\n")


def affine(dims, results):
    return f"affine_map<({', '.join(dims)}) -> ({', '.join(results)})>"


def generic(result, out_type, operands, maps, iterators, body, out="%e", arguments=None):
    """`operands`: (name, type) pairs; `maps`: with the output's last."""
    ins = ", ".join(n for n, _ in operands)
    types = ", ".join(t for _, t in operands)
    elements = [t.split("x")[-1].rstrip(">") if "x" in t else t[7:-1] for _, t in operands] + [
        out_type.split("x")[-1].rstrip(">") if "x" in out_type else out_type[7:-1]]
    block = ", ".join(f"%{'xyzw'[i] if i < len(operands) else 'o'}: {t}" for i, t in enumerate(elements))
    kinds = ", ".join(f'"{i}"' for i in iterators)
    ins_text = f"ins({ins} : {types}) " if operands else ""
    return (f"  {result} = linalg.generic {{indexing_maps = [{', '.join(maps)}], iterator_types = [{kinds}]}} "
            f"{ins_text}outs({out} : {out_type}) {{\n  ^bb0({block}):\n{body}\n  }} -> {out_type}\n")


def empty(type_, name="%e", sizes=""):
    return f"  {name} = tensor.empty({sizes}) : {type_}\n"


PAR, RED = "parallel", "reduction"


def elementwise(name, arrays, body, expected, dynamic=(), tolerance=(2e-6, 1e-7), result="f32", failure=""):
    """All operands of one shape."""
    types = [of(a, dynamic) for a in arrays]
    shape = arrays[0].shape
    out = tensor([None if i in dynamic else d for i, d in enumerate(shape)], result)
    dims = [f"d{i}" for i in range(len(shape))]
    identity = affine(dims, dims)
    text = ""
    for d in sorted(dynamic):
        text += f"  %c{d} = arith.constant {d} : index\n  %s{d} = tensor.dim %a0, %c{d} : {types[0]}\n"
    text += empty(out, sizes=", ".join(f"%s{d}" for d in sorted(dynamic)))
    text += generic("%r0", out, [(f"%a{i}", t) for i, t in enumerate(types)], [identity] * (len(types) + 1),
                    [PAR] * len(shape), body)
    return Case(name, function(name, types, [out], text), list(arrays), [expected], tolerance, failure)


def unary_cases(rng):
    special = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0, 1e-40, -1e-40, 1e-20, 3e38, -3e38,
                        0.5, -0.5, 1.5, 2.5, -2.5, 88.7, -88.7, -103.0, 104.0, 1e-7], np.float32)
    wide = np.concatenate([special, rng.standard_normal(1500).astype(np.float32) * 8,
                           np.exp(rng.uniform(-40, 40, 1500)).astype(np.float32)])
    erf = np.vectorize(math.erf)
    functions = {
        "exp": np.exp, "expm1": np.expm1, "log": np.log, "log1p": np.log1p, "tanh": np.tanh, "erf": erf,
        "sqrt": np.sqrt, "rsqrt": lambda x: 1 / np.sqrt(x), "sin": np.sin, "cos": np.cos, "absf": np.abs,
        "floor": np.floor, "ceil": np.ceil, "trunc": np.trunc, "roundeven": np.rint,
        "round": lambda x: np.copysign(np.floor(np.abs(x) + 0.5), x),
        "atan": np.arctan, "sinh": np.sinh, "cosh": np.cosh, "asinh": np.arcsinh, "exp2": np.exp2,
        "log2": np.log2, "log10": np.log10, "cbrt": np.cbrt, "tan": np.tan,
        "asin": np.arcsin, "acos": np.arccos, "acosh": np.arccosh, "atanh": np.arctanh,
    }
    for name, reference in functions.items():
        x = wide
        if name in ("sin", "cos", "tan"):
            x = np.where(np.abs(x) < 1e9, x, np.float32(3))
        if name in ("asin", "acos", "atanh"):
            x = np.concatenate([x, rng.uniform(-1, 1, 500).astype(np.float32)])
        with np.errstate(all="ignore"):
            expected = reference(x.astype(np.float64))
            as_f32 = expected.astype(np.float32)
        body = f"    %t = math.{name} %x : f32\n    linalg.yield %t : f32"
        yield elementwise(f"math_{name}", [x], body, as_f32, tolerance=(3e-7, 1e-44))
        if name in ("absf", "floor", "ceil", "trunc", "roundeven", "round", "sqrt", "rsqrt"):
            continue
        x64 = np.concatenate([special.astype(np.float64), rng.standard_normal(600) * 8, rng.uniform(-1, 1, 300)])
        if name in ("sin", "cos", "tan"):
            x64 = np.where(np.abs(x64) < 1e9, x64, 3.0)
        with np.errstate(all="ignore"):
            expected = reference(x64)
        yield elementwise(f"math64_{name}", [x64], body.replace("f32", "f64"), expected, result="f64",
                          tolerance=(4e-14 if name == "exp2" else 2e-15, 1e-300) if name != "tan" else (1e-13, 1e-300))
    # 1 + exp(x) is computed as one thing: logistic functions of either sign.
    for name, sign, body in (
            ("silu", -1, "    %n = arith.negf %x : f32\n    %p = math.exp %n : f32\n"),
            ("logistic_down", 1, "    %p = math.exp %x : f32\n")):
        with np.errstate(all="ignore"):
            x64 = wide.astype(np.float64)
            expected = (x64 / (1 + np.exp(sign * x64).astype(np.float32))).astype(np.float32)
        body = ("    %one = arith.constant 1.0 : f32\n" + body + "    %d = arith.addf %p, %one : f32\n"
                "    %t = arith.divf %x, %d : f32\n    linalg.yield %t : f32")
        yield elementwise(name, [wide], body, expected, tolerance=(1.5e-6, 1e-36))
    x = np.concatenate([special, np.abs(rng.standard_normal(1000)).astype(np.float32) * 4])
    y = np.concatenate([rng.permutation(special), rng.integers(-6, 6, 1000).astype(np.float32) * 0.5])
    grid_x, grid_y = (g.ravel().astype(np.float32) for g in np.meshgrid(special, special))
    for tag, (p, q) in {"": (x, y), "_special": (grid_x, grid_y)}.items():
        with np.errstate(all="ignore"):
            power = np.power(p.astype(np.float64), q.astype(np.float64)).astype(np.float32)
            angle = np.arctan2(p.astype(np.float64), q.astype(np.float64)).astype(np.float32)
        yield elementwise(f"math_powf{tag}", [p, q], "    %t = math.powf %x, %y : f32\n    linalg.yield %t : f32",
                          power, tolerance=(3e-7, 1e-44))
        yield elementwise(f"math_atan2{tag}", [p, q], "    %t = math.atan2 %x, %y : f32\n    linalg.yield %t : f32",
                          angle, tolerance=(3e-7, 1e-44))
        for op, reference in (("maximumf", np.maximum), ("minimumf", np.minimum)):
            yield elementwise(f"{op}{tag}", [p, q], f"    %t = arith.{op} %x, %y : f32\n    linalg.yield %t : f32",
                              reference(p, q))


def type_cases(rng):
    x = rng.standard_normal((5, 37)).astype(np.float16)
    y = rng.standard_normal((5, 37)).astype(np.float16)
    yield elementwise("half_add", [x, y], "    %t = arith.addf %x, %y : f16\n    linalg.yield %t : f16",
                      (x.astype(np.float32) + y.astype(np.float32)).astype(np.float16), result="f16",
                      tolerance=(0, 0))
    f = np.concatenate([rng.standard_normal(99).astype(np.float32), [np.nan, np.inf, 1e-40, 65504, 3.4e38]]).astype(np.float32)
    bits = f.view(np.uint32).astype(np.uint64)
    rounded = (((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16) << 16).astype(np.uint32).view(np.float32).copy()
    rounded[np.isnan(f)] = np.nan
    yield elementwise("bf16_round", [f], "    %h = arith.truncf %x : f32 to bf16\n    %t = arith.extf %h : bf16 to f32\n"
                      "    linalg.yield %t : f32", rounded, tolerance=(0, 0))
    for name in ("i8", "i16", "i32", "i64"):
        dtype = np.dtype(name.replace("i", "int"))
        info = np.iinfo(dtype)
        a = rng.integers(info.min, info.max, (3, 45), dtype=dtype, endpoint=True)
        b = rng.integers(-7, 7, (3, 45), dtype=dtype)
        b[b == 0] = 3
        a[0, 0], b[0, 0] = info.max, -1
        with np.errstate(all="ignore"):
            yield elementwise(f"add_{name}", [a, b], f"    %t = arith.addi %x, %y : {name}\n    linalg.yield %t : {name}",
                              a + b, result=name)
            yield elementwise(f"floordiv_{name}", [a, b],
                              f"    %t = arith.floordivsi %x, %y : {name}\n    linalg.yield %t : {name}",
                              a // b, result=name)
            rem = np.fmod(a, b)
            yield elementwise(f"remsi_{name}", [a, b], f"    %t = arith.remsi %x, %y : {name}\n    linalg.yield %t : {name}",
                              rem, result=name)
        zero = b.copy()
        zero[2, 44] = 0
        yield elementwise(f"div_by_zero_{name}", [a, zero],
                          f"    %t = arith.divsi %x, %y : {name}\n    linalg.yield %t : {name}", a, result=name,
                          failure="division")
        yield elementwise(f"to_float_{name}", [a], f"    %t = arith.sitofp %x : {name} to f32\n    linalg.yield %t : f32",
                          a.astype(np.float32))
    m = rng.integers(0, 2, (4, 21)).astype(np.bool_)
    n = rng.integers(0, 2, (4, 21)).astype(np.bool_)
    yield elementwise("and_i1", [m, n], "    %t = arith.andi %x, %y : i1\n    linalg.yield %t : i1", m & n, result="i1")
    v = rng.standard_normal((4, 21)).astype(np.float32)
    yield elementwise("select_i1", [m, v], "    %c = arith.constant 0.5 : f32\n    %t = arith.select %x, %y, %c : f32\n"
                      "    linalg.yield %t : f32", np.where(m, v, np.float32(0.5)))
    yield elementwise("compare", [v, v[::-1].copy()], "    %t = arith.cmpf olt, %x, %y : f32\n    linalg.yield %t : i1",
                      v < v[::-1], result="i1")


def shape_cases(rng):
    # Broadcasts and transposes of odd sizes.
    x = rng.standard_normal((3, 5, 37)).astype(np.float32)
    row = rng.standard_normal(37).astype(np.float32)
    column = rng.standard_normal((5, 1)).astype(np.float32)
    out = of(x)
    add3 = "    %s = arith.addf %x, %y : f32\n    %t = arith.mulf %s, %z : f32\n    linalg.yield %t : f32"
    d = ["i", "j", "k"]
    yield Case("broadcast", function("broadcast", [out, of(row), of(column)], [out], empty(out) + generic(
        "%r0", out, [("%a0", out), ("%a1", of(row)), ("%a2", of(column))],
        [affine(d, d), affine(d, ["k"]), affine(d, ["j", "0"]), affine(d, d)], [PAR] * 3, add3)),
        [x, row, column], [(x + row) * column])
    for perm in ((0, 2, 1), (2, 1, 0), (1, 2, 0), (1, 0, 2)):
        t = x.transpose(perm).copy()
        name = "transpose_" + "".join(map(str, perm))
        source = [None] * 3
        for position, p in enumerate(perm):
            source[p] = d[position]
        yield Case(name, function(name, [out], [of(t)], empty(of(t)) + generic(
            "%r0", of(t), [("%a0", out)], [affine(d, source), affine(d, d)], [PAR] * 3,
            "    %t = arith.addf %x, %x : f32\n    linalg.yield %t : f32")), [x], [t + t])
    # Tiles that are read along one dim and written along another, with and without tails; a second operand
    # that lies the other way is broadcast.
    for rows, columns in ((16, 16), (40, 33), (17, 200), (64, 48), (9, 100)):
        m = rng.standard_normal((2, rows, columns)).astype(np.float32)
        scale = rng.standard_normal(rows).astype(np.float32)
        turned = (m * scale[:, None]).transpose(0, 2, 1).copy()
        body = "    %t = arith.mulf %x, %y : f32\n    linalg.yield %t : f32"
        for dynamic in ((), (1, 2)):
            name = f"tiles_{rows}x{columns}" + ("_dynamic" if dynamic else "")
            source_type, result_type = of(m, dynamic), of(turned, dynamic)
            text = ""
            if dynamic:
                text = (f"  %c1 = arith.constant 1 : index\n  %c2 = arith.constant 2 : index\n  %s1 = tensor.dim %a0, %c1 : {source_type}\n"
                        f"  %s2 = tensor.dim %a0, %c2 : {source_type}\n")
            text += empty(result_type, sizes="%s2, %s1" if dynamic else "")
            text += generic("%r0", result_type, [("%a0", source_type), ("%a1", of(scale, (0,) if dynamic else ()))],
                            [affine(d, ["i", "k", "j"]), affine(d, ["k"]), affine(d, d)], [PAR] * 3, body)
            yield Case(name, function(name, [source_type, of(scale, (0,) if dynamic else ())], [result_type], text),
                       [m, scale], [turned])
    double = "    %t = arith.addf %x, %x : f32\n    linalg.yield %t : f32"

    def doubled(name, source, type_, rank):
        dims = [f"d{i}" for i in range(rank)]
        return empty(type_) + generic(name, type_, [(source, type_)], [affine(dims, dims)] * 2, [PAR] * rank, double)

    # Slices with offsets and steps, before and after a computation.
    big = rng.standard_normal((4, 9, 70)).astype(np.float32)
    part = big[1:3, 2:9:3, 5:70:2].copy()
    text = f"  %s = tensor.extract_slice %a0[1, 2, 5] [2, 3, 33] [1, 3, 2] : {of(big)} to {of(part)}\n"
    yield Case("slice", function("slice", [of(big)], [of(part)], text + doubled("%r0", "%s", of(part), 3)),
               [big], [part + part])
    text = doubled("%d", "%a0", of(big), 3) + (
        f"  %r0 = tensor.extract_slice %d[1, 2, 5] [2, 3, 33] [1, 3, 2] : {of(big)} to {of(part)}\n")
    yield Case("slice_after", function("slice_after", [of(big)], [of(part)], text), [big], [part + part])
    # Pads: before, after, in the middle; all dims.
    for tag, low, high in (("inner", (0, 0, 3), (0, 0, 2)), ("all", (1, 2, 3), (2, 0, 1)), ("outer", (2, 0, 0), (0, 0, 0)),
                           ("middle", (0, 1, 0), (0, 1, 0))):
        p = np.pad(x, list(zip(low, high)), constant_values=-1.5)

        def pad(name, source):
            return (f"  %v = arith.constant -1.5 : f32\n  {name} = tensor.pad {source} low[{', '.join(map(str, low))}] "
                    f"high[{', '.join(map(str, high))}] {{\n  ^bb0(%i: index, %j: index, %k: index):\n"
                    f"    tensor.yield %v : f32\n  }} : {of(x)} to {of(p)}\n")
        yield Case(f"pad_{tag}_before", function(f"pad_{tag}_before", [of(x)], [of(p)],
                   pad("%p", "%a0") + doubled("%r0", "%p", of(p), 3)), [x], [p + p])
        after = np.pad(x + x, list(zip(low, high)), constant_values=-1.5)
        yield Case(f"pad_{tag}_after", function(f"pad_{tag}_after", [of(x)], [of(p)],
                   doubled("%d", "%a0", of(x), 3) + pad("%r0", "%d")), [x], [after])
    # Slices inserted, with and without a step; a padding computed from the index; a generated tensor.
    for tag, offsets, sizes, steps in (("plain", (1, 2, 5), (2, 3, 20), (1, 1, 1)), ("step", (0, 1, 3), (2, 2, 11), (2, 2, 3)),
                                       ("row", (2, 0, 0), (1, 5, 37), (1, 1, 1))):
        piece = rng.standard_normal(sizes).astype(np.float32)
        merged = x.copy()
        merged[tuple(slice(o, o + (n - 1) * k + 1, k) for o, n, k in zip(offsets, sizes, steps))] = piece
        text = (f"  %s = tensor.insert_slice %a1 into %a0[{', '.join(map(str, offsets))}] [{', '.join(map(str, sizes))}] "
                f"[{', '.join(map(str, steps))}] : {of(piece)} into {of(x)}\n")
        yield Case(f"insert_{tag}", function(f"insert_{tag}", [of(x), of(piece)], [of(x)], text + doubled("%r0", "%s", of(x), 3)),
                   [x, piece], [merged + merged])
    ramp = np.add.outer(np.arange(5), np.arange(40)).astype(np.float32)
    inside = rng.standard_normal((3, 37)).astype(np.float32)
    padded = ramp.copy()
    padded[1:4, 2:39] = inside
    text = (f"  %r0 = tensor.pad %a0 low[1, 2] high[1, 1] {{\n  ^bb0(%i: index, %j: index):\n    %k = arith.addi %i, %j : index\n"
            f"    %l = arith.index_cast %k : index to i32\n    %f = arith.sitofp %l : i32 to f32\n    tensor.yield %f : f32\n"
            f"  }} : {of(inside)} to {of(padded)}\n")
    yield Case("pad_computed", function("pad_computed", [of(inside)], [of(padded)], text), [inside], [padded])
    generated = inside.T + np.arange(37, dtype=np.float32)[:, None]
    text = (f"  %r0 = tensor.generate {{\n  ^bb0(%i: index, %j: index):\n    %x = tensor.extract %a0[%j, %i] : {of(inside)}\n"
            f"    %l = arith.index_cast %i : index to i32\n    %f = arith.sitofp %l : i32 to f32\n    %y = arith.addf %x, %f : f32\n"
            f"    tensor.yield %y : f32\n  }} : {of(generated)}\n")
    yield Case("generate", function("generate", [of(inside)], [of(generated)], text), [inside], [generated])
    # Concatenation along each dim, lanes straddling the boundaries.
    for dim in range(3):
        shapes = [[3, 5, 37], [3, 5, 37], [3, 5, 37]]
        for i, size in enumerate((7, 1, 18)):
            shapes[i][dim] = size
        parts = [rng.standard_normal(s).astype(np.float32) for s in shapes]
        whole = np.concatenate(parts, dim)
        text = (f"  %c = tensor.concat dim({dim}) %a0, %a1, %a2 : ({', '.join(of(p) for p in parts)}) -> {of(whole)}\n")
        yield Case(f"concat_{dim}", function(f"concat_{dim}", [of(p) for p in parts], [of(whole)],
                   text + doubled("%r0", "%c", of(whole), 3)), parts, [whole + whole])
        yield Case(f"concat_plain_{dim}", function(f"concat_plain_{dim}", [of(p) for p in parts], [of(whole)],
                   text.replace("%c =", "%r0 =")), parts, [whole])
    # Reshapes of operands and of computed values, also of transposes.
    flat = x.reshape(15, 37)
    text = f"  %c = tensor.collapse_shape %a0 [[0, 1], [2]] : {of(x)} into {of(flat)}\n"
    yield Case("collapse", function("collapse", [of(x)], [of(flat)], text + doubled("%r0", "%c", of(flat), 2)),
               [x], [flat + flat])
    line = x.reshape(-1)
    text = doubled("%d", "%a0", of(x), 3) + f"  %r0 = tensor.collapse_shape %d [[0, 1, 2]] : {of(x)} into {of(line)}\n"
    yield Case("collapse_after", function("collapse_after", [of(x)], [of(line)], text), [x], [line + line])
    t = x.transpose(2, 0, 1).copy()
    line = t.reshape(-1)
    text = empty(of(t)) + generic("%d", of(t), [("%a0", of(x))], [affine(d, ["j", "k", "i"]), affine(d, d)], [PAR] * 3,
                                  double)
    text += f"  %c = tensor.collapse_shape %d [[0, 1, 2]] : {of(t)} into {of(line)}\n"
    text += empty(of(line), "%e2") + generic("%r0", of(line), [("%c", of(line))], [affine(["i"], ["i"])] * 2, [PAR], double, out="%e2")
    yield Case("collapse_transposed", function("collapse_transposed", [of(x)], [of(line)], text), [x], [4 * line])
    e = x.reshape(3, 5, 1, 37)
    text = f"  %c = tensor.expand_shape %a0 [[0], [1, 2], [3]] output_shape [3, 5, 1, 37] : {of(x)} into {of(e)}\n"
    yield Case("expand", function("expand", [of(x)], [of(e)], text + doubled("%r0", "%c", of(e), 4)), [x], [e + e])
    # Blocks of channels, with a tail.
    for channels in (16, 20, 48, 3):
        image = rng.standard_normal((2, channels, 3, 7)).astype(np.float32)
        blocks = -(-channels // 16)
        packed = tensor([2, blocks, 3, 7, 16])
        text = (f"  %z = arith.constant 0.0 : f32\n  %q = tensor.empty() : {packed}\n  %p = linalg.pack %a0 padding_value(%z : f32) "
                f"inner_dims_pos = [1] inner_tiles = [16] into %q : {of(image)} -> {packed}\n")
        text += doubled("%d", "%p", packed, 5)
        text += (f"  %u = tensor.empty() : {of(image)}\n  %r0 = linalg.unpack %d inner_dims_pos = [1] inner_tiles = [16] into %u "
                 f": {packed} -> {of(image)}\n")
        yield Case(f"blocks_{channels}", function(f"blocks_{channels}", [of(image)], [of(image)], text), [image], [image + image])
    # An index of a loop.
    text = empty(out) + generic("%r0", out, [("%a0", out)], [affine(d, d)] * 2, [PAR] * 3,
        "    %p = linalg.index 2 : index\n    %q = linalg.index 1 : index\n    %s = arith.addi %p, %q : index\n"
        "    %u = arith.index_cast %s : index to i32\n    %v = arith.sitofp %u : i32 to f32\n"
        "    %t = arith.addf %x, %v : f32\n    linalg.yield %t : f32")
    yield Case("loop_index", function("loop_index", [out], [out], text), [x],
               [x + np.arange(37, dtype=np.float32) + np.arange(5, dtype=np.float32)[:, None]])
    # Two results of one shape, and of two shapes.
    y = rng.standard_normal((3, 5, 37)).astype(np.float32)
    small = rng.standard_normal(37).astype(np.float32)
    text = (empty(out) + generic("%r0", out, [("%a0", out), ("%a1", out)], [affine(d, d)] * 3, [PAR] * 3,
            "    %t = arith.addf %x, %y : f32\n    linalg.yield %t : f32") +
            generic("%r1", out, [("%r0", out), ("%a1", out)], [affine(d, d)] * 3, [PAR] * 3,
                    "    %t = arith.mulf %x, %y : f32\n    linalg.yield %t : f32"))
    yield Case("two_results", function("two_results", [out, out], [out, out], text), [x, y], [x + y, (x + y) * y])


def dynamic_cases(rng):
    for tag, shape in (("odd", (3, 37)), ("one", (1, 1)), ("blocks", (4, 64)), ("empty", (0, 5)), ("long", (2, 5000))):
        x = rng.standard_normal(shape).astype(np.float32)
        yield elementwise(f"dynamic_{tag}", [x, x], "    %t = arith.mulf %x, %y : f32\n    linalg.yield %t : f32", x * x,
                          dynamic=(0, 1))
        if x.size == 0:
            continue
        # Row sums and column sums of dynamic sizes.
        in_type, row, column = of(x, (0, 1)), tensor([None]), tensor([None])
        text = (f"  %c0 = arith.constant 0 : index\n  %c1 = arith.constant 1 : index\n  %z = arith.constant 0.0 : f32\n"
                f"  %s0 = tensor.dim %a0, %c0 : {in_type}\n  %s1 = tensor.dim %a0, %c1 : {in_type}\n"
                f"  %e0 = tensor.empty(%s0) : {row}\n  %e1 = tensor.empty(%s1) : {column}\n"
                f"  %f0 = linalg.fill ins(%z : f32) outs(%e0 : {row}) -> {row}\n"
                f"  %f1 = linalg.fill ins(%z : f32) outs(%e1 : {column}) -> {column}\n")
        add = "    %t = arith.addf %o, %x : f32\n    linalg.yield %t : f32"
        d = ["i", "j"]
        text += generic("%r0", row, [("%a0", in_type)], [affine(d, d), affine(d, ["i"])], [PAR, RED], add, out="%f0")
        text += generic("%r1", column, [("%a0", in_type)], [affine(d, d), affine(d, ["j"])], [RED, PAR], add, out="%f1")
        name = f"dynamic_sums_{tag}"
        yield Case(name, function(name, [in_type], [row, column], text), [x],
                   [x.astype(np.float64).sum(1).astype(np.float32), x.astype(np.float64).sum(0).astype(np.float32)],
                   (1e-5, 1e-4))


def reduction_cases(rng):
    kinds = {"sum": ("arith.addf", "0.0", lambda a, ax: a.sum(ax)), "max": ("arith.maximumf", "0xFF800000", lambda a, ax: a.max(ax)),
             "prod": ("arith.mulf", "1.0", lambda a, ax: a.prod(ax))}
    for shape in ((3, 5, 37), (2, 7, 200), (1, 3, 4), (3, 4, 16)):
        x = rng.uniform(-1.5, 1.5, shape).astype(np.float32)
        for kind, (op, init, reference) in kinds.items():
            for axes in ((2,), (1,), (0,), (1, 2), (0, 1, 2), (0, 2)):
                expected = np.asarray(reference(x.astype(np.float64), axes)).astype(np.float32)
                d = ["i", "j", "k"]
                kept = [d[a] for a in range(3) if a not in axes]
                out = tensor(expected.shape)
                text = (f"  %z = arith.constant {init} : f32\n" + empty(out) +
                        f"  %f = linalg.fill ins(%z : f32) outs(%e : {out}) -> {out}\n")
                text += generic("%r0", out, [("%a0", of(x))], [affine(d, d), affine(d, kept)],
                                [RED if a in axes else PAR for a in range(3)],
                                f"    %t = {op} %o, %x : f32\n    linalg.yield %t : f32", out="%f")
                name = f"reduce_{kind}_{'x'.join(map(str, shape))}_{''.join(map(str, axes))}"
                yield Case(name, function(name, [of(x)], [out], text), [x], [expected], (1e-5, 1e-5))
    # NaN wins a maximum.
    x = rng.standard_normal((4, 100)).astype(np.float32)
    x[1, 50] = np.nan
    x[3, 99] = np.nan
    out = tensor([4])
    text = ("  %z = arith.constant 0xFF800000 : f32\n" + empty(out) + f"  %f = linalg.fill ins(%z : f32) outs(%e : {out}) -> {out}\n" +
            generic("%r0", out, [("%a0", of(x))], [affine(["i", "j"], ["i", "j"]), affine(["i", "j"], ["i"])], [PAR, RED],
                    "    %t = arith.maximumf %o, %x : f32\n    linalg.yield %t : f32", out="%f"))
    yield Case("reduce_max_nan", function("reduce_max_nan", [of(x)], [out], text), [x], [x.max(1)])


def mv_cases(rng):
    def one(name, arrays, op, expected, tolerance=(2e-6, 1e-6), failure="", dynamic=()):
        types = [of(a, dynamic) for a in arrays]
        out = of(expected, dynamic)
        return Case(name, function(name, types, [out], f"  %r0 = {op(types, out)}"), list(arrays), [expected], tolerance, failure)

    x = rng.standard_normal((3, 5, 37)).astype(np.float32)
    for dim in range(3):
        e = np.exp(x.astype(np.float64) - x.max(dim, keepdims=True))
        soft = (e / e.sum(dim, keepdims=True))
        yield one(f"softmax_{dim}", [x], lambda t, o, dim=dim: f"mv.softmax %a0 {{dim = {dim} : i64}} : {o}", soft.astype(np.float32))
        yield one(f"log_softmax_{dim}", [x], lambda t, o, dim=dim: f"mv.softmax %a0 {{dim = {dim} : i64, log}} : {o}",
                  np.log(soft).astype(np.float32), (2e-6, 2e-6))
        yield one(f"softmax_dynamic_{dim}", [x], lambda t, o, dim=dim: f"mv.softmax %a0 {{dim = {dim} : i64}} : {o}",
                  soft.astype(np.float32), dynamic=(0, 1, 2))
    for dims in (1, 2):
        axes = tuple(range(3 - dims, 3))
        scale = rng.standard_normal(x.shape[3 - dims:]).astype(np.float32)
        bias = rng.standard_normal(x.shape[3 - dims:]).astype(np.float32)
        y = x.astype(np.float64)
        norm = (y - y.mean(axes, keepdims=True)) / np.sqrt(y.var(axes, keepdims=True) + 1e-5)
        yield one(f"layer_norm_{dims}", [x, scale, bias], lambda t, o, dims=dims:
                  f"mv.layer_norm %a0 scale %a1 : {t[1]} bias %a2 : {t[2]} {{dims = {dims} : i64, epsilon = 1.0e-5 : f64}} : {o}",
                  (norm * scale + bias).astype(np.float32), (5e-6, 5e-6))
        rms = y / np.sqrt((y * y).mean(axes, keepdims=True) + 1e-5)
        yield one(f"rms_norm_{dims}", [x], lambda t, o, dims=dims:
                  f"mv.layer_norm %a0 {{dims = {dims} : i64, epsilon = 1.0e-5 : f64, rms}} : {o}", rms.astype(np.float32), (5e-6, 5e-6))
    # Gathers.
    table = rng.standard_normal((11, 37)).astype(np.float32)
    indices = rng.integers(-11, 11, (2, 4)).astype(np.int64)
    signature = lambda t, o: f"({', '.join(t)}) -> {o}"
    yield one("gather_rows", [table, indices], lambda t, o: f"mv.gather %a0 at %a1 {{dim = 0 : i64}} : {signature(t, o)}", table[indices])
    yield one("gather_columns", [table, indices], lambda t, o: f"mv.gather %a0 at %a1 {{dim = 1 : i64}} : {signature(t, o)}",
              table[:, indices])
    bad = indices.copy()
    bad[1, 3] = 11
    yield one("gather_out_of_range", [table, bad], lambda t, o: f"mv.gather %a0 at %a1 {{dim = 0 : i64}} : {signature(t, o)}",
              table[indices], failure="index")
    element = rng.integers(-37, 37, (11, 20)).astype(np.int32)
    yield one("gather_elements", [table, element], lambda t, o: f"mv.gather_elements %a0 at %a1 {{dim = 1 : i64}} : {signature(t, o)}",
              np.take_along_axis(table, element.astype(np.int64) % 37, 1))
    # Scatter (index_copy).
    where = np.array([3, 0, -1, 3], np.int64)
    updates = rng.standard_normal((4, 37)).astype(np.float32)
    copied = table.copy()
    for i, w in enumerate(where):
        copied[w] = updates[i]
    yield one("scatter_rows", [table, where, updates], lambda t, o: f"mv.scatter %a2 into %a0 at %a1 {{dim = 0 : i64}} : "
              f"({t[0]}, {t[1]}, {t[2]}) -> {o}", copied)
    updates = rng.standard_normal((11, 4)).astype(np.float32)
    copied = table.copy()
    for i, w in enumerate(where):
        copied[:, w] = updates[:, i]
    yield one("scatter_columns", [table, where, updates], lambda t, o: f"mv.scatter %a2 into %a0 at %a1 {{dim = 1 : i64}} : "
              f"({t[0]}, {t[1]}, {t[2]}) -> {o}", copied)
    # Duplicate positions combine in order; slices of a tensor in the middle; one that is out of range.
    block = rng.standard_normal((3, 6, 5, 20)).astype(np.float32)
    at = np.array([5, -6, 5, 2], np.int64)
    more = rng.standard_normal((3, 4, 5, 20)).astype(np.float32)
    for kind, combine in (("replace", lambda x, y: y), ("add", np.add), ("mul", np.multiply), ("max", np.maximum),
                          ("min", np.minimum)):
        copied = block.copy()
        for i, w in enumerate(at):
            copied[:, w] = combine(copied[:, w], more[:, i])
        number = ["replace", "add", "mul", "max", "min"].index(kind)
        yield one(f"scatter_{kind}", [block, at, more], lambda t, o, n=number: f"mv.scatter %a2 into %a0 at %a1 {{dim = 1 : i64, "
                  f"kind = {n} : i32}} : ({t[0]}, {t[1]}, {t[2]}) -> {o}", copied)
    yield one("scatter_out_of_range", [block, np.array([0, 6, 1, 2], np.int64), more], lambda t, o:
              f"mv.scatter %a2 into %a0 at %a1 {{dim = 1 : i64}} : ({t[0]}, {t[1]}, {t[2]}) -> {o}", block, failure="index")
    long = rng.standard_normal((2, 3000)).astype(np.float32)
    long[1, 77] = long[1, 2500] = np.nan
    for kind in ("max", "min"):
        picked = np.where(np.isnan(long), np.inf, long if kind == "max" else -long).argmax(1)
        yield one(f"arg_{kind}_long", [long], lambda t, o, k=kind: f"mv.arg_reduce {k} %a0 {{dim = 1 : i64}} : {signature(t, o)}",
                  picked.astype(np.int64))
    # Products.
    a = rng.standard_normal((2, 5, 33)).astype(np.float32)
    b = rng.standard_normal((2, 33, 19)).astype(np.float32)
    product = (a.astype(np.float64) @ b.astype(np.float64)).astype(np.float32)
    yield one("matmul", [a, b], lambda t, o: f"mv.matmul %a0, %a1 : {signature(t, o)}", product, (1e-5, 1e-5))
    bt = b.transpose(0, 2, 1).copy()
    yield one("matmul_transposed", [a, bt], lambda t, o: f"mv.matmul %a0, %a1 {{transpose_rhs}} : {signature(t, o)}", product,
              (1e-5, 1e-5))
    # Heads brought in front, stored by the product where they are whole vectors; rows of a size known only at run time.
    for heads, size in ((2, 32), (3, 16), (5, 7)):
        for rows in (1, 37):
            for varies in ((), (1,)):
                columns = heads * size
                b = rng.standard_normal((2, 33, columns)).astype(np.float32)
                a = rng.standard_normal((2, rows, 33)).astype(np.float32)
                name = f"matmul_heads_{heads}x{size}_{rows}{'_dynamic' if varies else ''}"
                n = "?" if varies else rows
                line, split, turned = (f"tensor<2x{n}x{columns}xf32>", f"tensor<2x{n}x{heads}x{size}xf32>",
                                       f"tensor<2x{heads}x{n}x{size}xf32>")
                dims = ["a", "b", "c", "d"]
                count = "  %one = arith.constant 1 : index\n  %n = tensor.dim %a0, %one : " + of(a, varies) + "\n" if varies else ""
                text = (f"{count}  %m = mv.matmul %a0, %a1 : ({of(a, varies)}, {of(b)}) -> {line}\n"
                        f"  %s = tensor.expand_shape %m [[0], [1], [2, 3]] output_shape [2, {'%n' if varies else rows}, {heads}, {size}] : "
                        f"{line} into {split}\n" + empty(turned, sizes="%n" if varies else "") +
                        generic("%r0", turned, [("%s", split)], [affine(dims, ["a", "c", "b", "d"]), affine(dims, dims)], [PAR] * 4,
                                "    linalg.yield %x : f32").replace("[parallel", "[\"parallel\""))
                expected = (a.astype(np.float64) @ b).astype(np.float32).reshape(2, rows, heads, size).transpose(0, 2, 1, 3)
                yield Case(name, function(name, [of(a, varies), of(b)], [turned], text), [a, b], [np.ascontiguousarray(expected)],
                           (1e-5, 1e-5))
    # Packed panels so long that the reduction is done in passes; the last panel and its last vector are not whole.
    for rows, columns, varies in ((70, 75, ()), (70, 40, (1,)), (131, 32, ())):
        steps = 2500
        a = rng.standard_normal((2, rows, steps)).astype(np.float32)
        b = rng.standard_normal((steps, columns)).astype(np.float32)
        bias = rng.standard_normal(columns).astype(np.float32)
        panels = -(-columns // 32)
        packed = np.zeros((steps, panels * 32), np.float32)
        packed[:, :columns] = b
        packed = np.ascontiguousarray(packed.reshape(steps, panels, 32).transpose(1, 0, 2))
        expected = (a.astype(np.float64) @ b + bias).astype(np.float32)
        types = [of(a, varies), of(packed), of(bias)]
        out = of(expected, varies)
        name = f"packed_matmul_passes_{rows}x{columns}{'_dynamic' if varies else ''}"
        text = (f"  %r0 = mv.packed_matmul %a0, %a1 bias %a2 {{columns = {columns} : i64}} : ({', '.join(types)}) -> {out}")
        yield Case(name, function(name, types, [out], text), [a, packed, bias], [expected], (1e-5, 2e-4))
    ai = rng.integers(-100, 100, (4, 9)).astype(np.int8)
    bi = rng.integers(-100, 100, (9, 18)).astype(np.int8)
    yield one("matmul_i8", [ai, bi], lambda t, o: f"mv.matmul %a0, %a1 : {signature(t, o)}", ai.astype(np.int32) @ bi.astype(np.int32))
    # Convolutions: groups, strides, dilations, uneven pads; 1-D to 3-D.
    for name, n, c, f, size, kernel, strides, dilations, low, high, groups in (
            ("1d", 2, 4, 6, (23,), (3,), (2,), (1,), (1,), (2,), 2),
            ("2d", 1, 3, 5, (9, 11), (3, 2), (1, 2), (2, 1), (1, 0), (0, 1), 1),
            ("depthwise", 1, 6, 6, (8, 20), (3, 3), (1, 1), (1, 1), (1, 1), (1, 1), 6),
            ("multiplier", 1, 3, 6, (7, 7), (3, 3), (1, 1), (1, 1), (1, 1), (1, 1), 3),
            ("3d", 1, 2, 3, (4, 5, 6), (2, 2, 2), (1, 1, 1), (1, 1, 1), (0, 1, 0), (1, 0, 0), 1)):
        image = rng.standard_normal((n, c, *size)).astype(np.float32)
        filters = rng.standard_normal((f, c // groups, *kernel)).astype(np.float32)
        bias = rng.standard_normal(f).astype(np.float32)
        expected = convolution(image, filters, bias, strides, dilations, low, high, groups)
        array = lambda values: "array<i64: " + ", ".join(map(str, values)) + ">"
        yield one(f"conv_{name}", [image, filters, bias], lambda t, o, s=strides, dl=dilations, p=low + high, g=groups:
                  f"mv.conv %a0, %a1 bias %a2 {{strides = {array(s)}, dilations = {array(dl)}, pads = {array(p)}, groups = {g} : i64}} : {signature(t, o)}",
                  expected.astype(np.float32), (1e-5, 1e-5))
    # Pools.
    image = rng.standard_normal((2, 3, 9, 21)).astype(np.float32)
    for tag, window, strides, dilations, low, high in (("plain", (2, 2), (2, 2), (1, 1), (0, 0), (0, 0)),
                                                       ("same", (3, 3), (1, 1), (1, 1), (1, 1), (1, 1)),
                                                       ("uneven", (3, 2), (2, 1), (1, 2), (1, 0), (0, 1))):
        array = lambda values: "array<i64: " + ", ".join(map(str, values)) + ">"
        for kind, count in (("max", False), ("average", False), ("average", True)):
            expected = pooling(image, kind, count, window, strides, dilations, low, high)
            yield one(f"pool_{kind}{'_counting' if count else ''}_{tag}", [image], lambda t, o, k=kind, c=count, w=window, s=strides,
                      dl=dilations, p=low + high: f"mv.pool {k} %a0 {{window = {array(w)}, strides = {array(s)}, dilations = {array(dl)}, "
                      f"pads = {array(p)}{', count_include_pad' if c else ''}}} : {signature(t, o)}", expected.astype(np.float32))
    # Resizes.
    image = rng.standard_normal((1, 2, 6, 9)).astype(np.float32)
    yield one("resize_nearest_2x", [image], lambda t, o: "mv.resize nearest %a0 {steps = array<f64: 0.5, 0.5>, offsets = array<f64: 0.0, 0.0>, "
              f"shifts = array<f64: 0.0, 0.0>, nearest_bias = 0.0 : f64}} : {t[0]} -> {o}", image.repeat(2, 2).repeat(2, 3))
    for mode in ("linear", "cubic"):
        expected = resize(image, (13, 20), mode)
        yield one(f"resize_{mode}", [image], lambda t, o, mode=mode: f"mv.resize {mode} %a0 {{steps = array<f64: {6 / 13!r}, {9 / 20!r}>, "
                  f"offsets = array<f64: 0.5, 0.5>, shifts = array<f64: -0.5, -0.5>, nearest_bias = 0.0 : f64}} : {t[0]} -> {o}",
                  expected.astype(np.float32), (1e-5, 1e-5))
    # Positions of extrema, running sums.
    v = rng.integers(-3, 4, (3, 5, 37)).astype(np.float32)
    v[1, 2, 20] = np.nan
    for dim in range(3):
        for kind in ("max", "min"):
            picked = np.where(np.isnan(v), np.inf, v if kind == "max" else -v).argmax(dim)
            yield one(f"arg_{kind}_{dim}", [v], lambda t, o, k=kind, dim=dim: f"mv.arg_reduce {k} %a0 {{dim = {dim} : i64}} : {signature(t, o)}",
                      picked.astype(np.int64))
        last = 0
        flipped = np.flip(np.where(np.isnan(v), np.inf, v), dim).argmax(dim)
        last = v.shape[dim] - 1 - flipped
        plain = np.where(np.isnan(v), np.float32(2), v)
        flipped = np.flip(plain, dim).argmax(dim)
        yield one(f"arg_last_{dim}", [plain], lambda t, o, dim=dim: f"mv.arg_reduce max %a0 {{dim = {dim} : i64, last}} : {signature(t, o)}",
                  (v.shape[dim] - 1 - flipped).astype(np.int64))
        for exclusive in (False, True):
            for reverse in (False, True):
                s = np.flip(x, dim) if reverse else x
                c = s.astype(np.float64).cumsum(dim)
                if exclusive:
                    c = c - s
                c = np.flip(c, dim) if reverse else c
                flags = (", exclusive" if exclusive else "") + (", reverse" if reverse else "")
                yield one(f"cumulative_sum_{dim}{flags.replace(', ', '_')}", [x], lambda t, o, dim=dim, flags=flags:
                          f"mv.cumulative_sum %a0 {{dim = {dim} : i64{flags}}} : {o}", np.ascontiguousarray(c).astype(np.float32), (1e-5, 1e-5))
    # The first in order: ties, NaN, rows; positions of true elements.
    for largest in (False, True):
        keys = np.where(np.isnan(v), np.inf, v)
        order = np.argsort(-keys if largest else keys, 2, kind="stable")
        for count in (0, 1, 6, 37):
            flag = " {largest}" if largest else ""
            yield one(f"top_k_{count}{flag.strip(' {}')}", [v], lambda t, o, flag=flag: f"mv.top_k %a0{flag} : {signature(t, o)}",
                      np.ascontiguousarray(order[:, :, :count]))
    words = rng.integers(-1, 2, (29, 3)).astype(np.int32)
    yield one("top_k_rows", [words], lambda t, o: f"mv.top_k %a0 {{rows}} : {signature(t, o)}",
              np.lexsort(words.T[::-1]).astype(np.int64))
    for size in (0, 1, 37):
        marks = rng.integers(0, 2, size).astype(np.bool_)
        yield one(f"true_positions_{size}", [marks], lambda t, o: f"mv.true_positions %a0 : {signature(t, o)}",
                  np.flatnonzero(marks).astype(np.int64))
    # Attention: few and many queries, blocks of keys, masks of several shapes.
    for queries, keys, depth, width in ((7, 19, 16, 24), (1, 300, 64, 64), (3, 45, 20, 17), (70, 260, 36, 72)):
        q = rng.standard_normal((2, 3, queries, depth)).astype(np.float32)
        k = rng.standard_normal((2, 3, keys, depth)).astype(np.float32)
        value = rng.standard_normal((2, 3, keys, width)).astype(np.float32)
        keep = rng.integers(0, 3, (queries, keys)).astype(np.bool_)
        keep[queries // 2] = False
        added = rng.standard_normal((2, 1, queries, keys)).astype(np.float32)
        row = rng.standard_normal((1, 1, 1, keys)).astype(np.float32)
        row[..., keys // 2:] = -np.inf
        last = rng.integers(-1, keys + 2, (2, 1, queries, 1)).astype(np.int64)
        for tag, mask, causal in (("plain", None, False), ("causal", None, True), ("keep", keep, False),
                                  ("added", added, False), ("row", row, False), ("last", last, False),
                                  ("one_last", last[:, :, :1], False)):
            scores = (q.astype(np.float64) @ k.astype(np.float64).swapaxes(2, 3)) * 0.25
            if tag == "keep":
                scores = np.where(keep, scores, -np.inf)
            elif "last" in tag:
                scores = np.where(np.arange(keys) <= mask, scores, -np.inf)
            elif mask is not None:
                scores = scores + mask
            if causal:
                scores = np.where(np.arange(keys) <= np.arange(queries)[:, None], scores, -np.inf)
            top = scores.max(-1, keepdims=True)
            weights = np.exp(scores - np.where(np.isinf(top), 0, top))
            total = weights.sum(-1, keepdims=True)
            weights = weights / np.where(total == 0, 1, total)
            expected = (weights @ value.astype(np.float64)).astype(np.float32)
            arrays = [q, k, value] + ([mask] if mask is not None else [])

            def op(t, o, m=mask, c=causal):
                return (f"mv.attention %a0, %a1, %a2{' mask %a3' if m is not None else ''} "
                        f"{{scale = 0.25 : f64{', causal' if c else ''}}} : {signature(t, o)}")
            name = f"attention_{tag}_{queries}x{keys}"
            yield one(name, arrays, op, expected, (1e-5, 1e-5))
            if tag in ("plain", "causal"):
                yield one(name + "_dynamic", arrays, op, expected, (1e-5, 1e-5), dynamic=(0, 2))


def taps(size, kernel, stride, dilation, low, high):
    """Input positions of each output and tap; -1 where there is none."""
    count = (size + low + high - dilation * (kernel - 1) - 1) // stride + 1
    at = np.arange(count)[:, None] * stride + np.arange(kernel) * dilation - low
    return at


def convolution(image, filters, bias, strides, dilations, low, high, groups):
    n, c = image.shape[:2]
    f = filters.shape[0]
    spatial = image.ndim - 2
    padded = np.pad(image.astype(np.float64), [(0, 0), (0, 0), *zip(low, high)])
    at = [taps(image.shape[2 + s], filters.shape[2 + s], strides[s], dilations[s], low[s], high[s]) + low[s] for s in range(spatial)]
    sizes = [a.shape[0] for a in at]
    out = np.zeros((n, f, *sizes))
    for g in range(groups):
        part = padded[:, g * c // groups:(g + 1) * c // groups]
        chosen = filters[g * f // groups:(g + 1) * f // groups].astype(np.float64)
        for tap in np.ndindex(*filters.shape[2:]):
            view = part
            for s in range(spatial):
                view = view.take(at[s][:, tap[s]], 2 + s)
            out[:, g * f // groups:(g + 1) * f // groups] += np.einsum("nc...,fc->nf...", view, chosen[(slice(None), slice(None), *tap)])
    return out + bias.reshape(1, f, *[1] * spatial)


def pooling(image, kind, count, window, strides, dilations, low, high):
    spatial = len(window)
    at = [taps(image.shape[2 + s], window[s], strides[s], dilations[s], low[s], high[s]) for s in range(spatial)]
    out = np.zeros((*image.shape[:2], *[a.shape[0] for a in at]))
    for o in np.ndindex(*out.shape[2:]):
        values = []
        for tap in np.ndindex(*window):
            p = [at[s][o[s], tap[s]] for s in range(spatial)]
            if all(0 <= p[s] < image.shape[2 + s] for s in range(spatial)):
                values.append(image[(slice(None), slice(None), *p)].astype(np.float64))
        values = np.stack(values)
        where = (slice(None), slice(None), *o)
        if kind == "max":
            out[where] = values.max(0)
        else:
            out[where] = values.sum(0) / (math.prod(window) if count else len(values))
    return out


def resize(image, sizes, mode):
    out = image.astype(np.float64)
    for s, size in enumerate(sizes):
        axis = 2 + s
        length = image.shape[axis]
        x = (np.arange(size) + 0.5) * (length / size) - 0.5
        base = np.floor(x)
        t = x - base
        if mode == "linear":
            weights = [(0, 1 - t), (1, t)]
        else:
            a = -0.75
            near = lambda d: ((a + 2) * d - (a + 3)) * d * d + 1
            far = lambda d: ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
            weights = [(-1, far(t + 1)), (0, near(t)), (1, near(1 - t)), (2, far(2 - t))]
        shape = [1] * 4
        shape[axis] = size
        out = sum(out.take(np.clip(base + d, 0, length - 1).astype(int), axis) * w.reshape(shape) for d, w in weights)
    return out


def all_cases(rng):
    for group in (unary_cases, type_cases, shape_cases, dynamic_cases, reduction_cases, mv_cases):
        yield from group(rng)
