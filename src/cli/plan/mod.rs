//! Who would gain and lose what by manifests: for pull requests without a cluster, and against live clusters.

mod live;
mod show;

use std::path::PathBuf;

use jiff::Timestamp;

use crate::plan::difference::differences;
use crate::plan::forecast::Forecast;
use crate::plan::manifests::{Manifests, Others};
use crate::plan::offline::read;
use crate::plan::settings::{Fence, Settings};

use super::connect::Connect;
use super::manifests::load;
use super::{Failure, print};

use self::show::{Output, show};

/// Say who would gain and lose what by manifests, and change nothing.
///
/// Without a cluster it compares the manifests in one folder with those in another, or with nothing, person by person, in each Environment and at each Provider.
///
/// With --live it reads what people wrote and what every Environment's cluster holds now, lays the manifests over (each takes the place of the object of its kind
/// and name), and lets the operator's own planner work that out to the end in memory. So it also tells of what was changed by hand and would be put right. An
/// Environment whose cluster cannot be read is named with the reason, and the rest is printed all the same. Providers are not asked: of accounts it says what
/// is written. Admission is not asked either.
///
/// Exits with 0 for no difference, 1 for some, 2 for an error, as `kubectl diff` does; also with 2 if an Environment could not be read.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:
  usher plan -f manifests/                             all that manifests give
  usher plan -f manifests/ --base main/ -o markdown    for a pull request
  usher plan -f manifests/ --live                      what would happen now
  usher plan -f manifests/ --live --prune              if all else were deleted
  usher plan -f ada.yaml --live --at 2027-01-01T00:00:00Z")]
pub struct Plan {
    /// The folder or file with the manifests as they would be
    #[arg(short = 'f', long = "filename", value_name = "DIR")]
    files: PathBuf,
    /// The folder or file with the manifests as they are [default: nothing]
    #[arg(long, value_name = "DIR")]
    base: Option<PathBuf>,
    /// How to print the plan
    #[arg(short = 'o', long, default_value = "text")]
    output: Output,
    /// The moment to plan for, in RFC 3339 [default: now]
    #[arg(long, value_name = "TIME")]
    at: Option<Timestamp>,
    /// The ClusterRoles that Roles may name (fence.mayBind); may be repeated [default: view, edit, usher-developer]
    #[arg(long = "may-bind", value_name = "CLUSTERROLE")]
    may_bind: Vec<String>,
    /// Compare with what the clusters hold now; the home cluster is that of the context
    #[arg(long, conflicts_with_all = ["base", "may_bind"])]
    live: bool,
    /// With --live: what has no manifest is deleted, but for Locks
    #[arg(long, requires = "live")]
    prune: bool,
    #[command(flatten)]
    connect: Connect,
    /// With --live: the namespace that usher is installed in
    #[arg(long, short = 'n', env = "USHER_NAMESPACE", default_value = "usher-system")]
    namespace: String,
}

impl Plan {
    /// Prints the plan. Returns the exit code.
    ///
    /// # Errors
    /// When manifests or the home cluster cannot be read.
    pub async fn execute(self) -> Result<u8, Failure> {
        let forecast = if self.live { self.live().await? } else { self.offline()? };
        print(&show(&forecast, self.output))?;
        Ok(if forecast.unread.is_empty() { u8::from(!forecast.changes.is_empty()) } else { 2 })
    }

    fn now(&self) -> Timestamp {
        self.at.unwrap_or_else(Timestamp::now)
    }

    async fn live(&self) -> Result<Forecast, Failure> {
        let manifests = load(&self.files)?;
        let stage = live::stage(&self.connect, &self.namespace, &manifests, self.now()).await?;
        Ok(stage.forecast(manifests, if self.prune { Others::Go } else { Others::Stay }))
    }

    fn offline(&self) -> Result<Forecast, Failure> {
        let (settings, now) = (self.settings(), self.now());
        let base = self.base.as_ref().map_or_else(|| Ok(Manifests::default()), |base| load(base))?;
        let (before, after) = (read(base, &settings, now), read(load(&self.files)?, &settings, now));
        let changes = differences(&before.matrix, &after.matrix);
        Ok(Forecast { changes, problems: after.problems, ..Forecast::default() })
    }

    fn settings(&self) -> Settings {
        let mut fence = Fence::default();
        if !self.may_bind.is_empty() {
            fence.may_bind = self.may_bind.iter().cloned().collect();
        }
        Settings { fence, ..Settings::of("usher-system", "offline") }
    }
}
