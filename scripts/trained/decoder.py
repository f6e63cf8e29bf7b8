"""The decoder of a Llama checkpoint in fp32 over many conversations at once, with linear layers that the caller computes."""

from dataclasses import dataclass

import torch
import transformers
from torch.nn import functional
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

# Linear layers with the same inputs are one weight.
KINDS = ("qkv", "o", "gate_up", "down")


class Trie:
    """Tokens of many conversations, each once per beginning. Those of the first conversations come first."""

    def __init__(self, ids):
        tokens, positions, nodes, self.paths = [], [], {}, []
        for row in ids:
            node, path = None, []
            for position, token in enumerate(row):
                if (node, token) not in nodes:
                    nodes[node, token] = len(tokens)
                    tokens.append(token)
                    positions.append(position)
                node = nodes[node, token]
                path.append(node)
            self.paths.append(torch.tensor(path))
        self.tokens, self.positions = torch.tensor(tokens), torch.tensor(positions)
        self.last = torch.stack([path[-1] for path in self.paths])


@dataclass
class Layer:
    norms: dict  # of the inputs of qkv and gate_up
    weights: dict


class Decoder:
    def __init__(self, folder):
        model = transformers.AutoModel.from_pretrained(folder, dtype=torch.float32).requires_grad_(False)
        self.config, self.rotary = model.config, model.rotary_emb
        self.embedding, self.norm = model.embed_tokens.weight, model.norm.weight
        self.head_width = model.layers[0].self_attn.head_dim
        self.layers = []
        for layer in model.layers:
            attention, mlp = layer.self_attn, layer.mlp
            weights = {
                "qkv": torch.cat([attention.q_proj.weight, attention.k_proj.weight, attention.v_proj.weight]),
                "o": attention.o_proj.weight,
                "gate_up": torch.cat([mlp.gate_proj.weight, mlp.up_proj.weight]),
                "down": mlp.down_proj.weight,
            }
            norms = {"qkv": layer.input_layernorm.weight, "gate_up": layer.post_attention_layernorm.weight}
            self.layers.append(Layer(norms, weights))

    def normed(self, hidden, weight):
        return functional.rms_norm(hidden, weight.shape, weight, self.config.rms_norm_eps)

    def attention(self, qkv, trie):
        heads, kv_heads = self.config.num_attention_heads, self.config.num_key_value_heads
        qkv = qkv.unflatten(1, (-1, self.head_width)).transpose(0, 1)
        q, k, v = qkv.split([heads, kv_heads, kv_heads])
        cos, sin = (each[0] for each in self.rotary(qkv, trie.positions[None]))
        q, k = apply_rotary_pos_emb(q, k, cos, sin, unsqueeze_dim=0)
        found = torch.empty_like(q)
        for path in trie.paths:
            one = (part[None, :, path] for part in (q, k, v))
            found[:, path] = functional.scaled_dot_product_attention(*one, is_causal=True, enable_gqa=True)[0]
        return found.transpose(0, 1).flatten(1)

    def steps(self, trie, first=0, hidden=None):
        """A generator that gives `layer, kind, inputs, residual stream` of each linear layer, takes its outputs, and
        returns the final hidden states of the conversations' last tokens. Starts at layer `first` with its `hidden`."""
        if hidden is None:
            hidden = self.embedding[trie.tokens]
        for index, layer in enumerate(self.layers[first:], first):
            inputs = self.normed(hidden, layer.norms["qkv"])
            inputs = self.attention((yield index, "qkv", inputs, hidden), trie)
            hidden = hidden + (yield index, "o", inputs, hidden)
            inputs = self.normed(hidden, layer.norms["gate_up"])
            gate, up = (yield index, "gate_up", inputs, hidden).chunk(2, 1)
            inputs = functional.silu(gate) * up
            hidden = hidden + (yield index, "down", inputs, hidden)
        return self.normed(hidden[trie.last], self.norm)

    def exact(self, index, kind, inputs, _hidden):
        return inputs @ self.layers[index].weights[kind].T


def run(steps, outputs_of):
    """Runs a generator of `Decoder.steps` to its end; `outputs_of(layer, kind, inputs, hidden)` computes linear layers."""
    asked = next(steps)
    while True:
        try:
            asked = steps.send(outputs_of(*asked))
        except StopIteration as end:
            return end.value
