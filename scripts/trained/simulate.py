"""What ways of rounding weights do to scores: computed in fp32 with the rounded weights, so that nothing else is rounded.

Methods that look at inputs are shown the conversations that heads are fitted on, layer by layer, with the inputs that
the layers before give once they are rounded. A change of basis that has an exact inverse (scales of channels, rotations)
is undone behind the rounding instead of being folded into the layers around; in exact arithmetic that is the same.
"""

import sys
import time
from dataclasses import dataclass, replace

import torch

from .decoder import KINDS, Decoder, Trie, run
from .rounding import Grid, damped, gptq

ROWS = Grid(bits=8, block=None)
EIGHT = Grid(bits=8)


@dataclass(frozen=True)
class Method:
    grid: Grid = Grid()
    weighted: bool = False  # errors of `Grid.search`, by the inputs' squares
    gptq: str | None = None  # `in order` or `by activation`
    basis: str | None = None  # a key of `Simulation.bases`
    targets: str | None = None  # what GPTQ aims at: outputs for `exact inputs`, or the exact `residual stream`
    at_once: bool = False  # GPTQ is shown the inputs that there are without rounding, as one run over all layers gives them
    in_8_bits: str | None = None  # a kind of weight
    worst_in_8_bits: int = 0  # this many down_proj
    activations: int | None = None  # bits, with a scale for each token
    only: str | None = None  # the only kind of weight that is rounded


def methods():
    found = {}
    searched, asymmetric = Grid(search=True), Grid(symmetric=False)
    in_order, by_activation = Method(gptq="in order"), Method(gptq="by activation")
    best = replace(by_activation, grid=searched)
    found["int4"] = Method()
    found["int4, least squares"] = Method(searched)
    found["int4, weighted least squares"] = Method(searched, weighted=True)
    found["int4, AWQ"] = Method(basis="awq")
    found["int4, AWQ, weighted least squares"] = Method(searched, weighted=True, basis="awq")
    found["int4, rotated"] = Method(basis="rotated")
    found["int4, GPTQ"] = in_order
    found["int4, GPTQ by activation"] = by_activation
    found["int4, GPTQ by activation, least squares"] = best
    found["int4, GPTQ by activation, least squares, AWQ"] = replace(best, basis="awq")
    found["int4, GPTQ by activation, least squares, rotated"] = replace(best, basis="rotated")
    found["int4, GPTQ by activation, least squares, exact inputs"] = replace(best, targets="exact inputs")
    found["int4, GPTQ by activation, least squares, residual stream"] = replace(best, targets="residual stream")
    found["int4, asymmetric"] = Method(asymmetric)
    found["int4, asymmetric, GPTQ"] = replace(in_order, grid=asymmetric)
    found["int4, asymmetric, GPTQ by activation"] = replace(by_activation, grid=asymmetric)
    found["int4, asymmetric, GPTQ by activation, least squares"] = replace(best, grid=replace(asymmetric, search=True))
    found["int4, GPTQ by activation, least squares, at once"] = replace(best, at_once=True)
    found["int4, GPTQ by activation, least squares, rotated, at once"] = replace(best, basis="rotated", at_once=True)
    for count in (2, 5):
        found[f"int4, {count} worst down int8"] = Method(worst_in_8_bits=count)
    for kind in KINDS:
        found[f"int4, only {kind}"] = Method(only=kind)
        found[f"int4, {kind} int8"] = Method(in_8_bits=kind)
        found[f"int4, {kind} int8, GPTQ by activation, least squares"] = replace(best, in_8_bits=kind)
    found["rows"] = Method(ROWS)
    found["rows, least squares"] = Method(replace(ROWS, search=True))
    for basis in ("norms", "columns", "norms and columns", "inputs and columns", "awq", "rotated"):
        found[f"rows, {basis}"] = Method(ROWS, basis=basis)
    found["rows, GPTQ"] = Method(ROWS, gptq="in order")
    found["rows, GPTQ by activation"] = Method(ROWS, gptq="by activation")
    found["rows, GPTQ by activation, at once"] = Method(ROWS, gptq="by activation", at_once=True)
    found["int8"] = Method(EIGHT)
    found["int8, GPTQ by activation"] = Method(EIGHT, gptq="by activation")
    for kind in KINDS:
        found[f"rows, only {kind}"] = Method(ROWS, only=kind)
    for basis in (None, "norms and columns", "inputs and columns", "rotated", "rotated, down_proj too"):
        found[f"rows and 8-bit activations, {basis or 'plain'}"] = Method(ROWS, basis=basis, activations=8)
    return found


METHODS = methods()


@dataclass
class Basis:
    """Weights are rounded as `left.T @ (weight * scale) @ right`; `left` and `right` are orthogonal. None is no change."""

    scale: torch.Tensor | None = None
    right: torch.Tensor | None = None
    left: torch.Tensor | None = None

    def into(self, weight):
        weight = weight if self.scale is None else weight * self.scale
        weight = weight if self.right is None else weight @ self.right
        return weight if self.left is None else self.left.T @ weight

    def back(self, weight):
        weight = weight if self.left is None else self.left @ weight
        weight = weight if self.right is None else weight @ self.right.T
        return weight if self.scale is None else weight / self.scale

    def inputs(self, inputs):
        inputs = inputs if self.scale is None else inputs / self.scale
        return inputs if self.right is None else inputs @ self.right

    def inputs_back(self, inputs):
        inputs = inputs if self.right is None else inputs @ self.right.T
        return inputs if self.scale is None else inputs * self.scale

    def hessian(self, hessian):
        hessian = hessian if self.scale is None else hessian / self.scale / self.scale[:, None]
        return hessian if self.right is None else self.right.T @ hessian @ self.right


def orthogonal(width, random):
    q, r = torch.linalg.qr(torch.randn(width, width, generator=random, dtype=torch.float64))
    return (q * r.diagonal().sign()).float()


class Simulation:
    def __init__(self, base, ids, fitted, seed, scores_of):
        """`fitted` conversations come first; `scores_of` final hidden states is `[conversations, heads]`."""
        self.decoder, self.scores_of = Decoder(base), scores_of
        self.all, self.shown = Trie(ids), Trie(ids[:fitted])
        self.calibration = len(self.shown.tokens)
        config, random = self.decoder.config, torch.Generator().manual_seed(seed)
        self.heads, self.kv_heads = config.num_attention_heads, config.num_key_value_heads
        self.rotations = {
            "stream": orthogonal(config.hidden_size, random),
            "head": orthogonal(self.decoder.head_width, random),
            "down": orthogonal(config.intermediate_size, random),
        }
        self.worst = None

    def exact(self):
        return run(self.decoder.steps(self.all), self.decoder.exact)

    def shared(self, kind, values):
        """Largest values of what has to have the same scale: channels of query heads that share a value head."""
        if kind != "o":
            return values
        values = values.view(self.kv_heads, -1, self.decoder.head_width)
        return values.amax(1, keepdim=True).expand_as(values).flatten()

    def expected(self, layer, kind):
        """Magnitudes of a kind's inputs by channel, guessed from the weights before it."""
        if kind in layer.norms:
            return layer.norms[kind].abs()
        if kind == "o":
            values = (layer.weights["qkv"] * layer.norms["qkv"])[-self.kv_heads * self.decoder.head_width :].norm(dim=1)
            values = values.view(self.kv_heads, 1, -1)
            return values.expand(-1, self.heads // self.kv_heads, -1).flatten()
        gate, up = (layer.weights["gate_up"] * layer.norms["gate_up"]).norm(dim=1).chunk(2)
        return gate * up

    def basis(self, method, index, kind, weight, inputs, hessian):
        layer = self.decoder.layers[index]
        if method.basis is None:
            return Basis()
        if method.basis == "awq":
            return self.searched_basis(method.grid, kind, weight, inputs, hessian)
        if method.basis.startswith("rotated"):
            return self.rotated_basis(layer, kind, online="down" in method.basis)
        columns = self.shared(kind, weight.abs().amax(0))
        if method.basis == "norms":
            return Basis(layer.norms.get(kind))
        if method.basis == "columns":
            return Basis(1 / columns)
        measured = method.basis == "inputs and columns"
        magnitudes = self.shared(kind, inputs.abs().amax(0)).clamp(min=1e-6) if measured else self.expected(layer, kind)
        return Basis((magnitudes / columns).sqrt())

    def rotated_basis(self, layer, kind, online):
        stream, head = self.rotations["stream"], self.rotations["head"]
        if kind == "o":
            return Basis(None, torch.block_diag(*[head] * self.heads), stream)
        if kind == "down":
            return Basis(None, self.rotations["down"] if online else None, stream)
        left = None
        if kind == "qkv":
            others = torch.eye((self.heads + self.kv_heads) * self.decoder.head_width)
            left = torch.block_diag(others, *[head] * self.kv_heads)
        return Basis(layer.norms[kind], stream, left)

    def searched_basis(self, grid, kind, weight, inputs, hessian):
        """AWQ: of the scales that come from inputs and weights in some proportion, those with the least squared error."""
        inputs = self.shared(kind, inputs.abs().mean(0)).clamp(min=1e-6)
        weights = self.shared(kind, weight.abs().mean(0)).clamp(min=1e-6)
        least, best = torch.inf, Basis()
        for tenth in range(11):
            share = tenth / 10
            for scale in (inputs**share, inputs**share / weights ** (1 - share)):
                basis = Basis(scale / (scale.max() * scale.min()).sqrt())
                moved = basis.into(weight)
                error = grid.nearest(moved) - moved
                error = ((error @ basis.hessian(hessian)) * error).sum().item()
                if error < least:
                    least, best = error, basis
        return best

    def aimed(self, method, kind, weight, inputs, hidden, exact_inputs, exact_hidden):
        """The weight whose outputs for these inputs come nearest to the exact ones."""
        missing = (exact_inputs - inputs) @ weight.T
        if method.targets == "residual stream" and kind in ("o", "down"):
            missing += exact_hidden - hidden
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(damped(inputs.T @ inputs)))
        return weight + ((missing.T @ inputs).double() @ inverse).float()

    def outputs(self, method, exact, index, kind, inputs, hidden):
        """Outputs of a linear layer; `exact` is what is asked at the same place without rounding, if it is needed."""
        weight = self.decoder.layers[index].weights[kind]
        if method.only not in (None, kind):
            return inputs @ weight.T
        shown = exact[0] if method.at_once else inputs[: self.calibration]
        if method.targets:
            weight = self.aimed(method, kind, weight, shown, hidden[: self.calibration], *exact)
        grid = method.grid
        if kind == method.in_8_bits:
            grid = EIGHT
        if method.worst_in_8_bits and kind == "down" and index in self.worst_down()[: method.worst_in_8_bits]:
            grid = EIGHT
        needed = method.gptq or method.weighted or method.basis == "awq"
        hessian = shown.T @ shown if needed else torch.eye(weight.shape[1])
        basis = self.basis(method, index, kind, weight, shown, hessian)
        moved, hessian = basis.into(weight), basis.hessian(hessian)
        if method.gptq:
            moved = gptq(moved, hessian, grid, method.gptq == "by activation")
        else:
            moved = grid.nearest(moved, hessian.diagonal() if method.weighted else None)
        if method.activations:
            steps = 2 ** (method.activations - 1) - 1
            inputs = basis.inputs(inputs)
            step = inputs.abs().amax(1, keepdim=True) / steps
            inputs = basis.inputs_back((inputs / step).round() * step)
        return inputs @ basis.back(moved).T

    def hidden(self, method):
        """Final hidden states with a method."""
        if not (method.targets or method.at_once):
            return run(self.decoder.steps(self.all), lambda *asked: self.outputs(method, None, *asked))
        exact = self.decoder.steps(self.shown)
        asked = next(exact)

        def outputs(*rounded):
            nonlocal asked
            _, _, inputs, hidden = asked
            found = self.outputs(method, (inputs, hidden), *rounded)
            try:
                asked = exact.send(self.decoder.exact(*asked))
            except StopIteration:
                asked = None
            return found

        return run(self.decoder.steps(self.all), outputs)

    def worst_down(self):
        """Layers by what `int4` in their down_proj alone does to the scores that heads are fitted on, the worst first."""
        if self.worst is not None:
            return self.worst
        streams = {}

        def outputs(index, kind, inputs, hidden):
            if kind == "qkv":
                streams[index] = hidden
            return self.decoder.exact(index, kind, inputs, hidden)

        exact = self.scores_of(run(self.decoder.steps(self.shown), outputs))
        drift = {}
        for layer, stream in streams.items():

            def rounded(index, kind, inputs, hidden, layer=layer):
                if (index, kind) == (layer, "down"):
                    return inputs @ Grid().nearest(self.decoder.layers[index].weights[kind]).T
                return self.decoder.exact(index, kind, inputs, hidden)

            scores = self.scores_of(run(self.decoder.steps(self.shown, layer, stream), rounded))
            drift[layer] = (scores - exact).square().mean().sqrt().item()
        self.worst = sorted(drift, key=drift.get, reverse=True)
        shown = ", ".join(f"{layer}: {drift[layer]:.3f}" for layer in self.worst)
        print(f"# drift by int4 in the down_proj of one layer: {shown}", file=sys.stderr, flush=True)
        return self.worst


@torch.inference_mode()
def measure(base, ids, fitted, seed, scores_of, exact, chosen):
    """Scores by method, and what they are with the mean drift of the `fitted` conversations taken off each head's scores.
    `exact` scores are those of transformers."""
    simulation = Simulation(base, ids, fitted, seed, scores_of)
    difference = (scores_of(simulation.exact()) - exact).abs().max().item()
    if difference > 1e-3:
        raise SystemExit(f"measure-trained: error: without rounding, scores are {difference} away from those of transformers")
    found = {}
    for name in chosen:
        begin = time.monotonic()
        found[name] = scores_of(simulation.hidden(METHODS[name]))
        found[f"{name}; offset"] = found[name] - (found[name] - exact)[:fitted].mean(0)
        print(f"# {name}: {time.monotonic() - begin:.0f} s", file=sys.stderr, flush=True)
    return found
