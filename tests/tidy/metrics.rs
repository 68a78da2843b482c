//! The page on numbers names the numbers that the code records, with their labels and kinds, and no
//! others.

use std::collections::BTreeMap;

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use runloom_tests::numbers::{Number, Numbers, documented, words};

use super::{files, root};

/// What is recorded: each use of one of the library's macros, whose first word is a name or a constant
/// of the same file that holds one.
fn recorded() -> Numbers {
    let mut found = Numbers::new();
    for file in files(&root().join("crates"), "rs") {
        if !file.components().any(|part| part.as_os_str() == "src") {
            continue;
        }
        let text = std::fs::read_to_string(&file).expect("a readable file");
        if !text.contains("metrics") {
            continue;
        }
        let tokens: TokenStream = text.parse().expect("a file of Rust");
        let mut names = BTreeMap::new();
        constants(tokens.clone(), &mut names);
        uses(tokens, &names, &mut |name, number| {
            let place = file.display();
            assert!(name.starts_with("runloom_"), "{place} records {name}");
            let known = found.entry(name.clone()).or_insert_with(|| number.clone());
            assert_eq!(
                *known, number,
                "{place} records {name} otherwise than others do"
            );
        });
    }
    found
}

fn text_of(token: &TokenTree) -> Option<String> {
    let text = token.to_string();
    let text = text.strip_prefix('"')?.strip_suffix('"')?;
    Some(text.to_owned())
}

/// `const NAME: &str = "text";`, wherever it stands.
fn constants(tokens: TokenStream, names: &mut BTreeMap<String, String>) {
    let tokens: Vec<_> = tokens.into_iter().collect();
    for (place, token) in tokens.iter().enumerate() {
        match token {
            TokenTree::Group(group) => constants(group.stream(), names),
            TokenTree::Ident(word) if word == "const" => {
                let name = tokens.get(place + 1).map(ToString::to_string);
                let value = tokens.get(place + 6).and_then(text_of);
                names.extend(name.zip(value));
            }
            _ => {}
        }
    }
}

/// `counter!(NAME, "label" => value, ...)` and its like, wherever they stand.
fn uses(
    tokens: TokenStream,
    names: &BTreeMap<String, String>,
    found: &mut impl FnMut(String, Number),
) {
    let tokens: Vec<_> = tokens.into_iter().collect();
    for (place, token) in tokens.iter().enumerate() {
        let TokenTree::Group(group) = token else {
            continue;
        };
        uses(group.stream(), names, found);
        let before: Vec<_> = tokens[..place].iter().rev().take(2).collect();
        let [TokenTree::Punct(mark), TokenTree::Ident(kind)] = before[..] else {
            continue;
        };
        let kinds = ["counter", "gauge", "histogram"];
        if mark.as_char() != '!'
            || group.delimiter() != Delimiter::Parenthesis
            || !kinds.iter().any(|known| kind == known)
        {
            continue;
        }
        let words: Vec<_> = group.stream().into_iter().collect();
        let name = words.first().expect("a name");
        let name = text_of(name).or_else(|| names.get(&name.to_string()).cloned());
        let name = name.unwrap_or_else(|| panic!("{kind}!({}) names no number", group.stream()));
        let labels = words.windows(3).filter_map(|words| match words {
            [label, TokenTree::Punct(one), TokenTree::Punct(two)]
                if (one.as_char(), two.as_char()) == ('=', '>') =>
            {
                text_of(label)
            }
            _ => None,
        });
        let number = Number {
            kind: kind.to_string(),
            labels: labels.collect(),
        };
        found(name, number);
    }
}

#[test]
fn the_page_on_numbers_has_those_of_the_code_with_their_labels() {
    let (code, page) = (recorded(), documented(&root()));
    assert!(code.len() > 40, "they are found: {code:?}");
    for (name, number) in &code {
        assert_eq!(
            page.get(name),
            Some(number),
            "{name} on the page, and in the code"
        );
    }
    let gone: Vec<_> = page
        .keys()
        .filter(|name| !code.contains_key(*name))
        .collect();
    assert!(gone.is_empty(), "on the page and not in the code: {gone:?}");
}

#[test]
fn the_kind_of_a_number_shows_in_its_name() {
    for (name, number) in documented(&root()) {
        let is_counter = name.ends_with("_total");
        assert_eq!(is_counter, number.kind == "counter", "{name}");
        if number.kind == "histogram" {
            assert!(
                name.ends_with("_seconds"),
                "{name}: all histograms are of times"
            );
        }
    }
}

/// What the page says elsewhere is about numbers that are in its table.
#[test]
fn the_pages_name_only_numbers_that_there_are() {
    let known = documented(&root());
    for page in [
        "docs/metrics.md",
        "docs/operations.md",
        "docs/kubernetes.md",
    ] {
        let text = std::fs::read_to_string(root().join(page)).expect("the page");
        let named = text.lines().flat_map(words);
        let named = named.filter(|word| {
            let is_name = |letter: char| letter.is_ascii_lowercase() || letter == '_';
            word.starts_with("runloom_") && word.chars().all(is_name)
        });
        for name in named {
            assert!(known.contains_key(&name), "{page} names {name}");
        }
    }
}
