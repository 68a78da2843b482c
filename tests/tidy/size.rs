//! Files stay small enough to be read at once.

use super::{files, root};

/// Production lines of one file: everything before its inline tests.
const MOST_LINES: usize = 500;

/// Columns of a line.
const MOST_COLUMNS: usize = 110;

#[test]
fn no_file_is_longer_than_can_be_read_at_once() {
    let mut too_long = Vec::new();
    for file in files(&root().join("crates"), "rs") {
        if !file.components().any(|part| part.as_os_str() == "src") {
            continue;
        }
        let text = std::fs::read_to_string(&file).expect("a readable file");
        let lines = text
            .lines()
            .take_while(|line| *line != "#[cfg(test)]")
            .count();
        if lines > MOST_LINES {
            too_long.push(format!("{} has {lines} lines", file.display()));
        }
    }
    assert!(too_long.is_empty(), "split these: {too_long:#?}");
}

#[test]
fn no_line_is_wider_than_a_screen() {
    let mut too_wide = Vec::new();
    for file in files(&root().join("crates"), "rs") {
        let text = std::fs::read_to_string(&file).expect("a readable file");
        for (number, line) in text.lines().enumerate() {
            if line.chars().count() > MOST_COLUMNS {
                too_wide.push(format!("{}:{}", file.display(), number + 1));
            }
        }
    }
    assert!(too_wide.is_empty(), "break these: {too_wide:#?}");
}
