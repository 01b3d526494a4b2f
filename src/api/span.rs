//! A length of time as people write it: `30s`, `15m`, `8h`, `7d`, `2w`, or several of them together.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use jiff::SignedDuration;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::schema::{Rule, rules};

/// A length of time in seconds, minutes, hours, days (24 hours) and weeks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Span(String);

/// A text that is not a length of time.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("\"{0}\" is not a length of time: write numbers with s, m, h, d or w, for example 30m, 8h or 7d")]
pub struct InvalidSpan(String);

impl Span {
    /// The exact length; what the schema refused anyway counts as nothing.
    pub fn duration(&self) -> SignedDuration {
        parse(&self.0).unwrap_or(SignedDuration::ZERO)
    }
}

impl FromStr for Span {
    type Err = InvalidSpan;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match parse(text) {
            Some(length) if length > SignedDuration::ZERO => Ok(Self(text.to_owned())),
            _ => Err(InvalidSpan(text.to_owned())),
        }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn parse(text: &str) -> Option<SignedDuration> {
    let mut seconds: i64 = 0;
    let mut number = String::new();
    for character in text.chars() {
        if character.is_ascii_digit() {
            number.push(character);
            continue;
        }
        let unit: i64 = match character {
            's' => 1,
            'm' => 60,
            'h' => 3_600,
            'd' => 86_400,
            'w' => 604_800,
            _ => return None,
        };
        let count: i64 = std::mem::take(&mut number).parse().ok()?;
        seconds = seconds.checked_add(count.checked_mul(unit)?)?;
    }
    number.is_empty().then(|| SignedDuration::from_secs(seconds))
}

impl JsonSchema for Span {
    fn schema_name() -> Cow<'static, str> {
        "Span".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "maxLength": 20,
            "x-kubernetes-validations": rules(&[Rule::new(
                "self.matches('^([0-9]{1,6}[smhdw])+$') && self.matches('[1-9]')",
                "write a length of time above zero as numbers with s, m, h, d or w, for example 30m, 8h or 7d",
            )]),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_add_up() {
        let span: Span = "1w2d3h4m5s".parse().expect("valid");
        assert_eq!(span.duration().as_secs(), 604_800 + 2 * 86_400 + 3 * 3_600 + 4 * 60 + 5);
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "4", "h", "4x", "-4h", "4 h", "0s", "99999999999999999999h"] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
    }
}
