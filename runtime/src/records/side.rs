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
}

impl Side {
    /// The field of a pair that holds it; `None` for the only one.
    #[must_use]
    pub fn field(self) -> Option<&'static str> {
        match self {
            Self::Whole => None,
            Self::Chosen => Some("chosen"),
            Self::Rejected => Some("rejected"),
        }
    }
}

/// What stands in front of an error of it: nothing, or the field and a colon.
impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.field() {
            Some(field) => write!(f, "{field}: "),
            None => Ok(()),
        }
    }
}
