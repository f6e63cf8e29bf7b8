//! Names of the inputs and outputs of a stage's graph.

/// Token ids, `[T]` int64; first stage.
pub const INPUT_IDS: &str = "input_ids";
/// Position of each token in its conversation, `[T]` int64.
pub const POSITION_IDS: &str = "position_ids";
/// The packed token that each attention cell reads, `[B, S]` int64.
pub const ROW_TOKENS: &str = "row_tokens";
/// The flattened cell where each token's attention output is read back, `[T]` int64.
pub const TOKEN_CELLS: &str = "token_cells";
/// The packed tokens that are scored, `[N]` int64; last stage.
pub const SCORE_TOKENS: &str = "score_tokens";
/// Which tokens are real, `[batch, sequence]` int64; the padded interface, every stage.
pub const ATTENTION_MASK: &str = "attention_mask";
/// Row length less one, `[B]` int32; target `ort`.
pub const SEQLENS_K: &str = "seqlens_k";
/// `S`, a scalar int32; target `ort`.
pub const TOTAL_SEQUENCE_LENGTH: &str = "total_sequence_length";
/// The residual stream, `[T, hidden]`; every stage but the first.
pub const HIDDEN_STATES: &str = "hidden_states";
/// The residual stream after the stage, `[T, hidden]`; every stage but the last.
pub const NEXT_HIDDEN_STATES: &str = "next_hidden_states";
/// The scores, `[N, labels]` float; last stage.
pub const SCORES: &str = "scores";

/// Fewest columns of attention rows for heads that are wider than what is summed at once, the dimension `W`: from there
/// on sums are cut in the same places. Even, as all rows are.
pub const WIDE_COLUMNS: u64 = 66;
