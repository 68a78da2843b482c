//! Numbers for readers: as many digits as mean something.

/// Three digits, or all before the point.
pub(super) fn number(value: f64) -> String {
    let size = value.abs();
    let whole = value.round();
    if (value - whole).abs() < 5e-4 && size < 0.5 {
        return "0".to_owned();
    }
    if (value - whole).abs() < 1e-9 && size < 1000.0 {
        return format!("{whole:.0}");
    }
    match size {
        _ if size >= 1000.0 => grouped(whole),
        _ if size >= 99.95 => format!("{value:.0}"),
        _ if size >= 9.995 => format!("{value:.1}"),
        _ if size >= 0.1 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

fn grouped(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if value < 0.0 {
        format!("-{text}")
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn next_to_nothing_is_nothing() {
        assert_eq!(
            (number(-0.0001).as_str(), number(0.0004).as_str()),
            ("0", "0")
        );
    }

    #[test]
    fn three_digits_are_shown_and_thousands_are_grouped() {
        let shown = [
            0.0,
            3.0,
            0.0421,
            0.421,
            4.21,
            42.13,
            421.3,
            4213.4,
            1_234_567.0,
            -2500.0,
        ];
        let texts: Vec<_> = shown.into_iter().map(number).collect();
        let expected = "0 3 0.042 0.42 4.21 42.1 421 4,213 1,234,567 -2,500";
        assert_eq!(texts.join(" "), expected);
    }
}
