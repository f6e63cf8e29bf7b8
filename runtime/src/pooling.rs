//! Finds the tokens whose hidden states are scored, and refuses conversations that do not end as they must.

use worldpm_ort_bundle::{Pooling, manifest::Token};

use crate::error::{EndingProblem, Error, Result};

/// Positions of the scored tokens in `ids`, ascending and never none: one, but for [`Pooling::EachToken`].
///
/// `text_of` gives a token's text for error messages.
///
/// # Errors
/// [`Error::NoSteps`] when the rule is [`Pooling::EachToken`] and there is no such token.
/// [`Error::Ending`] when `ids` are empty, do not end with `end_token`, or when the rule needs padding in
/// the last place and it is elsewhere: the published code would then score some other token without a word.
pub fn scored_positions(
    ids: &[u32],
    pooling: Pooling,
    end_token: Option<&Token>,
    text_of: impl Fn(u32) -> Option<String>,
) -> Result<Vec<usize>> {
    let Some((&last_id, _)) = ids.split_last() else {
        return Err(Error::Ending(EndingProblem::NoTokens));
    };
    let last = ids.len() - 1;
    let describe = |id: u32| format!("{:?} (id {id})", text_of(id).unwrap_or_default());
    if let Some(end) = end_token.filter(|end| end.id != last_id) {
        return Err(Error::Ending(EndingProblem::WrongEnd {
            found: describe(last_id),
            expected: format!("{:?} (id {})", end.text, end.id),
        }));
    }
    match pooling {
        Pooling::Last => Ok(vec![last]),
        Pooling::BeforeFirstPad { pad_token_id } => {
            match ids.iter().position(|&id| id == pad_token_id) {
                Some(first) if first == last && last > 0 => Ok(vec![last - 1]),
                Some(position) => Err(Error::Ending(EndingProblem::PaddingInside {
                    token: describe(pad_token_id),
                    position,
                    tokens: ids.len(),
                })),
                None => Err(Error::Ending(EndingProblem::NoPadding {
                    found: describe(last_id),
                    token: describe(pad_token_id),
                })),
            }
        }
        Pooling::LastNonPad { pad_token_id } => ids
            .iter()
            .rposition(|&id| id != pad_token_id)
            .map(|position| vec![position])
            .ok_or_else(|| {
                Error::Ending(EndingProblem::OnlyPadding {
                    token: describe(pad_token_id),
                })
            }),
        Pooling::EachToken { token_id } => {
            let steps = ids.iter().enumerate().filter(|(_, id)| **id == token_id);
            let positions: Vec<usize> = steps.map(|(position, _)| position).collect();
            if positions.is_empty() {
                return Err(Error::NoSteps {
                    id: token_id,
                    token: text_of(token_id).unwrap_or_default(),
                });
            }
            Ok(positions)
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const PAD: u32 = 9;

    #[test]
    fn positions() {
        let before = Pooling::BeforeFirstPad { pad_token_id: PAD };
        let non_pad = Pooling::LastNonPad { pad_token_id: PAD };
        let each = Pooling::EachToken { token_id: 5 };
        type Case<'a> = (
            &'a [u32],
            Pooling,
            Option<u32>,
            Result<&'a [usize], &'a str>,
        );
        let cases: [Case<'_>; 17] = [
            (&[1, 2, 9], Pooling::Last, Some(9), Ok(&[2])),
            (&[1, 9, 9], Pooling::Last, Some(9), Ok(&[2])),
            (&[1, 2, 3], Pooling::Last, None, Ok(&[2])),
            (
                &[1, 2, 3],
                Pooling::Last,
                Some(9),
                Err("ends with \"t3\" (id 3)"),
            ),
            (&[], Pooling::Last, None, Err("no tokens")),
            (&[1, 2, 9], before, Some(9), Ok(&[1])),
            (&[1, 9, 2, 9], before, Some(9), Err("position 1 of 4")),
            (&[1, 2, 3], before, None, Err("not with the padding token")),
            (&[9], before, None, Err("position 0 of 1")),
            (&[1, 2, 9, 9], non_pad, None, Ok(&[1])),
            (&[1, 2, 3], non_pad, None, Ok(&[2])),
            (&[9, 9], non_pad, None, Err("nothing but")),
            (&[1, 5, 2, 5, 5, 3], each, None, Ok(&[1, 3, 4])),
            (&[5], each, None, Ok(&[0])),
            (&[5, 9], each, Some(9), Ok(&[0])),
            (&[5, 1], each, Some(9), Err("ends with \"t1\" (id 1)")),
            (&[1, 2], each, None, Err("no step token \"t5\" (id 5)")),
        ];
        for (ids, pooling, end, expected) in cases {
            let end = end.map(|id| Token {
                id,
                text: "<end>".into(),
            });
            let found = scored_positions(ids, pooling, end.as_ref(), |id| Some(format!("t{id}")));
            match (found, expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{ids:?}"),
                (Err(error), Err(part)) => {
                    assert!(error.to_string().contains(part), "{ids:?}: {error}");
                }
                (found, expected) => panic!("{ids:?} {pooling:?}: {found:?}, not {expected:?}"),
            }
        }
    }
}
