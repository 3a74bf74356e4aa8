use std::fmt;

/// The path of a field in an object: `spec.tools[0].name`.
///
/// Each step points to the previous one, so the text is only written if there is a problem to
/// report.
#[derive(Clone, Copy)]
pub(in crate::offline) enum Path<'a> {
    /// The object itself, written as an empty text.
    Root,
    /// A member of an object.
    Member(&'a Self, &'a str),
    /// A member of a map with free names.
    Key(&'a Self, &'a str),
    /// An item of a list, counted from 0.
    Item(&'a Self, usize),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Member(Self::Root, name) => formatter.write_str(name),
            Self::Member(parent, name) => write!(formatter, "{parent}.{name}"),
            Self::Key(parent, name) => write!(formatter, "{parent}[{name}]"),
            Self::Item(parent, index) => write!(formatter, "{parent}[{index}]"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_written_from_the_object_on() {
        let spec = Path::Member(&Path::Root, "spec");
        let tools = Path::Member(&spec, "tools");
        let tool = Path::Item(&tools, 0);
        assert_eq!(
            Path::Member(&tool, "name").to_string(),
            "spec.tools[0].name"
        );
        assert_eq!(Path::Root.to_string(), "");
    }
}
