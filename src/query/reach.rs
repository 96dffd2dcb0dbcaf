//! Which files outside the lake a statement may name, by the way it came.
//!
//! What is typed on this machine (`adlake sql`, `load`, `apply`, and the folder `lake.sql`) may name any: what its user may
//! read is the operating system's to decide. What comes through a server reads with the server's rights, so it may name only
//! what `query.allowed_locations` holds. Files of the lake itself are nobody's to load.

use super::{Origin, QueryConfig, QueryError};
use crate::catalog::{Create, Definition};
use crate::storage::Locations;

/// What a statement may reach.
#[derive(Clone, Debug)]
pub enum Reach {
    ThisMachine,
    Only(Locations),
}

impl Reach {
    pub(super) fn of(origin: Origin, config: &QueryConfig) -> Self {
        match origin {
            Origin::Repl | Origin::Internal => Self::ThisMachine,
            Origin::FlightSql | Origin::Http | Origin::Pgwire | Origin::Endpoint => {
                Self::Only(config.allowed_locations.clone())
            }
        }
    }

    /// Where files have to be; `None` = anywhere.
    pub fn locations(self) -> Option<Locations> {
        match self {
            Self::ThisMachine => None,
            Self::Only(locations) => Some(locations),
        }
    }

    /// # Errors
    /// A place (a path, pattern or URL) that is out of reach.
    pub(super) fn check(&self, place: &str) -> Result<(), QueryError> {
        match self {
            Self::ThisMachine => Ok(()),
            Self::Only(locations) => Ok(locations.check(place)?),
        }
    }

    /// The same for what a definition names.
    pub(super) fn check_definition(&self, create: &Create) -> Result<(), QueryError> {
        match &create.definition {
            Definition::Table(table) => match &table.ingest.landing {
                Some(landing) => self.check(&landing.from),
                None => Ok(()),
            },
            Definition::View(_) | Definition::MaterializedView(_) | Definition::Endpoint(_) => Ok(()),
        }
    }
}
