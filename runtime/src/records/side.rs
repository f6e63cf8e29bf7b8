use std::fmt;

/// Which conversation of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The only one.
    Whole,
    /// The preferred one of a pair.
    Chosen,
    /// The other one of a pair.
    Rejected,
    /// One of several candidates, by its place among them, from 0.
    Candidate(usize),
}

impl Side {
    /// The field of a pair that holds it; `None` for one that is not of a pair.
    #[must_use]
    pub fn field(self) -> Option<&'static str> {
        match self {
            Self::Whole | Self::Candidate(_) => None,
            Self::Chosen => Some("chosen"),
            Self::Rejected => Some("rejected"),
        }
    }
}

/// What stands in front of an error of it: nothing, or its name in the answer and a colon.
impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self, self.field()) {
            (Self::Candidate(index), _) => write!(f, "candidates[{index}]: "),
            (_, Some(field)) => write!(f, "{field}: "),
            (_, None) => Ok(()),
        }
    }
}
