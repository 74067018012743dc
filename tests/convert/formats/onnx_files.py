"""ONNX files written byte by byte, by protobuf's rules alone: needed by tests, of no library."""

import struct

FLOAT, INT64, STRING = 1, 7, 8
_CODES = {"float32": FLOAT, "int64": INT64, "float16": 10, "float64": 11}


def varint(value):
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def number(field, value):
    return varint(field << 3) + varint(value)


def blob(field, value):
    value = value.encode() if isinstance(value, str) else value
    return varint(field << 3 | 2) + varint(len(value)) + value


def head(name, shape, code):
    return b"".join(number(1, size) for size in shape) + number(2, code) + blob(8, name)


def tensor(name, array):
    return head(name, array.shape, _CODES[array.dtype.name]) + blob(9, array.tobytes())


def external(name, array, location, **entries):
    pairs = {"location": location, **entries}
    told = b"".join(blob(13, blob(1, key) + blob(2, str(pairs[key]))) for key in pairs)
    return head(name, array.shape, _CODES[array.dtype.name]) + told + number(14, 1)


def floats(name, values):
    return head(name, [len(values)], FLOAT) + blob(4, struct.pack(f"<{len(values)}f", *values))


def integers(name, values, code=INT64, field=7):
    packed = b"".join(varint(value & (1 << 64) - 1) for value in values)
    return head(name, [len(values)], code) + blob(field, packed)


def node(op, inputs, outputs, name=""):
    told = [*(blob(1, one) for one in inputs), *(blob(2, one) for one in outputs)]
    return b"".join([*told, blob(3, name), blob(4, op)])


def model(tensors, nodes=(), producer="pytorch", opset=13):
    graph = b"".join([*(blob(1, one) for one in nodes), blob(2, "g")])
    graph += b"".join(blob(5, one) for one in tensors)
    return number(1, 7) + blob(2, producer) + blob(7, graph) + blob(8, number(2, opset))
