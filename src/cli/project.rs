//! `adlake plan` and `adlake apply`: the difference between the SQL folder and the lake's catalog, shown or made.

use std::path::Path;

use crate::catalog::{Change, Create, Definition, Object, ObjectKind, Plan};

use super::args::{Global, PlanArgs, ServeArgs};
use super::failure::{Exit, Failure};
use super::out;
use super::settings::{self, LogUse};

/// Prints what `apply` would do.
///
/// # Errors
/// Files that cannot be read or parsed, changes that cannot be made.
pub async fn plan(global: &Global, args: &PlanArgs) -> Result<Exit, Failure> {
    let (app, folder) = open(global).await?;
    let plan = app.plan_project(Path::new(&folder)).await.map_err(settings::app_failure)?;
    out::say(&describe(&plan, "to change"))?;
    app.stop().await;
    Ok(if args.exit_code && !plan.changes.is_empty() { Exit::Changes } else { Exit::Done })
}

/// Makes the catalog what the folder says, and prints what it did.
///
/// # Errors
/// As [`plan`]; then nothing has changed.
pub async fn apply(global: &Global) -> Result<Exit, Failure> {
    let (app, folder) = open(global).await?;
    let plan = Box::pin(app.apply_project(Path::new(&folder))).await.map_err(settings::app_failure)?;
    out::say(&describe(&plan, "changed"))?;
    app.stop().await;
    Ok(Exit::Done)
}

async fn open(global: &Global) -> Result<(crate::app::App, String), Failure> {
    let loaded = settings::load(global, &ServeArgs::default(), LogUse::Quiet)?;
    let folder = loaded.config.lake.sql.clone();
    if folder.is_empty() {
        return Err(Failure::usage("no folder of SQL definitions: lake.sql is empty").with_hint("pass --sql DIR"));
    }
    Ok((settings::open_app(loaded).await?, folder))
}

/// One line per change and per object that stays although the folder has it not, then a count.
pub fn describe(plan: &Plan, verb: &str) -> String {
    let mut lines: Vec<String> = plan.changes.iter().map(describe_change).collect();
    lines.extend(plan.kept.iter().map(|kept| format!("  keep {kept}, which is not in the folder")));
    let count = plan.changes.len();
    let unchanged = plan.unchanged;
    lines.push(if count == 0 {
        format!("nothing {verb}; {unchanged} unchanged")
    } else {
        format!("{count} {verb}, {unchanged} unchanged")
    });
    lines.join("\n")
}

fn describe_change(change: &Change) -> String {
    match change {
        Change::Create(create) => format!("+ create {} {}", create.kind(), create.name),
        Change::Replace { before, after } => format!("~ replace {} {}", before.kind, after.name),
        Change::Widen { before, after } => {
            let added = new_columns(before, after);
            if added.is_empty() {
                let what = match before.kind {
                    ObjectKind::MaterializedView => "options; its rows stay",
                    ObjectKind::Table | ObjectKind::View | ObjectKind::Endpoint => "rules for rows to come",
                };
                format!("~ change {} {}: {what}", before.kind, after.name)
            } else {
                format!("~ widen {} {}: add {}", before.kind, after.name, added.join(", "))
            }
        }
        Change::Drop { kind, object } => format!("- drop {kind} {}", object.name),
    }
}

fn new_columns(before: &Object, after: &Create) -> Vec<String> {
    let (Definition::Table(before), Definition::Table(after)) = (&before.definition, &after.definition) else {
        return Vec::new();
    };
    let is_new = |name: &&String| before.columns.column_with_name(name).is_none();
    after.columns.fields().iter().map(|field| field.name()).filter(is_new).cloned().collect()
}
