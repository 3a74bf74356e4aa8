/// What a manifest says, as a terminal shows it: what it would obey is replaced.
pub(in crate::offline) fn printable(text: &str) -> String {
    text.replace(char::is_control, "\u{fffd}")
}
