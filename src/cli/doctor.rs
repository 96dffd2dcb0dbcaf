//! `adlake doctor` and `adlake init`: is the place of the lake fit, and making it so. One line per answer.

use serde_json::{Value, json};

use crate::app::{self, Check, InitMode, InitStep, StepOutcome, Verdict};
use crate::base::Clock;

use super::args::{DoctorArgs, Global, InitArgs, ServeArgs};
use super::failure::{Exit, Failure};
use super::out;
use super::settings::{self, LogUse};

/// Asks everything and prints the answers; fails when one answer is FAIL.
///
/// # Errors
/// A configuration that cannot be read; what is wrong with the lake is an answer, not an error.
pub async fn doctor(global: &Global, args: &DoctorArgs) -> Result<Exit, Failure> {
    let loaded = settings::load(global, &ServeArgs::default(), LogUse::Quiet)?;
    let checks = Box::pin(app::doctor(&loaded, &Clock::system())).await.map_err(settings::app_failure)?;
    let failed = checks.iter().any(|check| check.verdict == Verdict::Fail);
    if args.json {
        let all: Vec<Value> = checks.iter().map(check_json).collect();
        let report = json!({ "lake": loaded.config.lake.location, "ok": !failed, "checks": all });
        out::say(&serde_json::to_string_pretty(&report)?)?;
    } else {
        out::say(&checks.iter().map(check_line).collect::<Vec<_>>().join("\n"))?;
    }
    Ok(if failed { Exit::Failed } else { Exit::Done })
}

/// Sets up the place and prints what it did.
///
/// # Errors
/// When there is nothing to set up: wrong location, refused keys.
pub async fn init(global: &Global, args: &InitArgs) -> Result<Exit, Failure> {
    let mut global = global.clone();
    if let Some(location) = &args.location {
        global.lake = Some(location.clone());
    }
    let loaded = settings::load(&global, &ServeArgs::default(), LogUse::Quiet)?;
    let mode = if args.dry_run { InitMode::DryRun } else { InitMode::Change };
    let steps = Box::pin(app::init(&loaded, mode)).await.map_err(settings::app_failure)?;
    let mut lines: Vec<String> = steps.iter().map(step_line).collect();
    let failed = steps.iter().any(|step| step.outcome == StepOutcome::Failed);
    lines.push(match (failed, args.dry_run) {
        (true, _) => "some steps failed; mend them and run this again".to_owned(),
        (false, true) => "nothing was changed (--dry-run)".to_owned(),
        (false, false) => format!("next: adlake doctor --lake {}", loaded.config.lake.location),
    });
    out::say(&lines.join("\n"))?;
    Ok(if failed { Exit::Failed } else { Exit::Done })
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Ok => "ok",
        Verdict::Warn => "warn",
        Verdict::Fail => "FAIL",
    }
}

fn check_line(check: &Check) -> String {
    let line = format!("{:<4}  {:<17} {}", word(check.verdict), check.name, check.detail);
    if check.fix.is_empty() { line } else { format!("{line}\n      {:<17} → {}", "", check.fix) }
}

fn check_json(check: &Check) -> Value {
    json!({
        "name": check.name,
        "verdict": word(check.verdict).to_lowercase(),
        "detail": check.detail,
        "fix": check.fix,
    })
}

fn step_line(step: &InitStep) -> String {
    let word = match step.outcome {
        StepOutcome::Done => "done",
        StepOutcome::WouldDo => "would do",
        StepOutcome::AlreadySo => "already so",
        StepOutcome::Unsupported => "not supported",
        StepOutcome::Advice => "advice",
        StepOutcome::Failed => "FAILED",
    };
    format!("{word:<13}  {:<18} {}", step.name, step.detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_per_answer_and_what_to_do_below() {
        assert_eq!(
            check_line(&Check::ok("put", "an object was written")),
            "ok    put               an object was written"
        );
        let failed = Check::fail("put", "denied", "allow it");
        assert_eq!(check_line(&failed), "FAIL  put               denied\n                        → allow it");
        assert_eq!(check_json(&failed)["verdict"], "fail");
    }
}
