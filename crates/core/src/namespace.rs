//! Namespaces of items as bytes: they sort as the lists of labels do, and everything below a
//! namespace is one range.
//!
//! Each label ends with a zero byte. Within labels the two least characters are written as two
//! bytes, which keeps zero for the ends.

const END: u8 = 0;
const ESCAPE: u8 = 1;

/// The bytes of a namespace.
pub fn bytes(labels: &[String]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in labels {
        for byte in label.bytes() {
            match byte {
                END | ESCAPE => bytes.extend([ESCAPE, byte + 1]),
                other => bytes.push(other),
            }
        }
        bytes.push(END);
    }
    bytes
}

/// The labels of a namespace.
pub fn labels(bytes: &[u8]) -> Vec<String> {
    let mut labels = Vec::new();
    let mut label = Vec::new();
    let mut rest = bytes.iter().copied();
    while let Some(byte) = rest.next() {
        match byte {
            END => {
                let whole = std::mem::take(&mut label);
                labels.push(String::from_utf8_lossy(&whole).into_owned());
            }
            ESCAPE => label.extend(rest.next().map(|escaped| escaped.saturating_sub(1))),
            other => label.push(other),
        }
    }
    labels
}

/// A range of namespaces: from the first bytes up to, but not including, the last ones.
#[derive(Debug)]
pub struct Range {
    /// The first bytes that are in it.
    pub from: Vec<u8>,
    /// The first bytes that are not.
    pub to: Vec<u8>,
}

impl Range {
    /// The namespace and everything below it.
    pub fn below(namespace: &[String]) -> Self {
        let from = bytes(namespace);
        let mut to = from.clone();
        match to.last_mut() {
            Some(end) => *end = END + 1,
            // No text has this byte.
            None => to.push(0xff),
        }
        Self { from, to }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(labels: &[&str]) -> Vec<String> {
        labels.iter().map(|label| (*label).to_owned()).collect()
    }

    #[test]
    fn bytes_sort_as_labels_do_and_read_back() {
        let mut all = vec![
            of(&[]),
            of(&["a"]),
            of(&["a", "b"]),
            of(&["a", ""]),
            of(&["a b"]),
            of(&["a\0"]),
            of(&["a\u{1}"]),
            of(&["a\u{2}"]),
            of(&["\0", "x"]),
            of(&["ab"]),
            of(&["ä"]),
            of(&["\u{10ffff}"]),
        ];
        all.sort();
        let encoded: Vec<_> = all.iter().map(|namespace| bytes(namespace)).collect();
        assert!(encoded.is_sorted());
        let decoded: Vec<_> = encoded.iter().map(|namespace| labels(namespace)).collect();
        assert_eq!(decoded, all);
        for namespace in &all {
            let range = Range::below(namespace);
            for (other, bytes) in all.iter().zip(&encoded) {
                let inside = range.from <= *bytes && *bytes < range.to;
                assert_eq!(inside, other.starts_with(namespace), "{other:?} {range:?}");
            }
        }
    }
}
