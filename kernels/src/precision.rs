use std::{fmt, str::FromStr};

/// How exactly floats are multiplied with bfloat16 weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// As exactly as floats: each is split into three bfloat16 numbers, which together have all of its bits.
    #[default]
    Highest,
    /// Each float is split into two bfloat16 numbers: 16 or 17 of its 24 significant bits.
    High,
    /// Each float is rounded to one bfloat16 number.
    Medium,
}

impl Precision {
    /// All of them, the most exact one first.
    pub const ALL: [Self; 3] = [Self::Highest, Self::High, Self::Medium];

    /// How many bfloat16 numbers stand for a float.
    #[must_use]
    pub fn parts(self) -> usize {
        match self {
            Self::Highest => 3,
            Self::High => 2,
            Self::Medium => 1,
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Highest => "highest",
            Self::High => "high",
            Self::Medium => "medium",
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Precision {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|precision| precision.name() == name)
            .ok_or_else(|| format!("`{name}` is not `highest`, `high` or `medium`"))
    }
}
