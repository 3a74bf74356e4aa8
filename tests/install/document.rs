//! The commands of `docs/operations.md`.

const PAGE: &str = include_str!("../../docs/operations.md");

/// The sources that follow the commands.
const FOLLOWERS: [&str; 3] = [
    include_str!("certmanager.rs"),
    include_str!("helm.rs"),
    include_str!("operations.rs"),
];

/// The commands of one block in a section, counted from 0.
pub(crate) fn commands(section: &str, block: usize) -> Vec<String> {
    let mut blocks = blocks().into_iter();
    let found = blocks.find(|(of, number, _)| of == section && *number == block);
    let (_, _, commands) = found.unwrap_or_else(|| panic!("no block {block} in `{section}`"));
    commands
}

/// Every block of commands: its section, its number there, and what it holds.
fn blocks() -> Vec<(String, usize, Vec<String>)> {
    let mut blocks: Vec<(String, usize, Vec<String>)> = Vec::new();
    let (mut section, mut number, mut is_open) = (String::new(), 0, false);
    for line in PAGE.lines() {
        if line == "```console" {
            is_open = true;
            blocks.push((section.clone(), number, Vec::new()));
            number += 1;
        } else if line.starts_with("```") {
            is_open = false;
        } else if let (true, Some(command)) = (is_open, line.strip_prefix("$ ")) {
            let (_, _, commands) = blocks.last_mut().expect("a block");
            commands.push(command.to_owned());
        } else if line.starts_with('#') {
            line.trim_start_matches(['#', ' '])
                .clone_into(&mut section);
            number = 0;
        }
    }
    blocks
}

#[test]
fn every_command_is_run_by_a_test() {
    let blocks = blocks();
    assert!(!blocks.is_empty());
    for (section, number, commands) in blocks {
        assert!(!commands.is_empty(), "{section} has an empty block");
        let used = format!("(\"{section}\", {number})");
        assert!(
            FOLLOWERS
                .iter()
                .any(|source| source.contains(&used)),
            "no test follows {used}"
        );
    }
}
