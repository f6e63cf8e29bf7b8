//! The order in which sequences are considered for packs: those that share a
//! long prefix next to each other, otherwise by falling length.

use std::cmp::Reverse;

use super::{
    cut::CELLS_PER_TOKEN,
    prefix::{Distinct, common_prefix},
};

/// A node of the tree of shared prefixes: the sequences below it begin with the
/// same `depth` tokens.
#[derive(Debug)]
struct Node {
    depth: usize,
    children: Vec<Child>,
    total: Total,
}

#[derive(Debug, Clone, Copy)]
enum Child {
    Sequence(usize),
    Node(usize),
}

/// What the sequences below a node come to.
#[derive(Debug, Clone, Copy, Default)]
struct Total {
    sequences: usize,
    /// Unique tokens, counted from the start of the sequences.
    tokens: usize,
    rows: usize,
    /// The rows' lengths together.
    filled_cells: usize,
    longest: usize,
    /// The lexicographically first sequence.
    first: usize,
}

/// Orders distinct, lexicographically sorted sequences; gives their indexes.
///
/// Walks the tree of shared prefixes with the longest child first at every
/// node, so neighbours share as much as they can and differ little in length.
/// A prefix is worth staying together for only when the tokens it saves
/// outweigh the attention padding it brings: chat headers, which all
/// conversations share, do not scatter the lengths.
///
/// A sequence that others extend comes after them, so whether it needs tokens
/// or a row of its own depends only on what stands just before it.
pub(super) fn sharing_order(sequences: &[Distinct<'_>], max_tokens: usize) -> Vec<usize> {
    let tree = Tree::new(sequences);
    let mut order = Vec::with_capacity(sequences.len());
    let mut pending = vec![tree.root];
    let mut lifted = Vec::new();
    while let Some(child) = pending.pop() {
        let node = match child {
            Child::Sequence(index) => {
                order.push(index);
                continue;
            }
            Child::Node(index) => &tree.nodes[index],
        };
        // Children of nodes not worth keeping become this node's own.
        let from = pending.len();
        lifted.extend_from_slice(&node.children);
        while let Some(child) = lifted.pop() {
            match child {
                Child::Node(index) if !tree.nodes[index].is_worth_keeping(node, max_tokens) => {
                    lifted.extend_from_slice(&tree.nodes[index].children);
                }
                _ => pending.push(child),
            }
        }
        // Popped from the end: the longest first, equal lengths in
        // lexicographic order, the sequence that ends at this node last.
        pending[from..].sort_by_key(|&child| {
            let total = tree.total(child);
            let goes_on = total.longest > node.depth;
            (goes_on, total.longest, Reverse(total.first))
        });
    }
    order
}

impl Node {
    fn new(depth: usize) -> Self {
        Self {
            depth,
            children: Vec::new(),
            total: Total::default(),
        }
    }

    /// Whether sharing what this node has in common beyond `ancestor` saves
    /// more than padding its rows to one length costs.
    fn is_worth_keeping(&self, ancestor: &Self, max_tokens: usize) -> bool {
        let total = &self.total;
        // A group over the budget spreads over packs: each computes the prefix
        // again, and each has its share of the range of lengths.
        let pieces = total
            .tokens
            .div_ceil(max_tokens.max(1))
            .clamp(1, total.sequences.max(1)) as f64;
        let shared = (self.depth - ancestor.depth) as f64;
        let saved = shared * (total.sequences as f64 - pieces);
        let longest = total.longest as f64;
        let padded_cells = total.rows as f64 * longest - total.filled_cells as f64;
        saved >= padded_cells * longest / CELLS_PER_TOKEN / pieces
    }
}

/// The places where sequences part, and the sequences between them.
struct Tree<'a> {
    sequences: &'a [Distinct<'a>],
    /// What each sequence shares with the one before it; the first, with all.
    shared: Vec<usize>,
    nodes: Vec<Node>,
    root: Child,
}

impl<'a> Tree<'a> {
    fn new(sequences: &'a [Distinct<'a>]) -> Self {
        let neighbours = sequences.windows(2);
        let mut shared: Vec<usize> = neighbours
            .map(|pair| common_prefix(pair[0].tokens, pair[1].tokens))
            .collect();
        // The root takes in what all have in common, which no order can lose.
        let root = Node::new(shared.iter().copied().min().unwrap_or(0));
        shared.insert(0, root.depth);
        let mut tree = Self {
            sequences,
            shared,
            nodes: Vec::new(),
            root: Child::Node(0),
        };
        tree.grow(root);
        tree
    }

    /// Adds the sequences in order, keeping the nodes on the path to the latest
    /// one open and closing those that it leaves.
    fn grow(&mut self, root: Node) {
        let mut open: Vec<Node> = Vec::new();
        let mut current = root;
        for index in 0..self.sequences.len() {
            let shared = self.shared[index];
            while current.depth > shared {
                let parent = match open.pop_if(|parent| parent.depth >= shared) {
                    Some(parent) => parent,
                    None => Node::new(shared),
                };
                let node = std::mem::replace(&mut current, parent);
                let child = self.close(node);
                current.children.push(child);
            }
            if current.depth < shared {
                // The sequence before shares more with this one than with its
                // neighbours so far: both go into a node of their own.
                let mut node = Node::new(shared);
                node.children.extend(current.children.pop());
                open.push(std::mem::replace(&mut current, node));
            }
            current.children.push(Child::Sequence(index));
        }
        while let Some(parent) = open.pop() {
            let node = std::mem::replace(&mut current, parent);
            let child = self.close(node);
            current.children.push(child);
        }
        self.root = self.close(current);
    }

    fn close(&mut self, mut node: Node) -> Child {
        let totals = node.children.iter().map(|&child| self.total(child));
        let mut sum = Total {
            tokens: node.depth,
            ..Total::default()
        };
        for (position, total) in totals.enumerate() {
            if position == 0 {
                sum.first = total.first;
            }
            sum.sequences += total.sequences;
            sum.tokens += total.tokens - node.depth;
            sum.rows += total.rows;
            sum.filled_cells += total.filled_cells;
            sum.longest = sum.longest.max(total.longest);
        }
        node.total = sum;
        self.nodes.push(node);
        Child::Node(self.nodes.len() - 1)
    }

    fn total(&self, child: Child) -> Total {
        let index = match child {
            Child::Node(index) => return self.nodes[index].total,
            Child::Sequence(index) => index,
        };
        let length = self.sequences[index].tokens.len();
        // In lexicographic order an extension, if any, comes next.
        let is_row = self.shared.get(index + 1) != Some(&length);
        Total {
            sequences: 1,
            tokens: length,
            rows: usize::from(is_row),
            filled_cells: if is_row { length } else { 0 },
            longest: length,
            first: index,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::prefix::Sorted;
    use super::*;

    fn ordered(sequences: &[&[u32]], max_tokens: usize) -> Vec<Vec<u32>> {
        let sorted = Sorted::new(sequences);
        sharing_order(&sorted.sequences, max_tokens)
            .into_iter()
            .map(|index| sorted.sequences[index].tokens.to_vec())
            .collect()
    }

    #[test]
    fn longest_first_and_prefixes_after_their_extensions() {
        type Case<'a> = (&'a [&'a [u32]], &'a [&'a [u32]]);
        let cases: &[Case<'_>] = &[
            (&[], &[]),
            (&[&[4]], &[&[4]]),
            (&[&[1], &[2, 2], &[3, 3, 3]], &[&[3, 3, 3], &[2, 2], &[1]]),
            (&[&[2, 9], &[1, 9], &[3, 9]], &[&[1, 9], &[2, 9], &[3, 9]]),
            (
                &[&[1], &[1, 2], &[1, 2, 3], &[1, 2, 3, 4]],
                &[&[1, 2, 3, 4], &[1, 2, 3], &[1, 2], &[1]],
            ),
            (
                &[&[1, 2], &[1, 2, 3, 3], &[9, 9, 9], &[1, 2, 4]],
                &[&[1, 2, 3, 3], &[1, 2, 4], &[1, 2], &[9, 9, 9]],
            ),
        ];
        for (sequences, expected) in cases {
            assert_eq!(ordered(sequences, 2048), *expected, "{sequences:?}");
        }
    }

    #[test]
    fn a_shared_header_does_not_scatter_lengths() {
        // Two topics, both behind the same header of 8 tokens and each with
        // 2 more tokens in common: lengths decide, not topics.
        let mut sequences = Vec::new();
        for topic in [1, 2] {
            for (index, length) in [1000, 800, 600, 400, 200, 50].into_iter().enumerate() {
                let mut tokens = vec![0; 8];
                tokens.extend([topic; 2]);
                tokens.extend(vec![10 + index as u32; length - topic as usize]);
                sequences.push(tokens);
            }
        }
        let slices: Vec<&[u32]> = sequences.iter().map(Vec::as_slice).collect();
        let lengths: Vec<usize> = ordered(&slices, 100_000).iter().map(Vec::len).collect();
        assert!(lengths.is_sorted_by(|a, b| a >= b), "{lengths:?}");
    }

    #[test]
    fn a_long_prompt_keeps_its_responses_together() {
        let mut sequences = Vec::new();
        for (index, length) in [300, 20, 120].into_iter().enumerate() {
            for prompt in [1, 2] {
                let mut tokens = vec![prompt; 200];
                tokens.extend(vec![10 + index as u32; length]);
                sequences.push(tokens);
            }
        }
        let slices: Vec<&[u32]> = sequences.iter().map(Vec::as_slice).collect();
        let prompts: Vec<u32> = ordered(&slices, 2048)
            .iter()
            .map(|tokens| tokens[0])
            .collect();
        assert_eq!(prompts, [1, 1, 1, 2, 2, 2]);
    }
}
