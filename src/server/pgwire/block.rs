//! `BEGIN … COMMIT`, answered honestly: a statement is its own transaction, so a block changes nothing about what is committed;
//! it is kept to tell clients where they are, and to refuse what PostgreSQL would refuse.

use pgwire::messages::response::TransactionStatus;

use super::complaint::Complaint;
use super::own::changes;

/// Told when the first change is made inside a block.
pub(super) const COMMITTED: &str =
    "each statement is its own transaction: this change is committed already, ROLLBACK will not take it back";

/// Where a connection is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Block {
    #[default]
    None,
    Open {
        read_only: bool,
        changed: bool,
    },
    /// Ended by an error; its end is still to come.
    Failed {
        changed: bool,
    },
}

/// How a block may end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// With the tag that was asked for.
    AsAsked,
    /// There was none.
    NoBlock,
    /// COMMIT of a failed one.
    RolledBack,
}

impl Block {
    pub fn is_open(self) -> bool {
        self != Self::None
    }

    pub fn status(self) -> TransactionStatus {
        match self {
            Self::None => TransactionStatus::Idle,
            Self::Open { .. } => TransactionStatus::Transaction,
            Self::Failed { .. } => TransactionStatus::Error,
        }
    }

    /// False: one is open already.
    pub fn begin(&mut self, read_only: bool) -> bool {
        let begins = !self.is_open();
        if begins {
            *self = Self::Open { read_only, changed: false };
        }
        begins
    }

    /// Whether the block that is open is read only; `None`: there is none.
    pub fn read_only(self) -> Option<bool> {
        match self {
            Self::Open { read_only, .. } => Some(read_only),
            Self::None | Self::Failed { .. } => None,
        }
    }

    /// Sets the block that is open; `None` = as it is. False: there is none.
    pub fn set_read_only(&mut self, wanted: Option<bool>) -> bool {
        match self {
            Self::Open { read_only, .. } => {
                *read_only = wanted.unwrap_or(*read_only);
                true
            }
            Self::None | Self::Failed { .. } => false,
        }
    }

    /// # Errors
    /// In a failed block; a change in one that is read only. `read_only`: the connection is.
    pub fn check(self, sql: &str, read_only: bool) -> Result<(), Complaint> {
        let read_only = match self {
            Self::Failed { .. } => {
                let message = "the block has failed; nothing is taken until it ends (ROLLBACK)";
                return Err(Complaint::new("25P02", message));
            }
            Self::Open { read_only, .. } => read_only,
            Self::None => read_only,
        };
        match read_only && changes(sql) {
            true => Err(Complaint::new("25006", "this transaction is read only")),
            false => Ok(()),
        }
    }

    /// Something is changed. True for the first time in a block.
    pub fn changed(&mut self) -> bool {
        match self {
            Self::Open { changed, .. } => !std::mem::replace(changed, true),
            Self::None | Self::Failed { .. } => false,
        }
    }

    /// An error was told. True: it ended the block that was open.
    pub fn failed(&mut self) -> bool {
        match *self {
            Self::Open { changed, .. } => {
                *self = Self::Failed { changed };
                true
            }
            Self::None | Self::Failed { .. } => false,
        }
    }

    /// `COMMIT`. The block is over in any case.
    ///
    /// # Errors
    /// After an error, when changes made before it stay.
    pub fn commit(&mut self) -> Result<Ended, Complaint> {
        match std::mem::take(self) {
            Self::None => Ok(Ended::NoBlock),
            Self::Open { .. } => Ok(Ended::AsAsked),
            Self::Failed { changed: false } => Ok(Ended::RolledBack),
            Self::Failed { changed: true } => Err(stays()),
        }
    }

    /// `ROLLBACK`. The block is over in any case.
    ///
    /// # Errors
    /// When something was changed: it stays.
    pub fn roll_back(&mut self) -> Result<Ended, Complaint> {
        match std::mem::take(self) {
            Self::None => Ok(Ended::NoBlock),
            Self::Open { changed: false, .. } | Self::Failed { changed: false } => Ok(Ended::AsAsked),
            Self::Open { changed: true, .. } | Self::Failed { changed: true } => Err(stays()),
        }
    }
}

fn stays() -> Complaint {
    Complaint::unsupported(
        "the block is over, but what its statements changed stays: each statement is its own transaction",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_said_to_be_taken_back_that_is_not() {
        let mut block = Block::default();
        assert!(block.begin(false) && !block.begin(false));
        assert_eq!(block.roll_back(), Ok(Ended::AsAsked));
        block.begin(false);
        assert!(block.changed() && !block.changed());
        assert_eq!(block.roll_back().unwrap_err().sqlstate, "0A000");
        assert_eq!(block, Block::None);
        block.begin(false);
        block.changed();
        assert_eq!(block.commit(), Ok(Ended::AsAsked));
        assert_eq!(block.commit(), Ok(Ended::NoBlock));
    }

    #[test]
    fn a_failed_block_takes_nothing_but_its_end() {
        let mut block = Block::default();
        assert!(!block.failed());
        assert_eq!(block.check("SELECT 1", false), Ok(()), "outside a block nothing has failed");
        block.begin(false);
        assert!(block.failed() && !block.failed());
        assert_eq!(block.check("SELECT 1", false).unwrap_err().sqlstate, "25P02");
        assert_eq!(block.commit(), Ok(Ended::RolledBack));
    }

    #[test]
    fn read_only_is_kept() {
        let mut block = Block::default();
        assert_eq!(block.check("INSERT INTO t VALUES (1)", true).unwrap_err().sqlstate, "25006");
        block.begin(true);
        assert_eq!(block.check("INSERT INTO t VALUES (1)", false).unwrap_err().sqlstate, "25006");
        assert_eq!(block.check("SELECT 1", false), Ok(()));
    }

    #[test]
    fn a_block_is_set_while_it_is_open() {
        let mut block = Block::default();
        assert!(!block.set_read_only(Some(true)));
        assert_eq!(block.check("DELETE FROM t", false), Ok(()));
        block.begin(false);
        assert!(block.set_read_only(Some(true)) && block.set_read_only(None));
        assert_eq!((block.read_only(), block.check("DELETE FROM t", false).is_err()), (Some(true), true));
        assert_eq!(block.commit(), Ok(Ended::AsAsked));
        assert_eq!(block.check("DELETE FROM t", false), Ok(()));
    }
}
