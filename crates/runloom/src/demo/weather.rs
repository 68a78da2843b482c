//! The weather as an offline almanac knows it: the same for the same place, every time.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the tool is asked.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct Query {
    /// The place, or a question that names it.
    pub(super) query: String,
}

/// The weather of a place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Report {
    pub(super) city: String,
    pub(super) condition: String,
    pub(super) temperature_c: i32,
    pub(super) temperature_f: i32,
    pub(super) humidity_percent: u32,
    pub(super) wind_kmh: u32,
}

/// A place of the almanac: its name and other words for it, lower-case, and its weather.
struct Place {
    city: &'static str,
    words: &'static [&'static str],
    condition: &'static str,
    celsius: i32,
    humidity: u32,
    wind: u32,
}

const fn place(
    city: &'static str,
    words: &'static [&'static str],
    condition: &'static str,
    celsius: i32,
    humidity: u32,
    wind: u32,
) -> Place {
    Place {
        city,
        words,
        condition,
        celsius,
        humidity,
        wind,
    }
}

const ALMANAC: &[Place] = &[
    place(
        "San Francisco",
        &["sf", "san francisco", "frisco"],
        "foggy",
        15,
        83,
        21,
    ),
    place(
        "New York City",
        &["nyc", "new york", "manhattan"],
        "sunny",
        32,
        54,
        12,
    ),
    place("London", &["london"], "drizzly", 13, 88, 17),
    place("Berlin", &["berlin"], "cloudy", 18, 64, 14),
    place("Paris", &["paris"], "clear", 22, 51, 9),
    place("Zurich", &["zurich", "zürich"], "windy", 17, 60, 28),
    place("Tokyo", &["tokyo", "東京"], "humid", 27, 79, 8),
    place("Sydney", &["sydney"], "breezy", 20, 58, 24),
    place("Los Angeles", &["los angeles"], "smoggy", 26, 45, 7),
    place("Seattle", &["seattle"], "rainy", 11, 91, 15),
];

const CONDITIONS: [&str; 6] = ["sunny", "cloudy", "rainy", "windy", "clear", "misty"];

/// Names of unknown places are cut to so many words and characters.
const NAME_WORDS: usize = 4;
const NAME_CHARS: usize = 40;

/// The weather at the place that `query` names; a plausible one if the almanac does not know it.
pub(super) fn look_up(query: &str) -> Report {
    let words = words(query);
    let named = |place: &&Place| place.words.iter().any(|name| contains(&words, name));
    match ALMANAC.iter().find(named) {
        Some(known) => report(
            known.city,
            known.condition,
            known.celsius,
            known.humidity,
            known.wind,
        ),
        None => invented(&name(query)),
    }
}

fn words(text: &str) -> Vec<String> {
    let words = text.split(|c: char| !c.is_alphanumeric());
    words
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect()
}

/// Whether `name`, of one or more words, stands somewhere in `words`.
fn contains(words: &[String], name: &str) -> bool {
    let name: Vec<_> = name.split(' ').collect();
    words.windows(name.len()).any(|window| window == name)
}

/// The place of a question such as "what is the weather in Springfield today?".
fn name(query: &str) -> String {
    let place = [" in ", " at ", " for "]
        .iter()
        .find_map(|word| query.rsplit_once(word));
    let place = place.map_or(query, |(_, place)| place);
    let place: Vec<_> = place.split_whitespace().take(NAME_WORDS).collect();
    let place: String = place.join(" ").chars().take(NAME_CHARS).collect();
    let place = place.trim_matches(|c: char| !c.is_alphanumeric());
    if place.is_empty() {
        "the place you mean".to_owned()
    } else {
        place.to_owned()
    }
}

fn invented(city: &str) -> Report {
    let hash = fnv(&city.to_lowercase());
    // A part of the hash below `limit`.
    let part =
        |shift: u32, limit: u32| u32::try_from((hash >> shift) % u64::from(limit)).unwrap_or(0);
    let condition = CONDITIONS[part(0, 6) as usize];
    let celsius = part(8, 25).cast_signed() + 5;
    report(
        city,
        condition,
        celsius,
        40 + part(16, 50),
        3 + part(24, 30),
    )
}

/// FNV-1a: the same in every release, unlike the standard library's hash.
fn fnv(text: &str) -> u64 {
    let mix = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    text.bytes().fold(0xcbf2_9ce4_8422_2325, mix)
}

fn report(city: &str, condition: &str, celsius: i32, humidity: u32, wind: u32) -> Report {
    Report {
        city: city.to_owned(),
        condition: condition.to_owned(),
        temperature_c: celsius,
        temperature_f: celsius * 9 / 5 + 32,
        humidity_percent: humidity,
        wind_kmh: wind,
    }
}

/// What a forecaster makes of the tool's content: about thirty words.
pub(super) fn tell(content: &str) -> String {
    match serde_json::from_str::<Report>(content) {
        Ok(report) => format!(
            "Right now it is {} in {}: {} °C ({} °F), with {} % humidity and a wind of {} km/h. \
             Any other place you would like to know about?",
            report.condition,
            report.city,
            report.temperature_c,
            report.temperature_f,
            report.humidity_percent,
            report.wind_kmh,
        ),
        Err(_) => format!("This is what the weather search found: {content}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_city_is_found_by_any_of_its_names_as_a_whole_word() {
        for (query, city) in [
            ("what's the weather in sf?", "San Francisco"),
            ("San  Francisco", "San Francisco"),
            ("what's the weather in nyc?", "New York City"),
            ("weather for NEW YORK please", "New York City"),
            ("東京", "Tokyo"),
        ] {
            assert_eq!(look_up(query).city, city, "{query}");
        }
        assert_ne!(look_up("transfer").city, "San Francisco");
    }

    #[test]
    fn an_unknown_place_has_a_plausible_weather_that_never_changes() {
        let report = look_up("what is the weather in Springfield?");
        assert_eq!(report.city, "Springfield");
        assert_eq!(
            report,
            look_up("weather in springfield!").named("Springfield")
        );
        assert!((5..30).contains(&report.temperature_c));
        assert!((40..90).contains(&report.humidity_percent));
        assert_ne!(report, look_up("Shelbyville").named("Springfield"));
    }

    impl Report {
        fn named(self, city: &str) -> Self {
            Self {
                city: city.to_owned(),
                ..self
            }
        }
    }

    #[test]
    fn strange_queries_get_an_answer_too() {
        for query in ["", "???", " in ", &"long ".repeat(10_000)] {
            let report = look_up(query);
            assert!(
                (1..=NAME_CHARS).contains(&report.city.chars().count()),
                "{report:?}"
            );
        }
    }

    #[test]
    fn what_is_told_holds_what_was_found() {
        let told = tell(&serde_json::to_string(&look_up("sf")).unwrap());
        assert!(told.starts_with("Right now it is foggy in San Francisco: 15 °C (59 °F),"));
        assert_eq!(
            tell("gibberish"),
            "This is what the weather search found: gibberish"
        );
    }
}
