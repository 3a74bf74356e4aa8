//! Splits the answer to a list into its items while it arrives, holding only one of them at a time.

use std::mem;

/// The most bytes of one item. An API server accepts requests of 3 MiB, and etcd stores values of
/// 1.5 MiB by default. Escapes can make JSON a few times longer.
pub(super) const LONGEST_ITEM_BYTES: usize = 16 * 1024 * 1024;

/// The number of bytes kept of a member's name; the names that matter are shorter.
const LONGEST_NAME: usize = 16;

/// A complete part of a list.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Part {
    /// One of `items`.
    Item(Vec<u8>),
    /// `metadata` of the list itself.
    Metadata(Vec<u8>),
}

/// An item is longer than [`LONGEST_ITEM_BYTES`].
#[derive(Debug, Eq, PartialEq)]
pub(super) struct TooLong;

/// The state of a reader in a list.
///
/// Input that is not a list of objects yields no parts, or parts that are not JSON.
#[derive(Debug, Default)]
pub(super) struct Splitter {
    /// The number of open objects and lists.
    depth: usize,
    text: Text,
    /// The name of the current member of the list.
    member: Vec<u8>,
    /// True after the name of that member.
    is_in_value: bool,
    /// The current part, as far as it has been read.
    part: Vec<u8>,
    is_in_part: bool,
    /// True after the end of the list.
    is_done: bool,
}

/// The position relative to a JSON string.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Text {
    /// After a backslash, where no byte ends the string.
    Escaped,
    Inside,
    #[default]
    Outside,
}

impl Splitter {
    /// Reads until a part is complete or `bytes` are used up. Returns the number of bytes read, and
    /// the part.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(usize, Option<Part>), TooLong> {
        let mut start = 0;
        for (index, byte) in bytes.iter().enumerate() {
            let was_in_part = self.is_in_part;
            let is_whole = self.step(*byte);
            if self.is_in_part && !was_in_part {
                start = index;
            }
            if is_whole {
                let end = index + 1;
                self.keep(
                    bytes
                        .get(start..end)
                        .unwrap_or_default(),
                )?;
                return Ok((end, Some(self.take())));
            }
        }
        if self.is_in_part {
            self.keep(bytes.get(start..).unwrap_or_default())?;
        }
        Ok((bytes.len(), None))
    }

    /// True if everything has been read.
    pub(super) fn is_done(&self) -> bool {
        self.is_done
    }

    /// Reads one byte. Returns true if it ends a part.
    fn step(&mut self, byte: u8) -> bool {
        if self.text != Text::Outside {
            self.step_in_text(byte);
            return false;
        }
        match byte {
            b'"' => {
                self.text = Text::Inside;
                if self.depth == 1 && !self.is_in_value {
                    self.member.clear();
                }
            }
            b':' if self.depth == 1 => self.is_in_value = true,
            b',' if self.depth == 1 => self.is_in_value = false,
            b'{' | b'[' => {
                self.depth += 1;
                if byte == b'{' && self.part_depth() == Some(self.depth) {
                    self.is_in_part = true;
                }
            }
            b'}' | b']' => {
                let is_whole = self.is_in_part && self.part_depth() == Some(self.depth);
                self.depth = self.depth.saturating_sub(1);
                self.is_done = self.depth == 0;
                self.is_in_part &= !is_whole;
                return is_whole;
            }
            _ => {}
        }
        false
    }

    fn step_in_text(&mut self, byte: u8) {
        if self.text == Text::Escaped {
            self.text = Text::Inside;
        } else if byte == b'\\' {
            self.text = Text::Escaped;
        } else if byte == b'"' {
            self.text = Text::Outside;
        } else if self.depth == 1 && !self.is_in_value && self.member.len() < LONGEST_NAME {
            self.member.push(byte);
        }
    }

    /// The depth at which the parts of this member lie, if it has any.
    fn part_depth(&self) -> Option<usize> {
        match self.member.as_slice() {
            b"items" => Some(3),
            b"metadata" => Some(2),
            _ => None,
        }
    }

    fn keep(&mut self, bytes: &[u8]) -> Result<(), TooLong> {
        if self.part.len() + bytes.len() > LONGEST_ITEM_BYTES {
            return Err(TooLong);
        }
        self.part.extend_from_slice(bytes);
        Ok(())
    }

    fn take(&mut self) -> Part {
        let part = mem::take(&mut self.part);
        if self.depth == 1 {
            Part::Metadata(part)
        } else {
            Part::Item(part)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = r#"{"kind":"AgentList","apiVersion":"agentkube.io/v1alpha1",
        "metadata":{"resourceVersion":"7","continue":"}x{"},
        "items":[{"metadata":{"name":"a"},"spec":{"tools":[{"name":"]}"}],"goal":"\"}\\"}},
                 {}, {"items":[{"metadata":{}}]}]}"#;

    /// Reads a list that arrives in pieces of this many bytes.
    fn split(list: &str, piece: usize) -> Vec<String> {
        let mut splitter = Splitter::default();
        let mut parts = Vec::new();
        for piece in list.as_bytes().chunks(piece) {
            let mut rest = piece;
            while !rest.is_empty() {
                let (read, part) = splitter.push(rest).unwrap();
                rest = &rest[read..];
                parts.extend(part.map(|part| match part {
                    Part::Item(bytes) => format!("item {}", String::from_utf8(bytes).unwrap()),
                    Part::Metadata(bytes) => format!("list {}", String::from_utf8(bytes).unwrap()),
                }));
            }
        }
        assert!(splitter.is_done());
        parts
    }

    #[test]
    fn items_come_one_by_one_however_the_list_arrives() {
        for piece in 1..=LIST.len() {
            assert_eq!(
                split(LIST, piece),
                [
                    r#"list {"resourceVersion":"7","continue":"}x{"}"#,
                    r#"item {"metadata":{"name":"a"},"spec":{"tools":[{"name":"]}"}],"goal":"\"}\\"}}"#,
                    "item {}",
                    r#"item {"items":[{"metadata":{}}]}"#,
                ],
                "in pieces of {piece}"
            );
        }
    }

    #[test]
    fn the_order_of_members_does_not_matter() {
        let list = r#"{"items":[{"a":1}],"metadata":{"b":2},"items":null}"#;
        assert_eq!(split(list, 3), [r#"item {"a":1}"#, r#"list {"b":2}"#]);
        assert!(split(r#"{"items":null}"#, 3).is_empty());
        assert!(split(r#"{"items":[]}"#, 3).is_empty());
    }

    #[test]
    fn an_item_without_end_is_given_up() {
        let mut splitter = Splitter::default();
        splitter
            .push(br#"{"items":[{"text":""#)
            .unwrap();
        let piece = vec![b'x'; 1024 * 1024];
        for _ in 0..15 {
            assert_eq!(splitter.push(&piece), Ok((piece.len(), None)));
        }
        assert_eq!(splitter.push(&piece), Err(TooLong));
    }
}
