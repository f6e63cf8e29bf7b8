/// What happens to a conversation with more tokens than the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Truncation {
    /// It is refused.
    #[default]
    Refuse,
    /// Turns are dropped from the oldest on, as few as suffice. A turn is a user message and all that follows it up to
    /// the next user message. System messages and the last turn always stay.
    OldestTurns,
    /// Tokens are cut from the middle of the longest message that is not a system message. The two ends stay, and the
    /// other messages are not touched.
    LongestMessageMiddle,
}
