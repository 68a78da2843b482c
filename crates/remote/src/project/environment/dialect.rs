//! Files of variables are written for python-dotenv, which takes more of them literally than the reader
//! used here. What would be understood differently is quoted and escaped.

use std::fmt::Write as _;

/// `content` in the words of the reader: line for line, the same variables.
pub(super) fn translated(content: &str) -> String {
    let mut translated = String::with_capacity(content.len());
    // The quote of a value that goes on over several lines.
    let mut open = None;
    for line in content.lines() {
        if let Some(quote) = open {
            push_quoted(&mut translated, line, quote);
            if is_closed(line, quote) {
                open = None;
            }
        } else if let Some((name, value)) = assignment(line) {
            let value = value.trim();
            let quote = value
                .chars()
                .next()
                .filter(|first| matches!(first, '\'' | '"'));
            let _ = write!(translated, "{name}=");
            if let Some(quote) = quote {
                push_quoted(&mut translated, value, quote);
                open = (!is_closed(&value[1..], quote)).then_some(quote);
            } else {
                push_literal(&mut translated, without_comment(value));
            }
        }
        translated.push('\n');
    }
    translated
}

/// Name and value of a line that has both. A comment has none, and a name alone says nothing.
fn assignment(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.split_once('=')?;
    (!name.trim_start().starts_with('#')).then_some((name, value))
}

/// A value ends where whitespace and `#` begin a comment.
fn without_comment(value: &str) -> &str {
    let starts = value.match_indices('#').map(|(index, _)| index);
    let before = |index: usize| value[..index].chars().next_back();
    let mut starts = starts.filter(|index| before(*index).is_some_and(char::is_whitespace));
    starts
        .next()
        .map_or(value, |start| value[..start].trim_end())
}

/// Without quotes everything is literal but `${NAME}`.
fn push_literal(translated: &mut String, value: &str) {
    let is_plain = |c: char| !c.is_whitespace() && !matches!(c, '$' | '#' | '\\' | '\'' | '"');
    if value.chars().all(is_plain) {
        translated.push_str(value);
        return;
    }
    let escaped = value.replace('\\', "\\\\").replace('"', "\\\"");
    translated.push('"');
    push_quoted(translated, &escaped, '"');
    translated.push('"');
}

/// In double quotes, a `$` without braces is only a `$`.
fn push_quoted(translated: &mut String, value: &str, quote: char) {
    let mut is_escaped = false;
    for (index, c) in value.char_indices() {
        let is_literal = c == '$' && !value[index..].starts_with("${");
        if is_literal && quote == '"' && !is_escaped {
            translated.push('\\');
        }
        translated.push(c);
        is_escaped = c == '\\' && !is_escaped;
    }
}

/// Whether a value in quotes ends in `rest`, which begins after the opening quote.
fn is_closed(rest: &str, quote: char) -> bool {
    let mut is_escaped = false;
    for c in rest.chars() {
        if c == quote && !is_escaped {
            return true;
        }
        is_escaped = c == '\\' && !is_escaped;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(content: &str) -> Vec<(String, String)> {
        let translated = translated(content);
        assert_eq!(translated.lines().count(), content.lines().count());
        let pairs = dotenvy::from_read_iter(translated.as_bytes());
        pairs.map(|pair| pair.expect("a variable")).collect()
    }

    /// Each line with the value that python-dotenv 1.2 gives it.
    #[test]
    fn values_are_what_python_dotenv_takes_them_for() {
        let cases = [
            ("A=1", "1"),
            ("export A = 1 ", "1"),
            ("A=", ""),
            ("A= # why", "# why"),
            ("A=#b", "#b"),
            ("A=You are helpful.", "You are helpful."),
            ("A=some words # why", "some words"),
            ("A=a#b", "a#b"),
            ("A=https://host/?a=b&c=d", "https://host/?a=b&c=d"),
            ("A=pa$$word$x", "pa$$word$x"),
            (r"A=C:\new", r"C:\new"),
            (r#"A={"a": "b c"}"#, r#"{"a": "b c"}"#),
            ("A=it's", "it's"),
            ("A='pa$x # no comment' # why", "pa$x # no comment"),
            ("A=\"pa$x # no comment\" # why", "pa$x # no comment"),
            (r#"A="a\"b\nc""#, "a\"b\nc"),
        ];
        for (line, value) in cases {
            assert_eq!(read(line), [("A".to_owned(), value.to_owned())], "{line}");
        }
    }

    #[test]
    fn values_may_refer_to_others_and_go_on_over_several_lines() {
        let content =
            "# A=0\n\nNAME\nA=a\nB=${A} and ${A}$A\nC=\"first\nD=$x\nlast\"\nE='e\nF=1'\nG=g\n";
        let expected = [
            ("A", "a"),
            ("B", "a and a$A"),
            ("C", "first\nD=$x\nlast"),
            ("E", "e\nF=1"),
            ("G", "g"),
        ];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(read(content), expected);
    }
}
