"""Weights rounded to a few bits and made floats again: the grids of the precisions, and GPTQ's way of rounding to them."""

from dataclasses import dataclass

import torch

CHUNK = 64
DAMPING = 0.01


@dataclass(frozen=True)
class Grid:
    """Integers with a step for each block of a row, or for each row. `search` tries steps around that of the largest
    value and takes the one with the least squared error, weighted by the inputs' squares where they are known."""

    bits: int = 4
    block: int | None = 32
    symmetric: bool = True
    search: bool = False

    @property
    def top(self):
        """The largest integer; the least is 0."""
        return 2**self.bits - (2 if self.block is None else 1)

    def size(self, width):
        return self.block or width

    def steps(self, weight, importance=None):
        """The steps and the zero points of all blocks, each `[rows, blocks, 1]`."""
        blocks = weight.unflatten(1, (-1, self.size(weight.shape[1])))
        low, high = blocks.amin(2, keepdim=True).clamp(max=0), blocks.amax(2, keepdim=True).clamp(min=0)
        half = 2 ** (self.bits - 1)
        if self.block is None:
            step, zero = torch.maximum(high, -low) / (half - 1), torch.full_like(low, half - 1)
        elif self.symmetric:
            step, zero = torch.where(high >= -low, high, low) / -half, torch.full_like(low, half)
        else:
            step = (high - low) / self.top
            zero = (-low / step).nan_to_num().round().clamp(max=self.top)
        step = torch.where(step == 0, 1, step)
        return (self.least_squares(blocks, step, zero, importance) if self.search else step), zero

    def least_squares(self, blocks, step, zero, importance):
        weighting = 1 if importance is None else importance.view(blocks.shape[1:])
        factors = [percent / 100 for percent in (range(70, 101) if self.bits == 8 else range(60, 121, 5))]
        if self.symmetric and self.block:
            factors += [-factor for factor in factors]
        best, found = torch.full_like(step, torch.inf), step
        for factor in factors:
            error = (self.rounded(blocks, step * factor, zero) - blocks).square_().mul_(weighting).sum(2, keepdim=True)
            found, best = torch.where(error < best, step * factor, found), torch.minimum(error, best)
        return found

    def rounded(self, values, step, zero):
        return (values / step).round_().clamp_(-zero, self.top - zero).mul_(step)

    def nearest(self, weight, importance=None):
        blocks = weight.unflatten(1, (-1, self.size(weight.shape[1])))
        return self.rounded(blocks, *self.steps(weight, importance)).flatten(1)


def damped(hessian):
    hessian = hessian.double()
    return hessian + DAMPING * hessian.diagonal().mean() * torch.eye(len(hessian), dtype=torch.float64)


def gptq(weight, hessian, grid, by_activation):
    """Rounds column by column; the columns to come make up for the error. `by_activation` takes those with the largest
    inputs first, with the steps of the unchanged weights; otherwise a block's steps are found when its turn comes."""
    width = weight.shape[1]
    importance = hessian.diagonal()
    order = importance.argsort(descending=True) if by_activation else torch.arange(width)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(damped(hessian)[order][:, order]))
    factor = torch.linalg.cholesky(inverse, upper=True).float()
    size = grid.size(width)
    step, zero = (each[:, :, 0].T.contiguous() for each in grid.steps(weight, importance))
    left = weight.T[order].contiguous()
    for begin in range(0, width, CHUNK):
        end = min(begin + CHUNK, width)
        errors = torch.empty(end - begin, weight.shape[0])
        for at in range(begin, end):
            block = int(order[at]) // size
            if not by_activation and at and at % size == 0:
                steps = grid.steps(left[at : at + size].T, importance[at : at + size])
                step[block], zero[block] = (each[:, 0, 0] for each in steps)
            found = grid.rounded(left[at], step[block], zero[block])
            errors[at - begin] = error = (left[at] - found) / factor[at, at]
            left[at] = found
            left[at + 1 : end].addr_(factor[at, at + 1 : end], error, alpha=-1)
        left[end:] -= factor[begin:end, end:].T @ errors
    return left[order.argsort()].T.contiguous()
