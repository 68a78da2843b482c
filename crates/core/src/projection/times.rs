//! Dates, times of day and durations, which are stored as their parts.

use serde_json::Value;

use super::float;

/// `[year, month, day]` as ISO 8601.
pub(super) fn date(parts: &[Value]) -> Option<Value> {
    let [year, month, day] = whole(parts)?;
    Some(format!("{year:04}-{month:02}-{day:02}").into())
}

/// `[days, seconds, microseconds]` as seconds.
pub(super) fn duration(parts: &[Value]) -> Option<Value> {
    let [days, seconds, micros] = whole(parts)?;
    let micros = (days * 86_400 + seconds) * 1_000_000 + micros;
    #[expect(clippy::cast_precision_loss, reason = "as exact as seconds can be")]
    Some(float(micros as f64 / 1e6))
}

/// `[offset, name?]` as a name; the offset is in seconds.
pub(super) fn zone(parts: &[Value]) -> Option<Value> {
    if let [_, name @ Value::String(_)] = parts {
        return Some(name.clone());
    }
    let seconds = parts.first()?.as_f64()?;
    #[expect(clippy::cast_possible_truncation, reason = "less than a day")]
    let minutes = (seconds / 60.0) as i64;
    if minutes == 0 {
        return Some("UTC".into());
    }
    let sign = if minutes < 0 { '-' } else { '+' };
    let minutes = minutes.abs();
    Some(format!("UTC{sign}{:02}:{:02}", minutes / 60, minutes % 60).into())
}

/// `{hour, minute, second, microsecond, tzinfo, …}` as ISO 8601.
pub(super) fn time_of_day(parts: &Value) -> Option<Value> {
    let part = |name: &str| parts[name].as_i64();
    let (hour, minute, second) = (part("hour")?, part("minute")?, part("second")?);
    let fraction = match part("microsecond")? {
        0 => String::new(),
        micros => format!(".{micros:06}"),
    };
    let offset = match parts["tzinfo"].as_str() {
        Some("UTC") => "+00:00",
        Some(zone) => zone.strip_prefix("UTC").unwrap_or_default(),
        None => "",
    };
    Some(format!("{hour:02}:{minute:02}:{second:02}{fraction}{offset}").into())
}

fn whole<const N: usize>(parts: &[Value]) -> Option<[i64; N]> {
    let parts: Vec<_> = parts.iter().map(Value::as_i64).collect::<Option<_>>()?;
    parts.try_into().ok()
}
