/// A table for people that also works with `grep` and `awk`: one line per row, two spaces between
/// columns, and no empty cells.
#[derive(Debug)]
pub(super) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these columns.
    pub(super) fn new(header: &[&str]) -> Self {
        let mut table = Self { rows: Vec::new() };
        table.row(header);
        table
    }

    /// Adds a row. An empty cell is shown as `-`.
    pub(super) fn row(&mut self, cells: &[&str]) {
        let cell = |text: &&str| printable(if text.is_empty() { "-" } else { text });
        self.rows
            .push(cells.iter().map(cell).collect());
    }

    /// The lines of the table.
    pub(super) fn render(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max();
        let widths: Vec<_> = (0..columns.unwrap_or_default())
            .map(|column| {
                let cells = self
                    .rows
                    .iter()
                    .filter_map(|row| row.get(column));
                cells
                    .map(|cell| cell.chars().count())
                    .max()
                    .unwrap_or_default()
            })
            .collect();
        let mut text = String::new();
        for row in &self.rows {
            let cells: Vec<_> = row
                .iter()
                .zip(&widths)
                .map(|(cell, &width)| format!("{cell:width$}"))
                .collect();
            text.push_str(cells.join("  ").trim_end());
            text.push('\n');
        }
        text
    }
}

/// The text with control characters escaped, as untrusted text may hold terminal sequences.
pub(super) fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_no_cell_is_empty() {
        let mut table = Table::new(&["NAME", "WHY", "END"]);
        table.row(&["Codex", "", "x"]);
        table.row(&["é", "default", ""]);
        assert_eq!(
            table.render(),
            "NAME   WHY      END\nCodex  -        x\né      default  -\n"
        );
    }

    #[test]
    fn no_control_character_reaches_a_terminal() {
        let mut table = Table::new(&["NAME"]);
        table.row(&["a\u{1b}[31m\nb"]);
        assert_eq!(table.render(), "NAME\na\\u{1b}[31m\\nb\n");
    }
}
