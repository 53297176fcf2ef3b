#!/usr/bin/env python3
"""Writes an ONNX model from lines of text (standard library only).

usage: onnx_model.py TEST OUTPUT [PREFIX]

Takes the lines of TEST that begin with PREFIX (default "MODEL:"):

    opset 18 [DOMAIN]
    input x f32[N,3,?]          a number, a name (a symbol) or ? for each dim;
                                without brackets the input has no shape
    init w i64[2] 1 -1          elements, or one that is repeated; raw bytes
    typed w f32[2] 1 -1         the same in the typed list of the message
    extern w f32[2] FILE [OFFSET [LENGTH]]   external data
    node Conv(x, w, ) -> y, z {group=2, pads=[1,1], mode="same", a=1.5, to=@n} as NAME
                                a trailing or double comma leaves an operand out;
                                a=@n in a function refers to the call's attribute n,
                                a=&G is the graph G
    output y [f32[N,3]]
    function D.F(a, b; n) -> c  what follows belongs to it, up to
    end
    graph G(a, b) -> c          nodes and constants that follow belong to it, up to end
    ir 8
"""

import re
import struct
import sys

TYPES = {"f32": (1, "f"), "u8": (2, "B"), "i8": (3, "b"), "u16": (4, "H"), "i16": (5, "h"),
         "i32": (6, "i"), "i64": (7, "q"), "str": (8, ""), "bool": (9, "B"), "f16": (10, "e"),
         "f64": (11, "d"), "u32": (12, "I"), "u64": (13, "Q"), "bf16": (16, "H")}
# Field of the typed list, by element type.
LISTS = {"f32": 4, "f64": 10, "i64": 7, "u32": 11, "u64": 11}


def varint(value):
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def number(field, value):
    return varint(field << 3) + varint(value)


def data(field, value):
    value = value.encode() if isinstance(value, str) else bytes(value)
    return varint(field << 3 | 2) + varint(len(value)) + value


def parse_type(text):
    match = re.fullmatch(r"(\w+)(?:\[(.*)\])?", text)
    element, dims = match.groups()
    if dims is None:
        return element, None
    return element, [d.strip() for d in dims.split(",") if d.strip()]


def value_info(name, text):
    if not text:
        return data(1, name)
    element, dims = parse_type(text)
    tensor = number(1, TYPES[element][0])
    if dims is not None:
        shape = b""
        for dim in dims:
            if re.fullmatch(r"-?\d+", dim):
                shape += data(1, number(1, int(dim)))
            else:
                shape += data(1, b"" if dim == "?" else data(2, dim))
        tensor += data(2, shape)
    return data(1, name) + data(2, data(1, tensor))


def scalar(element, text):
    return float(text) if element in ("f16", "f32", "f64") else int(text, 0)


def tensor(kind, name, text, rest):
    element, dims = parse_type(text)
    dims = [int(d) for d in dims]
    head = b"".join(number(1, d) for d in dims) + number(2, TYPES[element][0]) + data(8, name)
    if kind == "extern":
        entries = data(13, data(1, "location") + data(2, rest[0]))
        for key, value in zip(("offset", "length"), rest[1:]):
            entries += data(13, data(1, key) + data(2, value))
        return head + entries + number(14, 1)
    count = 1
    for dim in dims:
        count *= dim
    values = [scalar(element, v) for v in rest]
    if len(values) == 1:
        values *= max(count, 0)
    if kind == "init":
        return head + data(9, struct.pack(f"<{len(values)}{TYPES[element][1]}", *values))
    field = LISTS.get(element, 5)
    if field in (4, 10):
        return head + data(field, struct.pack(f"<{len(values)}{'f' if field == 4 else 'd'}", *values))
    return head + b"".join(number(field, v) for v in values)


GRAPHS = {}


def attribute(name, text):
    out = data(1, name)
    if text.startswith("&"):
        return out + data(6, GRAPHS[text[1:]]) + number(20, 5)
    if text.startswith("@"):
        return out + data(21, text[1:])
    if text.startswith('"'):
        return out + data(4, text[1:-1]) + number(20, 3)
    if text.startswith("["):
        values = [v.strip() for v in text[1:-1].split(",") if v.strip()]
        if any("." in v for v in values):
            return out + b"".join(varint(7 << 3 | 5) + struct.pack("<f", float(v))
                                  for v in values) + number(20, 6)
        return out + b"".join(number(8, int(v)) for v in values) + number(20, 7)
    if re.match(r"\w+\[", text):
        kind, *rest = text.split()
        return out + data(5, tensor("init", "", kind, rest)) + number(20, 4)
    if "." in text:
        return out + varint(2 << 3 | 5) + struct.pack("<f", float(text)) + number(20, 1)
    return out + number(3, int(text)) + number(20, 2)


def split_attributes(text):
    """name=value pairs; commas inside brackets and quotes do not split."""
    return re.findall(r'(\w+)=("[^"]*"|\[[^\]]*\]|\w+\[[^\]]*\][^,]*|[^,\s]+)', text)


def names(text):
    return [name.strip() for name in text.split(",")] if text.strip() else []


def node(text):
    match = re.fullmatch(r"([\w.]+)\((.*?)\) -> (.*?)(?: \{(.*)\})?(?: as (.*))?", text)
    operator, inputs, outputs, attributes, name = match.groups()
    domain, _, operator = operator.rpartition(".")
    out = b"".join(data(1, i) for i in names(inputs))
    out += b"".join(data(2, o) for o in names(outputs))
    out += data(3, name) if name else b""
    out += data(4, operator)
    out += b"".join(data(5, attribute(k, v)) for k, v in split_attributes(attributes or ""))
    return out + (data(7, domain) if domain else b"")


def model(lines):
    graph, functions, opsets, version = b"", b"", b"", 10
    function = None
    outer, inner = None, None  # of a graph inside: what is around it, its name
    for line in lines:
        keyword, _, rest = line.strip().partition(" ")
        words = rest.split()
        if keyword == "opset":
            one = number(2, int(words[0])) + (data(1, words[1]) if len(words) > 1 else b"")
            if function is None:
                opsets += data(8, one)
            else:
                function += data(9, one)
        elif keyword == "ir":
            version = int(rest)
        elif keyword == "input":
            graph += data(11, value_info(words[0], "".join(words[1:])))
        elif keyword == "output":
            graph += data(12, value_info(words[0], "".join(words[1:])))
        elif keyword in ("init", "typed", "extern"):
            graph += data(5, tensor(keyword, words[0], words[1], words[2:]))
        elif keyword == "node":
            if function is None:
                graph += data(1, node(rest))
            else:
                function += data(7, node(rest))
        elif keyword == "function":
            match = re.fullmatch(r"(\w+)\.(\w+)\((.*?)(?:;(.*))?\) -> (.*)", rest)
            domain, name, inputs, attributes, outputs = match.groups()
            function = data(1, name) + data(10, domain)
            function += b"".join(data(4, i) for i in names(inputs))
            function += b"".join(data(5, o) for o in names(outputs))
            function += b"".join(data(6, a) for a in names(attributes or ""))
        elif keyword == "graph":
            name, inputs, outputs = re.fullmatch(r"(\w+)\((.*?)\) -> (.*)", rest).groups()
            outer, inner = graph, name
            graph = data(2, name) + b"".join(data(11, data(1, i)) for i in names(inputs))
            graph += b"".join(data(12, data(1, o)) for o in names(outputs))
        elif keyword == "end" and inner:
            GRAPHS[inner], graph, inner = graph, outer, None
        elif keyword == "end":
            functions += data(25, function)
            function = None
        elif keyword:
            sys.exit(f"unknown line: {line}")
    return number(1, version) + opsets + data(7, graph) + functions


def main():
    prefix = sys.argv[3] if len(sys.argv) > 3 else "MODEL:"
    with open(sys.argv[1]) as file:
        lines = [line.strip()[len(prefix):] for line in file if line.strip().startswith(prefix)]
    with open(sys.argv[2], "wb") as file:
        file.write(model(lines))


if __name__ == "__main__":
    main()
