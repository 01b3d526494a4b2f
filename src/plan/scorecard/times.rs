//! How long things took: the half and nine tenths of a crowd, and lengths of time as people read them.

use jiff::SignedDuration;

use crate::api::scorecard::Times;

/// How long something took, of everybody for whom it has happened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Took(Vec<SignedDuration>);

impl Took {
    /// Of some lengths, in any order.
    pub fn of(lengths: impl IntoIterator<Item = SignedDuration>) -> Self {
        let mut all: Vec<SignedDuration> = lengths.into_iter().map(|length| length.max(SignedDuration::ZERO)).collect();
        all.sort();
        Self(all)
    }

    /// The least length that so many percent of them do not exceed; nothing of nobody.
    pub fn percentile(&self, percent: usize) -> Option<SignedDuration> {
        let rank = (self.0.len() * percent.min(100)).div_ceil(100).max(1);
        self.0.get(rank - 1).copied()
    }

    /// As a Scorecard tells it.
    pub fn told(&self) -> Times {
        let text = |percent| self.percentile(percent).map(words);
        Times { p50: text(50), p90: text(90), count: i64::try_from(self.0.len()).unwrap_or(i64::MAX) }
    }
}

/// A length of time by its two greatest units, rounded down.
pub fn words(length: SignedDuration) -> String {
    let seconds = length.as_secs().max(0);
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m{}s", seconds % 60),
        (0, ..) => format!("{hours}h{minutes}m"),
        _ => format!("{days}d{hours}h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(seconds: &[i64]) -> Times {
        Took::of(seconds.iter().map(|seconds| SignedDuration::from_secs(*seconds))).told()
    }

    fn times(p50: &str, p90: &str, count: i64) -> Times {
        Times { p50: Some(p50.to_owned()), p90: Some(p90.to_owned()), count }
    }

    #[test]
    fn half_and_nine_tenths_are_times_that_somebody_took() {
        assert_eq!(told(&[]), Times::default());
        assert_eq!(told(&[7]), times("7s", "7s", 1));
        assert_eq!(told(&[9, 1]), times("1s", "9s", 2));
        assert_eq!(told(&[10, 9, 8, 7, 6, 5, 4, 3, 2, 1]), times("5s", "9s", 10));
        assert_eq!(told(&[-5]), times("0s", "0s", 1));
    }

    #[test]
    fn lengths_are_told_by_their_two_greatest_units() {
        let text = |seconds| words(SignedDuration::from_secs(seconds));
        assert_eq!([0, 59, 60, 581, 3_600, 10_920, 90_000].map(text), ["0s", "59s", "1m0s", "9m41s", "1h0m", "3h2m", "1d1h"]);
    }
}
