//! Options of materialized views: when rows are refreshed, by which strategy, and what else is done with them.

use std::fmt;
use std::str::FromStr;

use crate::base::{CronText, Percent, Schedule, Span, suggestion};

use super::MaterializedViewDefinition;

/// Late changes of groups older than this are reported, unless `restate_after` says otherwise.
pub const RESTATE_AFTER: Span = Span::from_secs(3600);

/// `refresh='…'`: when a view is refreshed by itself. Says nothing about REFRESH, which works always.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum RefreshTrigger {
    /// Only by REFRESH MATERIALIZED VIEW.
    Manual,
    /// Whenever a source has changed.
    #[default]
    Continuous,
    /// `every 5 minutes`, as [`Schedule::Every`].
    Every(Span),
    /// `cron 0 3 * * *`, as [`Schedule::Cron`].
    Cron(CronText),
}

impl RefreshTrigger {
    /// The moments of a trigger that goes by the clock.
    pub fn schedule(&self) -> Option<Schedule> {
        match self {
            Self::Manual | Self::Continuous => None,
            Self::Every(span) => Some(Schedule::Every(*span)),
            Self::Cron(cron) => Some(Schedule::Cron(cron.clone())),
        }
    }
}

impl FromStr for RefreshTrigger {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let first = text.split_whitespace().next().unwrap_or_default().to_lowercase();
        match (first.as_str(), text.trim().to_lowercase().as_str()) {
            (_, "manual") => Ok(Self::Manual),
            (_, "continuous") => Ok(Self::Continuous),
            ("every" | "cron", _) => Ok(match text.parse()? {
                Schedule::Every(span) => Self::Every(span),
                Schedule::Cron(cron) => Self::Cron(cron),
            }),
            _ => {
                let near = suggestion(&first, ["manual", "continuous", "every", "cron"]);
                Err(format!("'{text}' is none of 'continuous', 'every 5 minutes', 'cron 0 3 * * *' and 'manual'{near}"))
            }
        }
    }
}

/// As [`FromStr`] reads it.
impl fmt::Display for RefreshTrigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Manual => f.write_str("manual"),
            Self::Continuous => f.write_str("continuous"),
            Self::Every(span) => write!(f, "every {span}"),
            Self::Cron(cron) => write!(f, "cron {cron}"),
        }
    }
}

/// `strategy='…'`: how rows are kept true.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StrategyOption {
    /// The cheapest way that is exact; `EXPLAIN REFRESH` says which and why.
    #[default]
    Auto,
    /// The whole query is run again; its rows are those of the last refresh.
    Full,
}

impl FromStr for StrategyOption {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.to_lowercase().as_str() {
            "auto" => Ok(Self::Auto),
            "full" => Ok(Self::Full),
            _ => Err(format!("'{text}' is neither 'auto' nor 'full'")),
        }
    }
}

impl fmt::Display for StrategyOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Full => "full",
        })
    }
}

/// `rewrite='on' | 'off'`: whether queries on the view's sources may be answered from its rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rewrite {
    #[default]
    On,
    Off,
}

impl FromStr for Rewrite {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.to_lowercase().as_str() {
            "on" | "true" => Ok(Self::On),
            "off" | "false" => Ok(Self::Off),
            _ => Err(format!("'{text}' is neither 'on' nor 'off'")),
        }
    }
}

impl fmt::Display for Rewrite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::On => "on",
            Self::Off => "off",
        })
    }
}

impl MaterializedViewDefinition {
    /// What can change while the rows stay, as written in `WITH (…)`.
    pub fn changeable(&self) -> Vec<(&'static str, String)> {
        let mut all = vec![
            ("refresh", self.trigger.to_string()),
            ("rewrite", self.rewrite.to_string()),
            ("restate_after", self.restate_after.to_string()),
        ];
        all.extend(self.verify.map(|share: Percent| ("verify", share.to_string())));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn triggers_are_printed_as_they_are_read() {
        for (text, printed) in [
            ("Manual", "manual"),
            ("CONTINUOUS", "continuous"),
            ("every 300 s", "every 5 minutes"),
            ("cron 0  * * * *", "cron 0 * * * *"),
        ] {
            let trigger: RefreshTrigger = text.parse().unwrap();
            assert_eq!(trigger.to_string(), printed);
            assert_eq!(printed.parse(), Ok(trigger));
        }
        assert_eq!("manual".parse::<RefreshTrigger>().unwrap().schedule(), None);
        let hourly: RefreshTrigger = "every 1 hour".parse().unwrap();
        assert_eq!(hourly.schedule(), Some(Schedule::Every(Span::from_secs(3600))));
    }
}
