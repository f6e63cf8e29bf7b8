/// The roles a message may have. Others are refused, since most templates drop a role they do not know without a word.
pub const ROLES: [&str; 4] = ["system", "user", "assistant", "tool"];

/// Roles that a message may have where the chat template writes such a message: those of other families of models.
pub const TEMPLATE_ROLES: [&str; 3] = ["developer", "ipython", "function"];

/// Whether a role is one of either list.
pub(super) fn may_be(role: &str) -> bool {
    ROLES.contains(&role) || TEMPLATE_ROLES.contains(&role)
}
