/// The roles a message may have. Others are refused, since most templates drop a role they do not know without a word.
pub const ROLES: [&str; 4] = ["system", "user", "assistant", "tool"];
