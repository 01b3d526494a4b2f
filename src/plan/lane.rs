//! How urgent work is. The order is the rule: leaving never waits behind other work.

/// All lanes, the more urgent first.
pub const LANES: [Lane; 5] = [Lane::Departure, Lane::Expiry, Lane::New, Lane::Drift, Lane::Sweep];

/// How urgent a pass is, and every write that it makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// Somebody leaves, or loses what she had.
    Departure,
    /// Something begins or ends by itself.
    Expiry,
    /// Something is new or was edited.
    New,
    /// Something that usher made was changed.
    Drift,
    /// A look at what should be settled.
    Sweep,
}

impl Lane {
    /// What it is called in metrics.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Departure => "departure",
            Self::Expiry => "expiry",
            Self::New => "new",
            Self::Drift => "drift",
            Self::Sweep => "sweep",
        }
    }
}
