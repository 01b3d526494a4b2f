//! How somebody's sessions end, and what becomes of what she owns.

use std::time::Duration;

use tokio::time::sleep;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{Oid, Type};

use crate::plan::account::Owned;

use super::super::error::ConnectorError;
use super::server::About;
use super::{Postgresql, column, rejected, statements};

/// Who was let in just before she was locked out shows up as a session within this time.
const LATE_SESSIONS: Duration = Duration::from_millis(50);
/// How often it is looked for sessions: longer than this a session that was told to end has no reason to go on.
const MOST_LOOKS: usize = 100;
/// Of what somebody owns no more is told.
const MOST_WORDS: usize = 300;

/// What a role has in a database, or of the server as a whole.
struct Holding {
    database: Option<String>,
    owned: i64,
    named: Option<String>,
}

impl Holding {
    fn told(&self) -> String {
        match (&self.database, &self.named) {
            (Some(database), _) => format!("{} {} in database {database}", self.owned, if self.owned == 1 { "object" } else { "objects" }),
            (None, named) => named.clone().unwrap_or_default(),
        }
    }
}

impl Postgresql {
    /// Does what keeps somebody from coming in, and sees that nobody is in afterwards.
    pub(super) async fn end(&self, operation: &str, id: Oid, statements: &str) -> Result<(), ConnectorError> {
        self.change(operation, statements).await?;
        for _ in 0..MOST_LOOKS {
            sleep(LATE_SESSIONS).await;
            if self.server.rows(operation, statements::END_SESSIONS, &[(&id, Type::OID)]).await?.is_empty() {
                return Ok(());
            }
        }
        Err(ConnectorError::unreachable(operation, "sessions that were told to end are still open"))
    }

    /// Deletes a role. What it owns goes to an heir or keeps it; what was granted to it goes with it.
    pub(super) async fn delete(&self, operation: &str, id: Oid, owned: &Owned) -> Result<(), ConnectorError> {
        let holdings = self.holdings(operation, id).await?;
        let property = owned_of(&holdings);
        let heir = if property.is_empty() { None } else { Some(self.heir(operation, id, owned, &property).await?) };
        self.end(operation, id, &statements::lock_out(id)).await?;
        self.hand_over(operation, id, heir, &holdings).await?;
        let Err(refusal) = self.server.attempt(operation, &statements::drop_role(id)).await? else { return Ok(()) };
        if refusal.code != SqlState::DEPENDENT_OBJECTS_STILL_EXIST {
            return Err(refusal.into_error(operation, About::Account));
        }
        // Somebody gave it something meanwhile, or it was granted what usher may not revoke.
        let property = owned_of(&self.holdings(operation, id).await?);
        if !property.is_empty() && *owned == Owned::Keep {
            return Err(ConnectorError::OwnsObjects { operation: operation.to_owned(), objects: bounded(&property) });
        }
        let remedy = "whoever granted that has to revoke it, or a superuser has to run DROP OWNED BY in that database";
        Err(rejected(operation, format!("{}; {remedy}", refusal.words)))
    }

    /// Everything is handed over before anything that was granted is taken: the right to make schemas in one database is taken with that of another.
    async fn hand_over(&self, operation: &str, id: Oid, heir: Option<Oid>, holdings: &[Holding]) -> Result<(), ConnectorError> {
        if let Some(heir) = heir {
            let owning = holdings.iter().filter(|holding| holding.owned > 0);
            for database in owning.filter_map(|holding| holding.database.as_deref()) {
                self.server.run_in(operation, database, &statements::hand_over(id, heir)).await?;
            }
        }
        let mut databases: Vec<&str> = holdings.iter().filter_map(|holding| holding.database.as_deref()).collect();
        if databases.is_empty() && !holdings.is_empty() {
            // What belongs to the server is handed over anywhere.
            databases.push(self.server.database());
        }
        for database in databases {
            self.server.run_in(operation, database, &statements::clear(id, heir)).await?;
        }
        Ok(())
    }

    async fn holdings(&self, operation: &str, id: Oid) -> Result<Vec<Holding>, ConnectorError> {
        let rows = self.server.rows(operation, statements::HOLDINGS, &[(&id, Type::OID)]).await?;
        let holding = |row| {
            let (database, named) = (column(operation, row, "database")?, column(operation, row, "named")?);
            Ok(Holding { database, owned: column(operation, row, "owned")?, named })
        };
        rows.iter().map(holding).collect()
    }

    /// Who gets what somebody owned.
    async fn heir(&self, operation: &str, id: Oid, owned: &Owned, property: &[String]) -> Result<Oid, ConnectorError> {
        let objects = bounded(property);
        let to = match owned {
            Owned::Keep => return Err(ConnectorError::OwnsObjects { operation: operation.to_owned(), objects }),
            Owned::Archive => {
                let message = format!("it owns {objects}, and PostgreSQL archives nothing; set onDeparture.ownedObjects to Transfer");
                return Err(rejected(operation, message));
            }
            Owned::Transfer(to) => to,
        };
        let rows = self.server.rows(operation, statements::ROLE, &[(to, Type::TEXT)]).await?;
        let Some(row) = rows.first() else {
            let message =
                format!("it owns {objects}, and there is no role {to} to transfer that to; make it, or mend onDeparture.transferTo");
            return Err(rejected(operation, message));
        };
        let heir = column(operation, row, "oid")?;
        if heir == id {
            return Err(rejected(operation, format!("it owns {objects}, and cannot inherit that itself; mend onDeparture.transferTo")));
        }
        Ok(heir)
    }
}

fn owned_of(holdings: &[Holding]) -> Vec<String> {
    holdings.iter().filter(|holding| holding.owned > 0).map(Holding::told).collect()
}

fn bounded(property: &[String]) -> String {
    property.join(", ").chars().take(MOST_WORDS).collect()
}
