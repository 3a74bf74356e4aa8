use crate::images::Row;

/// The host of every placeholder: it can never resolve (RFC 6761), so a pod that bypassed
/// admission cannot pull anything.
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
    /// On the placeholder host, but naming nothing.
    Unknown(&'a str),
}

impl<'a> Placeholder<'a> {
    /// Reads an image; `None` where it is no placeholder.
    #[must_use]
    pub fn parse(image: &'a str) -> Option<Self> {
        Some(match image.strip_prefix(HOST)? {
            "agent" => Self::Agent,
            "tool" => Self::Tool,
            path => Row::by_placeholder(path).map_or(Self::Unknown(path), Self::Row),
        })
    }

    /// The image that stands for a word: `agent`, `tool`, or a row's.
    #[must_use]
    pub fn image(word: &str) -> String {
        format!("{HOST}{word}")
    }
}
