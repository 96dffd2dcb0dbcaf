//! `[materialize]`: refreshes that happen by themselves.
use crate::base::Span;
use serde::Deserialize;
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MaterializeConfig {
    /// false: views are refreshed by REFRESH only.
    pub enabled: bool,
    /// Time between two looks at what is due.
    pub look_interval: Span,
    /// Rows of a source that a rebuild works through at once, about: what bounds its memory.
    pub slice_rows: u64,
    /// How long `system.restatements` keeps what it lists.
    pub keep_restatements: Span,
}
