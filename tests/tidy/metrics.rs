//! The page on numbers names the numbers that the code has, and no others.

use std::collections::BTreeSet;
use std::path::Path;

use super::{files, root};

/// Words in `text` between two `fence`s that look like the name of a number.
fn names(text: &str, fence: char) -> BTreeSet<String> {
    let looks_like_one = |word: &&str| {
        let suffix = ["_total", "_seconds", "_bytes", "_ratio"];
        word.starts_with("runloom_") && suffix.iter().any(|suffix| word.ends_with(suffix))
    };
    text.split(fence)
        .filter(looks_like_one)
        .map(str::to_owned)
        .collect()
}

fn names_in_code(crates: &Path) -> BTreeSet<String> {
    let sources = files(crates, "rs").into_iter();
    let sources = sources.filter(|path| path.components().any(|part| part.as_os_str() == "src"));
    let texts = sources.map(|path| std::fs::read_to_string(path).expect("a readable file"));
    texts.flat_map(|text| names(&text, '"')).collect()
}

#[test]
fn the_page_on_numbers_names_those_of_the_code() {
    let page = std::fs::read_to_string(root().join("docs/metrics.md")).expect("the page");
    let page = names(&page, '`');
    let code = names_in_code(&root().join("crates"));
    assert!(!code.is_empty());
    let undocumented: Vec<_> = code.difference(&page).collect();
    assert!(undocumented.is_empty(), "not on the page: {undocumented:?}");
    let gone: Vec<_> = page.difference(&code).collect();
    assert!(gone.is_empty(), "not in the code: {gone:?}");
}
