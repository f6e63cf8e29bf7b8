"""Writes our graphs of standard operators (`export --target onnx`) in older and plainer ones, for providers that have no
`RMSNormalization`, `RotaryEmbedding` and `Attention`, and only know operators up to a set before 23.

What comes out is what exporters have made for years, and what OpenVINO looks for when it fuses: powers, means and roots;
halves that are turned; products, a mask, a softmax, products.
"""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPERATOR_SET, IR_VERSION = 17, 8
POSITIONS = 4096
# Of no use once cosines and sines are read from tables.
ANGLES = ("rotary/positions", "rotary/column", "rotary/angles")


class Rewriter:
    def __init__(self, graph, with_tables):
        self.graph = graph
        self.with_tables = with_tables
        self.nodes = []
        self.made = {}

    def node(self, operator, inputs, name, output=None, **attributes):
        output = output or f"{name}:0"
        self.nodes.append(helper.make_node(operator, inputs, [output], name=name, **attributes))
        return output

    def once(self, key, make):
        """A value that many nodes share."""
        if key not in self.made:
            self.made[key] = make()
        return self.made[key]

    def constant(self, values, element):
        array = np.array(values, element)

        def make():
            name = f"plain/constant.{len(self.made)}"
            self.graph.initializer.append(numpy_helper.from_array(array, name))
            return name

        return self.once((array.dtype.str, array.shape, array.tobytes()), make)

    def integers(self, *values):
        return self.constant(values, np.int64)

    def number(self, value):
        return self.constant(value, np.float32)

    def RMSNormalization(self, node, epsilon, axis, stash_type):
        x, weight = node.input
        square = self.node("Pow", [x, self.number(2)], f"{node.name}/square")
        mean = self.node("ReduceMean", [square], f"{node.name}/mean", axes=[axis], keepdims=1)
        mean = self.node("Add", [mean, self.number(epsilon)], f"{node.name}/epsilon")
        root = self.node("Sqrt", [mean], f"{node.name}/root")
        inverse = self.node("Div", [self.number(1), root], f"{node.name}/inverse")
        normed = self.node("Mul", [x, inverse], f"{node.name}/normed")
        self.node("Mul", [normed, weight], node.name, node.output[0])

    def RotaryEmbedding(self, node, num_heads, interleaved):
        assert not interleaved, node.name
        x, cos, sin = node.input

        def table(half):
            """`[1, T, 1, size]` of `[1, T, size / 2]`."""
            both = self.node("Concat", [half, half], f"{half}/both", axis=-1)
            return self.node("Unsqueeze", [both, self.integers(2)], f"{half}/heads")

        cos, sin = (self.once(half, lambda half=half: table(half)) for half in (cos, sin))
        heads = self.node("Reshape", [x, self.integers(0, 0, num_heads, -1)], f"{node.name}/heads")
        first, second = f"{node.name}/first", f"{node.name}/second"
        self.nodes.append(helper.make_node("Split", [heads], [first, second], name=f"{node.name}/halves", axis=-1))
        minus = self.node("Neg", [second], f"{node.name}/minus")
        turned = self.node("Concat", [minus, first], f"{node.name}/turned", axis=-1)
        left = self.node("Mul", [heads, cos], f"{node.name}/left")
        right = self.node("Mul", [turned, sin], f"{node.name}/right")
        rotated = self.node("Add", [left, right], f"{node.name}/rotated")
        self.node("Reshape", [rotated, self.shape_of_rows()], node.name, node.output[0])

    def shape_of_rows(self):
        return self.integers(0, 0, -1)

    def Attention(self, node, q_num_heads, kv_num_heads, is_causal, scale=None):
        assert is_causal and len(node.input) == 3, f"{node.name}: only causal attention without a mask"

        def heads(value, what, count):
            split = self.node("Reshape", [value, self.integers(0, 0, count, -1)], f"{node.name}/{what}/heads")
            first = self.node("Transpose", [split], f"{node.name}/{what}/first", perm=[0, 2, 1, 3])
            if count == q_num_heads:
                return first
            repeated = np.repeat(np.arange(count), q_num_heads // count)
            return self.node("Gather", [first, self.integers(*repeated)], f"{node.name}/{what}/repeated", axis=1)

        query, key, value = node.input
        size = self.width(query) // q_num_heads
        query, key, value = heads(query, "q", q_num_heads), heads(key, "k", kv_num_heads), heads(value, "v", kv_num_heads)
        turned = self.node("Transpose", [key], f"{node.name}/k/turned", perm=[0, 1, 3, 2])
        products = self.node("MatMul", [query, turned], f"{node.name}/products")
        scale = self.number(size**-0.5 if scale is None else scale)
        scaled = self.node("Mul", [products, scale], f"{node.name}/scaled")
        masked = self.node("Add", [scaled, self.once("causal", self.causal)], f"{node.name}/masked")
        shares = self.node("Softmax", [masked], f"{node.name}/shares", axis=-1)
        attended = self.node("MatMul", [shares, value], f"{node.name}/attended")
        back = self.node("Transpose", [attended], f"{node.name}/back", perm=[0, 2, 1, 3])
        self.node("Reshape", [back, self.shape_of_rows()], node.name, node.output[0])

    def causal(self):
        """`[1, 1, S, S]`: 0 where a token is seen, else minus infinity."""
        shape = self.node("Shape", ["row_tokens"], "causal/shape")
        length = self.node("Gather", [shape, self.constant(1, np.int64)], "causal/length")
        zero, one = self.constant(0, np.int64), self.constant(1, np.int64)
        places = self.node("Range", [zero, length, one], "causal/places")
        row = self.node("Unsqueeze", [places, self.integers(0, 1, 2)], "causal/row")
        column = self.node("Unsqueeze", [places, self.integers(0, 1, 3)], "causal/column")
        seen = self.node("LessOrEqual", [row, column], "causal/seen")
        return self.node("Where", [seen, self.number(0), self.number(-np.inf)], "causal/mask")

    def from_table(self, node, function):
        """Reads a cosine or sine by the position, instead of computing it of an angle."""
        (frequencies,) = [i for i in self.graph.initializer if i.name == "rotary/inv_freq"]
        angles = np.arange(POSITIONS, dtype=np.float32)[:, None] * numpy_helper.to_array(frequencies).reshape(-1)
        self.node("Gather", [self.constant(function(angles), np.float32), "position_ids"], node.name, node.output[0], axis=0)

    def width(self, value):
        """The last dimension, as the graph notes it."""
        known = next(info for info in self.graph.value_info if info.name == value)
        return known.type.tensor_type.shape.dim[-1].dim_value

    def run(self):
        for node in list(self.graph.node):
            rewrite = getattr(self, node.op_type, None)
            if self.with_tables and node.op_type in ("Cos", "Sin"):
                self.from_table(node, {"Cos": np.cos, "Sin": np.sin}[node.op_type])
            elif self.with_tables and node.name in ANGLES:
                continue
            elif rewrite is None:
                self.nodes.append(node)
            else:
                rewrite(node, **{a.name: helper.get_attribute_value(a) for a in node.attribute})
        del self.graph.node[:]
        self.graph.node.extend(self.nodes)
        # The notes of the old operators' values, of which some are gone.
        del self.graph.value_info[:]
        read = {name for node in self.nodes for name in node.input}
        for unread in [i for i in self.graph.initializer if i.name not in read]:
            self.graph.initializer.remove(unread)


def rewrite(source, target, with_tables):
    """Writes the graph `source` to `target`, which has to be in the same folder: its weights stay where they are.

    `with_tables` reads the cosines and sines of rotary embedding from tables for 4096 positions. A provider that computes
    all of a graph in bf16 also rounds positions and angles to 8 bits.
    """
    model = onnx.load(source, load_external_data=False)
    assert all(t.data_type != TensorProto.BFLOAT16 for t in model.graph.initializer), f"{source} is not in fp32"
    Rewriter(model.graph, with_tables).run()
    model.ir_version = IR_VERSION
    del model.opset_import[:]
    model.opset_import.append(helper.make_opsetid("", OPERATOR_SET))
    onnx.save(model, target)
