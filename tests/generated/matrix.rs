//! Written from the matrix: the README's table.

use agentkube::images::{ComponentKind, Row, rows};

use crate::files::{hold_block, table};

#[test]
fn the_readme_shows_the_matrix() {
    let head = [
        "component",
        "kind",
        "default image",
        "token variable",
        "override",
    ];
    hold_block("README.md", "matrix", &table(head, rows().map(cells)));
}

fn cells(row: &Row) -> [String; 5] {
    let code = |text: Option<&str>| text.map_or_else(String::new, |text| format!("`{text}`"));
    let kind = match row.kind {
        ComponentKind::Infrastructure => "infrastructure",
        ComponentKind::Runtime => "runtime",
    };
    let image = match row.default_image() {
        Some(image) => code(Some(image.as_str())),
        None => "none: `spec.image` of the Agent".to_owned(),
    };
    [
        row.name.to_owned(),
        kind.to_owned(),
        image,
        code(row.token),
        code(row.variable),
    ]
}
