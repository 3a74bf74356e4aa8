use crate::images::Row;

/// The host of every placeholder. It can never resolve (RFC 6761), so a pod that bypassed admission
/// cannot pull anything.
const HOST: &str = "agentkube.invalid/";

/// An image that admission replaces.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Placeholder<'a> {
    /// The image of the Agent that the pod is labelled with.
    Agent,
    /// The image of one row of the matrix.
    Row(&'static Row),
    /// The image of the Tool that the pod is labelled with.
    Tool,
    /// On the placeholder host, with an unknown name.
    Unknown(&'a str),
}

impl<'a> Placeholder<'a> {
    /// Reads an image; `None` if it is not a placeholder.
    #[must_use]
    pub fn parse(image: &'a str) -> Option<Self> {
        Some(match image.strip_prefix(HOST)? {
            "agent" => Self::Agent,
            "tool" => Self::Tool,
            path => Row::by_placeholder(path).map_or(Self::Unknown(path), Self::Row),
        })
    }

    /// The placeholder for a word: `agent`, `tool`, or that of a row.
    #[must_use]
    pub fn image(word: &str) -> String {
        format!("{HOST}{word}")
    }
}
