/// One line of comma-separated values (RFC 4180).
///
/// A value that a spreadsheet would take for a formula is prefixed with a quote: names and messages are
/// chosen by untrusted users.
pub(super) fn line(values: &[&str]) -> String {
    let values: Vec<_> = values
        .iter()
        .map(|value| quoted(value))
        .collect();
    values.join(",") + "\n"
}

fn quoted(value: &str) -> String {
    let value = if value.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        format!("'{value}")
    } else {
        value.to_owned()
    };
    if value.contains(['"', ',', '\n', '\r']) {
        format!("\"{}\"", value.replace('"', "\"\""))
    } else {
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_quoted_where_they_need_it_and_are_never_formulas() {
        assert_eq!(
            line(&["plain", "a,b", "say \"hi\"", "", "two\nlines", "=1+1"]),
            "plain,\"a,b\",\"say \"\"hi\"\"\",,\"two\nlines\",'=1+1\n"
        );
    }
}
