/// Text of a manifest, safe to print: control characters that a terminal would obey are replaced.
pub(in crate::offline) fn printable(text: &str) -> String {
    text.replace(char::is_control, "\u{fffd}")
}
