//! The shapes that an engine is built for.
//!
//! TensorRT plans memory for the largest size of each dimension at once. A pack has few long rows or many short ones, but
//! an engine has to hold as many rows as there may be, each as long as one may be. ONNX Runtime's provider uses one
//! profile only, so the rows of a pack are bounded instead, and the planner keeps to that.

use worldpm_ort_bundle::manifest::TensorInfo;

use crate::{batch::Budget, ep::ProviderError};

/// Rows that are usually longer than this are few.
const USUAL_COLUMNS: usize = 512;

/// Shapes of a stage's inputs, as ONNX Runtime takes them: `name:2x3,other:4`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Shapes {
    pub(super) least: String,
    /// What kernels are chosen for.
    pub(super) usual: String,
    pub(super) most: String,
}

/// Sizes of the dimensions that differ from pack to pack.
#[derive(Clone, Copy)]
struct Sizes {
    tokens: usize,
    rows: usize,
    columns: usize,
    scores: usize,
}

/// The budget, with as many rows as attention cells allow when all are as long as a conversation may be.
pub(crate) fn bound(budget: Budget, max_length: usize) -> Budget {
    let rows = budget.max_cells / even(max_length);
    // Every row ends with a token of its own.
    let rows = rows.min(even(budget.max_tokens)).min(budget.max_rows);
    budget.with_max_rows(rows.max(1))
}

pub(super) fn of(
    inputs: &[TensorInfo],
    budget: Budget,
    max_length: usize,
) -> Result<Shapes, ProviderError> {
    let budget = bound(budget, max_length);
    // A conversation that is over the budget goes alone.
    let tokens = even(budget.max_tokens.max(max_length));
    let most = Sizes {
        tokens,
        rows: budget.max_rows,
        columns: even(max_length),
        scores: tokens,
    };
    let columns = most.columns.min(USUAL_COLUMNS);
    let rows = most.rows.min((budget.max_cells / columns).max(1));
    let usual = Sizes {
        tokens: even(budget.max_tokens),
        rows,
        columns,
        scores: even(rows),
    };
    let least = Sizes {
        tokens: 1,
        rows: 1,
        columns: 1,
        scores: 1,
    };
    Ok(Shapes {
        least: text(inputs, least)?,
        usual: text(inputs, usual)?,
        most: text(inputs, most)?,
    })
}

/// Sessions are fed an even number of tokens, columns and scores. The provider reads sizes as 32-bit numbers.
fn even(size: usize) -> usize {
    size.clamp(2, i32::MAX as usize - 1).next_multiple_of(2)
}

fn text(inputs: &[TensorInfo], sizes: Sizes) -> Result<String, ProviderError> {
    let shapes = inputs
        .iter()
        .map(|input| {
            let dimensions = input
                .shape
                .iter()
                .map(|dimension| match dimension.as_str() {
                    "T" => Ok(sizes.tokens.to_string()),
                    "B" => Ok(sizes.rows.to_string()),
                    "S" => Ok(sizes.columns.to_string()),
                    "N" => Ok(sizes.scores.to_string()),
                    number if number.parse::<usize>().is_ok() => Ok(number.to_owned()),
                    other => Err(ProviderError::Runtime(format!(
                        "input `{}` has a dimension `{other}` whose bounds are not known here",
                        input.name
                    ))),
                })
                .collect::<Result<Vec<_>, _>>()?;
            Ok(format!("{}:{}", input.name, dimensions.join("x")))
        })
        .collect::<Result<Vec<_>, ProviderError>>()?;
    Ok(shapes.join(","))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn input(name: &str, shape: &[&str]) -> TensorInfo {
        TensorInfo {
            name: name.into(),
            element: "int64".into(),
            shape: shape.iter().map(|&d| d.into()).collect(),
        }
    }

    fn inputs() -> Vec<TensorInfo> {
        vec![
            input("row_tokens", &["B", "S"]),
            input("token_cells", &["T"]),
            input("score_tokens", &["N"]),
            input("hidden_states", &["T", "8192"]),
        ]
    }

    #[test]
    fn shapes_follow_the_budget_and_the_length_limit() {
        let shapes = of(&inputs(), Budget::default(), 4096).unwrap();
        assert_eq!(
            shapes,
            Shapes {
                least: "row_tokens:1x1,token_cells:1,score_tokens:1,hidden_states:1x8192".into(),
                usual: "row_tokens:4x512,token_cells:2048,score_tokens:4,hidden_states:2048x8192"
                    .into(),
                most:
                    "row_tokens:4x4096,token_cells:4096,score_tokens:4096,hidden_states:4096x8192"
                        .into(),
            }
        );
    }

    #[test]
    fn short_conversations_leave_room_for_rows_and_long_ones_go_alone() {
        for (max_length, rows) in [(512, 32), (1001, 16), (16384, 1), (131_072, 1)] {
            assert_eq!(
                bound(Budget::default(), max_length).max_rows,
                rows,
                "{max_length}"
            );
            let most = of(&inputs(), Budget::default(), max_length).unwrap().most;
            let columns = max_length.next_multiple_of(2);
            assert!(
                most.starts_with(&format!("row_tokens:{rows}x{columns},")),
                "{most}"
            );
        }
        let tighter = Budget::default().with_max_rows(3);
        assert_eq!(bound(tighter, 512).max_rows, 3);
    }

    /// The numbers of `name:2x3,other:4`.
    fn sizes(shapes: &str) -> Vec<i32> {
        let shapes = shapes.split(',').flat_map(|shape| {
            let (_, sizes) = shape.split_once(':').unwrap();
            sizes.split('x')
        });
        shapes.map(|size| size.parse().unwrap()).collect()
    }

    #[test]
    fn sizes_are_in_order_and_of_32_bits_for_any_budget() {
        let any = [0, 1, 7, 2048, 16384, usize::MAX];
        for max_tokens in any {
            for max_cells in any {
                for max_length in [1, 2, 9, 512, 4096, 131_072] {
                    let budget = Budget::default()
                        .with_max_tokens(max_tokens)
                        .with_max_cells(max_cells);
                    let shapes = of(&inputs(), budget, max_length).unwrap();
                    let [least, usual, most] =
                        [&shapes.least, &shapes.usual, &shapes.most].map(|shapes| sizes(shapes));
                    let in_order =
                        (0..least.len()).all(|at| least[at] <= usual[at] && usual[at] <= most[at]);
                    assert!(in_order, "{budget:?}, {max_length}: {shapes:?}");
                }
            }
        }
    }

    #[test]
    fn an_unknown_dimension_is_refused() {
        let error = of(&[input("x", &["Q"])], Budget::default(), 8).unwrap_err();
        assert!(error.to_string().contains("`Q`"), "{error}");
    }
}
