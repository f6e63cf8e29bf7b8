#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet, HashSet};

use proptest::prelude::*;

use super::prefix::ROW_ALIGNMENT;
use super::*;

type Sequences = Vec<Vec<u32>>;

fn unlimited() -> Budget {
    Budget::default()
        .with_max_tokens(usize::MAX)
        .with_max_cells(usize::MAX)
}

/// Checks everything that must hold of any plan.
fn check(sequences: &[Vec<u32>], budget: &Budget) -> Plan {
    let plan = plan(sequences, budget).unwrap();
    assert_eq!(plan, super::plan(sequences, budget).unwrap(), "repeatable");

    let mut planned: Vec<usize> = plan.packs.iter().flat_map(|p| p.members.clone()).collect();
    planned.sort_unstable();
    assert_eq!(planned, (0..sequences.len()).collect::<Vec<_>>());

    let mut filled_cells = 0;
    for pack in &plan.packs {
        assert!(pack.members.is_sorted());
        assert!(
            pack.rows == 1
                || (pack.tokens <= budget.max_tokens
                    && pack.rows * pack.columns <= budget.max_cells
                    && pack.rows <= budget.max_rows),
            "over budget: {pack:?}"
        );
        let inputs = pack.inputs(sequences).unwrap();
        assert_eq!(
            (inputs.input_ids.len(), inputs.rows, inputs.columns),
            (pack.tokens, pack.rows, pack.columns)
        );
        check_inputs(&inputs, sequences, &pack.members);
        filled_cells += row_lengths(&inputs).iter().sum::<usize>();
    }

    let sum = |f: fn(&Pack) -> usize| plan.packs.iter().map(f).sum::<usize>();
    let stats = plan.stats;
    assert_eq!(stats.conversations, sequences.len());
    assert_eq!(stats.packs, plan.packs.len());
    assert_eq!(stats.tokens, sequences.iter().map(Vec::len).sum::<usize>());
    assert_eq!(stats.unique_tokens, sum(|pack| pack.tokens));
    assert_eq!(stats.cells, sum(|pack| pack.rows * pack.columns));
    assert_eq!(stats.padded_cells, stats.cells - filled_cells);
    plan
}

fn row_lengths(inputs: &PackInputs) -> Vec<usize> {
    let lengths = inputs.seqlens_k.iter().map(|&k| k as usize + 1);
    lengths.collect()
}

/// Reads the tensors as the graph does and compares with the sequences.
fn check_inputs(inputs: &PackInputs, sequences: &[Vec<u32>], members: &[usize]) {
    let tokens = inputs.input_ids.len();
    let lengths = row_lengths(inputs);
    assert_eq!(inputs.position_ids.len(), tokens);
    assert_eq!(inputs.token_cells.len(), tokens);
    assert_eq!(inputs.row_tokens.len(), inputs.rows * inputs.columns);
    assert_eq!(lengths.len(), inputs.rows);
    let squares: usize = lengths.iter().map(|length| length * length).sum();
    assert_eq!(inputs.row_squares(), squares as u64);
    let longest = *lengths.iter().max().unwrap();
    assert_eq!(inputs.columns, longest.next_multiple_of(ROW_ALIGNMENT));
    assert_eq!(inputs.total_sequence_length as usize, inputs.columns);
    assert_eq!(inputs.member_scores.len(), members.len());
    check_scores(inputs, members.len());

    // Every cell, padding too, reads an existing token.
    for &token in &inputs.row_tokens {
        assert!((0..tokens as i64).contains(&token));
    }
    let rows: Vec<Vec<usize>> = inputs
        .row_tokens
        .chunks(inputs.columns)
        .zip(&lengths)
        .map(|(row, &length)| row[..length].iter().map(|&t| t as usize).collect())
        .collect();
    // Rows are made of tokens at their own positions, and list them in packing
    // order, depth first.
    for row in &rows {
        for (position, &token) in row.iter().enumerate() {
            assert_eq!(inputs.position_ids[token], position as i64);
        }
        assert!(row.is_sorted_by(|a, b| a < b));
    }
    // A token is read back from the first row it is in, never from padding.
    let mut first_cells = BTreeMap::new();
    for (b, row) in rows.iter().enumerate() {
        for (s, &token) in row.iter().enumerate() {
            first_cells.entry(token).or_insert(b * inputs.columns + s);
        }
    }
    for (token, &cell) in inputs.token_cells.iter().enumerate() {
        assert_eq!(first_cells.get(&token), Some(&(cell as usize)));
    }
    // Up to its scored token, the row that holds it reads as the sequence.
    for (&member, &score) in members.iter().zip(&inputs.member_scores) {
        let scored = inputs.score_tokens[score] as usize;
        let sequence = &sequences[member];
        let position = inputs.position_ids[scored] as usize;
        assert_eq!(position + 1, sequence.len());
        let cell = inputs.token_cells[scored] as usize;
        let read: Vec<u32> = rows[cell / inputs.columns][..=position]
            .iter()
            .map(|&token| inputs.input_ids[token] as u32)
            .collect();
        assert_eq!(&read, sequence, "member {member}");
    }
    // No prefix is computed twice, and no row is another's prefix.
    let prefixes: HashSet<&[u32]> = members
        .iter()
        .flat_map(|&member| (1..=sequences[member].len()).map(move |n| &sequences[member][..n]))
        .collect();
    assert_eq!(tokens, prefixes.len());
    for (a, row) in rows.iter().enumerate() {
        let extended = |(b, other): (usize, &Vec<usize>)| a != b && other.starts_with(row);
        assert!(!rows.iter().enumerate().any(extended));
    }
}

/// No token is scored twice, and every score is someone's.
fn check_scores(inputs: &PackInputs, members: usize) {
    let tokens: HashSet<i64> = inputs.score_tokens.iter().copied().collect();
    assert_eq!(tokens.len(), inputs.score_tokens.len(), "{members} members");
    let scores: BTreeSet<usize> = inputs.member_scores.iter().copied().collect();
    assert!(scores.into_iter().eq(0..inputs.score_tokens.len()));
}

/// A sequence that begins with `prefix` and goes on with tokens of its own.
fn extend(prefix: &[u32], own: u32, length: usize) -> Vec<u32> {
    let mut tokens = prefix.to_vec();
    tokens.extend((0..length as u32).map(|i| own * 10_000 + i));
    tokens
}

#[test]
fn shapes_of_known_groups() {
    let prompt = extend(&[], 1, 200);
    let turn = |n: usize| extend(&[], 1, 60 * n);
    let best_of_8: Sequences = (0..8).map(|i| extend(&prompt, 2 + i, 150)).collect();
    let pairs: Sequences = (0..4)
        .flat_map(|pair| {
            let prompt = extend(&[], 10 + pair, 50);
            [20, 30].map(|length| extend(&prompt, 100 + length, length as usize))
        })
        .collect();
    // (name, sequences, (T, B, S) of the one pack expected)
    let cases: Vec<(&str, Sequences, (usize, usize, usize))> = vec![
        ("one", vec![vec![5]], (1, 1, 2)),
        ("best of 8", best_of_8, (200 + 8 * 150, 8, 350)),
        ("pairs", pairs, (4 * (50 + 20 + 30), 8, 80)),
        (
            "dialogue turns",
            vec![turn(1), turn(3), turn(2), turn(4)],
            (240, 1, 240),
        ),
        ("duplicates", vec![turn(1); 20], (60, 1, 60)),
        (
            "branch at a scored token",
            vec![
                extend(&prompt, 2, 10),
                prompt.clone(),
                extend(&prompt, 3, 20),
            ],
            (230, 2, 220),
        ),
    ];
    for (name, sequences, expected) in cases {
        let plan = check(&sequences, &Budget::default());
        let packs: Vec<_> = plan
            .packs
            .iter()
            .map(|pack| (pack.tokens, pack.rows, pack.columns))
            .collect();
        assert_eq!(packs, [expected], "{name}");
    }
}

#[test]
fn tensors_of_a_small_pack() {
    // The trie 7-8-(1-2 | 3), 9; the inner 7-8 is scored, and 9 twice.
    let sequences = vec![
        vec![9],
        vec![7, 8],
        vec![7, 8, 3],
        vec![7, 8, 1, 2],
        vec![9],
    ];
    let plan = check(&sequences, &Budget::default());
    let inputs = plan.packs[0].inputs(&sequences).unwrap();
    assert_eq!(
        inputs,
        PackInputs {
            input_ids: vec![7, 8, 1, 2, 3, 9],
            position_ids: vec![0, 1, 2, 3, 2, 0],
            row_tokens: vec![0, 1, 2, 3, 0, 1, 4, 4, 5, 5, 5, 5],
            rows: 3,
            columns: 4,
            token_cells: vec![0, 1, 2, 3, 6, 8],
            score_tokens: vec![5, 1, 4, 3],
            member_scores: vec![0, 1, 2, 3, 0],
            seqlens_k: vec![3, 2, 0],
            total_sequence_length: 4,
        }
    );
}

#[test]
fn groups_stay_whole_where_the_budget_permits() {
    // 40 best-of-4 groups, shuffled, behind a header that all share.
    let header: Vec<u32> = (0..8).collect();
    let mut sequences = Sequences::new();
    for response in 0..4u32 {
        for group in 0..40u32 {
            let group = group * 17 % 40;
            let prompt = extend(&header, 1 + group, 100 + 10 * group as usize);
            sequences.push(extend(&prompt, 1000 + response, 30 + response as usize * 5));
        }
    }
    let plan = check(&sequences, &Budget::default());
    for pack in &plan.packs {
        let mut groups: BTreeMap<u32, usize> = BTreeMap::new();
        for &member in &pack.members {
            *groups.entry(sequences[member][8]).or_default() += 1;
        }
        assert!(groups.values().all(|&count| count == 4), "{groups:?}");
    }
}

#[test]
fn a_group_over_the_budget_is_cut_and_shares_in_each_piece() {
    let prompt = extend(&[], 1, 500);
    let sequences: Sequences = (0..64).map(|i| extend(&prompt, 2 + i, 100)).collect();
    let plan = check(&sequences, &Budget::default());
    // 500 + 15 × 100 tokens is the most that fits under 2048.
    assert_eq!(plan.stats.packs, 5);
    assert_eq!(plan.stats.unique_tokens, 64 * 100 + 5 * 500);
}

#[test]
fn mixed_lengths_behind_one_header_pad_little() {
    let header: Vec<u32> = (0..8).collect();
    let sequences: Sequences = (0..400u32)
        .map(|i| extend(&header, 1 + i, 20 + (i as usize * 7919) % 1000))
        .collect();
    let plan = check(&sequences, &Budget::default());
    let stats = plan.stats;
    let padding = stats.padded_cells as f64 / stats.cells as f64;
    assert!(padding < 0.03, "{:.1}% padding", padding * 100.0);
    let fill = stats.unique_tokens as f64 / (stats.packs as f64 * 2048.0);
    assert!(fill > 0.8, "packs are {:.1}% full", fill * 100.0);
}

#[test]
fn a_sequence_over_the_budget_goes_alone() {
    let long = extend(&[], 1, 5000);
    let sequences = vec![
        extend(&[], 2, 10),
        long.clone(),
        extend(&[], 3, 10),
        long[..4000].to_vec(),
        extend(&long[..100], 4, 10),
        long.clone(),
    ];
    let plan = check(&sequences, &Budget::default());
    let packs: Vec<&[usize]> = plan.packs.iter().map(|p| p.members.as_slice()).collect();
    // What lies on its row costs nothing and comes along.
    assert_eq!(packs, [&[1, 3, 5][..], &[0, 2, 4][..]]);

    let plan = check(&sequences, &Budget::default().with_max_tokens(0));
    assert!(plan.packs.iter().all(|pack| pack.rows == 1));
}

#[test]
fn many_more_sequences_than_one_pack_takes() {
    let sequences: Sequences = (0..5000u32).map(|i| vec![i % 7, i, 1]).collect();
    check(&sequences, &Budget::default());
    check(&sequences, &unlimited());
    // One token more each time: a single row, however deep the tree.
    let chain: Sequences = (1..1500).map(|n| vec![3; n]).collect();
    let plan = check(&chain, &unlimited());
    assert_eq!(plan.stats.packs, 2);
}

#[test]
fn several_scored_tokens_of_a_sequence() {
    // The trie 7-8-(1-2 | 3): the first 7 and 8 are scored for several sequences, and computed once.
    let sequences = vec![vec![7, 8, 3], vec![7, 8], vec![7, 8, 1, 2], vec![7, 8, 3]];
    let plan = check(&sequences, &Budget::default());
    let scored: [&[usize]; 4] = [&[1, 2], &[0, 1], &[], &[2, 0, 2]];
    let inputs = plan.packs[0].inputs_scored_at(&sequences, &scored).unwrap();
    assert_eq!(inputs.input_ids, [7, 8, 1, 2, 3]);
    assert_eq!(inputs.score_tokens, [1, 4, 0]);
    assert_eq!(inputs.member_scores, [0, 1, 2, 0, 1, 2, 1]);
}

#[test]
fn refusals() {
    let empty: Sequences = vec![vec![1], vec![]];
    assert_eq!(
        plan(&empty, &Budget::default()),
        Err(BatchError::EmptySequence { index: 1 })
    );
    let sequences: Sequences = vec![vec![1], vec![2]];
    let planned = plan(&sequences, &Budget::default()).unwrap();
    assert_eq!(
        planned.packs[0].inputs(&sequences[..1]),
        Err(BatchError::UnknownMember { index: 1, count: 1 })
    );
    assert_eq!(
        planned.packs[0].inputs(&empty),
        Err(BatchError::EmptySequence { index: 1 })
    );
    assert_eq!(
        planned.packs[0].inputs_scored_at(&sequences, &[[0], [1]]),
        Err(BatchError::NoSuchPosition {
            index: 1,
            tokens: 1,
            position: 1
        })
    );
    let nothing = plan(&Sequences::new(), &Budget::default()).unwrap();
    assert_eq!(nothing.stats, PlanStats::default());
    assert!(nothing.packs.is_empty());
}

#[test]
fn stats_add_up() {
    let sequences: Sequences = (0..30).map(|i| extend(&[], i, 100)).collect();
    let budget = Budget::default().with_max_tokens(500);
    let parts: PlanStats = sequences
        .chunks(5)
        .map(|part| check(part, &budget).stats)
        .sum();
    assert_eq!(parts, check(&sequences, &budget).stats);
}

/// Sequences over a tiny alphabet, so that they share and repeat a lot.
fn dense() -> impl Strategy<Value = Sequences> {
    prop::collection::vec(prop::collection::vec(0..3u32, 1..12), 0..40)
}

/// Groups that share a prompt, behind a header that all share.
fn grouped() -> impl Strategy<Value = Sequences> {
    let response = prop::collection::vec(0..50u32, 1..60);
    let group = (
        prop::collection::vec(0..50u32, 0..80),
        prop::collection::vec(response, 1..6),
    );
    prop::collection::vec(group, 0..12)
        .prop_map(|groups| {
            let responses = groups.into_iter().flat_map(|(prompt, responses)| {
                responses
                    .into_iter()
                    .map(move |response| [&[90; 8], &prompt[..], &response[..]].concat())
            });
            responses.collect::<Sequences>()
        })
        .prop_shuffle()
}

proptest! {
    #[test]
    fn any_plan_holds(
        sequences in prop_oneof![dense(), grouped()],
        max_tokens in prop_oneof![0..20usize, 20..400usize, Just(usize::MAX)],
        max_cells in prop_oneof![0..40usize, 40..2000usize, Just(usize::MAX)],
        max_rows in prop_oneof![0..5usize, Just(usize::MAX)],
    ) {
        let budget = Budget::default()
            .with_max_tokens(max_tokens)
            .with_max_cells(max_cells)
            .with_max_rows(max_rows);
        check(&sequences, &budget);
    }

    /// The scores of every position of every sequence, in a pack that holds them all.
    #[test]
    fn any_positions_may_be_scored(
        sequences in prop_oneof![dense(), grouped()],
        every in 1..4usize,
    ) {
        let positions = sequences.iter().map(|s| (0..s.len()).step_by(every).collect());
        let positions: Vec<Vec<usize>> = positions.collect();
        for pack in &plan(&sequences, &Budget::default()).unwrap().packs {
            let inputs = pack.inputs_scored_at(&sequences, &positions).unwrap();
            check_scores(&inputs, pack.members.len());
            prop_assert!(inputs.score_tokens.len() <= pack.tokens);
            let mut scores = inputs.member_scores.iter().map(|&s| inputs.score_tokens[s] as usize);
            for &member in &pack.members {
                for &position in &positions[member] {
                    let token = scores.next().unwrap();
                    prop_assert_eq!(inputs.input_ids[token] as u32, sequences[member][position]);
                    prop_assert_eq!(inputs.position_ids[token] as usize, position);
                    let cell = inputs.token_cells[token] as usize;
                    let row = &inputs.row_tokens[cell - position..=cell];
                    let read = row.iter().map(|&token| inputs.input_ids[token as usize] as u32);
                    prop_assert!(read.eq(sequences[member][..=position].iter().copied()));
                }
            }
            prop_assert_eq!(scores.next(), None);
        }
    }

    #[test]
    fn packing_does_not_depend_on_the_order_of_input(sequences in grouped(), rotate in 0..100usize) {
        let stats = check(&sequences, &Budget::default()).stats;
        let mut rotated = sequences.clone();
        if !rotated.is_empty() {
            let by = rotate % rotated.len();
            rotated.rotate_left(by);
        }
        prop_assert_eq!(stats, check(&rotated, &Budget::default()).stats);
    }
}
