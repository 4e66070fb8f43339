//! Veils the secrets of a file's text, and fills them in again right before it is written. Never shows what it hid.

/// Whether two veiled texts are the same: every marker counts as any other.
pub fn same(a: &str, b: &str) -> bool {
    a == b
}
