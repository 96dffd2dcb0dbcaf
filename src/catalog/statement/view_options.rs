//! Options of CREATE MATERIALIZED VIEW beside its layout: `refresh`, `strategy`, `rewrite`, `restate_after`, `verify`.

use std::fmt::Display;
use std::str::FromStr;

use super::options::{OptionValue, Options};
use crate::base::{Percent, Span};
use crate::catalog::view_options::RESTATE_AFTER;
use crate::catalog::{CatalogError, RefreshTrigger, Rewrite, StrategyOption};

/// All options of CREATE MATERIALIZED VIEW.
pub const OPTIONS: [&str; 7] = ["refresh", "strategy", "rewrite", "restate_after", "verify", "partition_by", "sort_by"];
/// Options that stored rows do not depend on.
pub const CHANGEABLE: [&str; 4] = ["refresh", "rewrite", "restate_after", "verify"];

/// What they say; none contradicts another.
#[derive(Debug)]
pub struct ViewOptions {
    pub trigger: RefreshTrigger,
    pub strategy: StrategyOption,
    pub rewrite: Rewrite,
    pub restate_after: Span,
    pub verify: Option<Percent>,
}

/// Takes them out of the options.
///
/// # Errors
/// A value that is none of its option; what `strategy='full'` cannot have.
pub fn take(options: &mut Options) -> Result<ViewOptions, CatalogError> {
    let (refresh, rewrite) = (options.take("refresh"), options.take("rewrite"));
    let strategy: StrategyOption = parsed(options.take("strategy").as_ref())?.unwrap_or_default();
    let taken = ViewOptions {
        trigger: parsed(refresh.as_ref())?.unwrap_or(match strategy {
            StrategyOption::Auto => RefreshTrigger::Continuous,
            StrategyOption::Full => RefreshTrigger::Manual,
        }),
        strategy,
        rewrite: parsed(rewrite.as_ref())?.unwrap_or(match strategy {
            StrategyOption::Auto => Rewrite::On,
            StrategyOption::Full => Rewrite::Off,
        }),
        restate_after: parsed(options.take("restate_after").as_ref())?.unwrap_or(RESTATE_AFTER),
        verify: parsed(options.take("verify").as_ref())?,
    };
    if strategy == StrategyOption::Full {
        refuse_with_full(&taken, [refresh, rewrite])?;
    }
    Ok(taken)
}

/// `written` are refresh and rewrite, as far as the user wrote them.
fn refuse_with_full(taken: &ViewOptions, written: [Option<OptionValue>; 2]) -> Result<(), CatalogError> {
    let [refresh, rewrite] = written;
    if let Some(option) = refresh.filter(|_| taken.trigger == RefreshTrigger::Continuous) {
        return Err(option.position.bad(
            "refresh='continuous' contradicts strategy='full', which runs the whole query for each change of a source; use \
             refresh='every 5 minutes' (or another time), 'cron …' or 'manual', or strategy='auto'",
        ));
    }
    if let Some(option) = rewrite.filter(|_| taken.rewrite == Rewrite::On) {
        return Err(option.position.bad(
            "rewrite='on' contradicts strategy='full': its rows are those of the last refresh, and queries on the sources \
             would be answered from old rows; use rewrite='off' or strategy='auto'",
        ));
    }
    Ok(())
}

fn parsed<T>(option: Option<&OptionValue>) -> Result<Option<T>, CatalogError>
where
    T: FromStr,
    T::Err: Display,
{
    option.map(OptionValue::parse).transpose()
}
