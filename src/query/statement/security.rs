//! Statements about users, roles, tokens, grants, policies and masks: translated into edits of the directory.
//!
//! Changes are an admin's. Everybody may make and drop tokens of their own and change their own password, unless they came with
//! a token of a smaller scope. A lost race is decided again over the newest directory, as in `auth::store`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::record_batch::RecordBatch;
use datafusion::common::DFSchema;

use super::Work;
use crate::auth::{
    AuthError, Authenticator, DirectorySnapshot, Edit, Grant, Grantee, Mask, MaskRule, NewToken, Policy, Privilege,
    Scope, ScopeUse, Subject, Token, User, UserChange,
};
use crate::base::Timestamp;
use crate::catalog::{
    Granted, GrantedOn, GrantedTo, MaskWord, NewTokenOptions, ObjectKind, PrivilegeWord, SecurityStatement, TokenUse,
    UserOptions,
};
use crate::query::authorise::denied;
use crate::query::engine::Inner;
use crate::query::planner::Planner;
use crate::query::protect::predicate;
use crate::query::tables::Relations;
use crate::query::viewer::Viewer;
use crate::query::{Answer, QueryError};

/// Runs one; done when the change is stored.
pub(super) async fn run(work: &mut Work, statement: SecurityStatement) -> Result<Answer, QueryError> {
    work.engine.lake.check_writable()?;
    let authenticator = work.engine.authenticator()?.clone();
    authorise(&statement, &work.viewer, &authenticator)?;
    if let SecurityStatement::CreateToken(options) = statement {
        return create_token(work, &authenticator, options).await;
    }
    let change = change(&work.engine, &authenticator, statement, work.now).await?;
    let Change { edits, unless, message } = change;
    let skipped = parking_lot::Mutex::new(None);
    let edited = authenticator.directory().edit(|snapshot| {
        let reason = unless.reason(snapshot);
        let skip = reason.is_some();
        *skipped.lock() = reason;
        Ok(if skip { Vec::new() } else { edits.clone() })
    });
    edited.await?;
    let message = skipped.into_inner().unwrap_or(message);
    Ok(work.done(None, message))
}

fn authorise(statement: &SecurityStatement, viewer: &Viewer, authenticator: &Authenticator) -> Result<(), QueryError> {
    let Some(access) = viewer.caller().filter(|access| !access.may_administer()) else { return Ok(()) };
    let is_own = match statement {
        SecurityStatement::AlterUser { user, enabled: None } => {
            let is_by_password = access.is_ours() && access.identity().token.is_none();
            user.name == access.user() && user.attributes.is_empty() && is_by_password
        }
        SecurityStatement::CreateToken(options) => {
            options.user.as_deref().is_none_or(|user| user == access.user()) && access.may_make_tokens()
        }
        SecurityStatement::DropToken { id } => {
            let snapshot = authenticator.directory().snapshot();
            snapshot.tokens.get(id).is_some_and(|token| token.user == access.user()) && access.may_make_tokens()
        }
        _ => false,
    };
    match is_own {
        true => Ok(()),
        false => Err(denied(
            "users, roles, grants, policies and masks are changed by role admin; your own password and tokens by you, \
             unless a token of a smaller scope brought you here"
                .to_owned(),
        )),
    }
}

/// What a statement comes to.
struct Change {
    edits: Vec<Edit>,
    unless: Unless,
    message: String,
}

/// When nothing is to be done: IF EXISTS, IF NOT EXISTS.
enum Unless {
    Never,
    UserIs(String),
    UserIsNot(String),
    RoleIs(String),
    RoleIsNot(String),
    PolicyIsNot(String, String),
}

impl Unless {
    fn reason(&self, snapshot: &DirectorySnapshot) -> Option<String> {
        let (holds, reason) = match self {
            Self::Never => return None,
            Self::UserIs(name) => (snapshot.users.contains_key(name), format!("user {name} exists already")),
            Self::UserIsNot(name) => (!snapshot.users.contains_key(name), format!("there is no user {name}")),
            Self::RoleIs(name) => (snapshot.has_role(name), format!("role {name} exists already")),
            Self::RoleIsNot(name) => (!snapshot.has_role(name), format!("there is no role {name}")),
            Self::PolicyIsNot(relation, name) => {
                let is_it = |policy: &Policy| policy.relation == *relation && policy.name == *name;
                (!snapshot.policies.iter().any(is_it), format!("there is no policy {name} on {relation}"))
            }
        };
        holds.then(|| format!("{reason}; nothing changed"))
    }
}

fn only(edit: Edit, message: String) -> Change {
    Change { edits: vec![edit], unless: Unless::Never, message }
}

fn if_said(said: bool, unless: Unless, change: Change) -> Change {
    if said { Change { unless, ..change } } else { change }
}

/// What a statement about users, roles and tokens comes to; others are [`of_object`]'s.
async fn change(
    engine: &Arc<Inner>,
    authenticator: &Authenticator,
    statement: SecurityStatement,
    now: Timestamp,
) -> Result<Change, QueryError> {
    Ok(match statement {
        SecurityStatement::CreateUser { user, roles, if_not_exists } => {
            let name = user.name.clone();
            let created = create_user(authenticator, user, roles, now).await?;
            let message = format!("user {name} created");
            if_said(if_not_exists, Unless::UserIs(name), only(Edit::CreateUser(created), message))
        }
        SecurityStatement::AlterUser { user, enabled } => alter_user(authenticator, user, enabled).await?,
        SecurityStatement::DropUser { name, if_exists } => {
            let message = format!("user {name} dropped");
            if_said(if_exists, Unless::UserIsNot(name.clone()), only(Edit::DropUser(name), message))
        }
        SecurityStatement::CreateRole { name, if_not_exists } => {
            let message = format!("role {name} created");
            if_said(if_not_exists, Unless::RoleIs(name.clone()), only(Edit::CreateRole(name), message))
        }
        SecurityStatement::DropRole { name, if_exists } => {
            let message = format!("role {name} dropped");
            if_said(if_exists, Unless::RoleIsNot(name.clone()), only(Edit::DropRole(name), message))
        }
        SecurityStatement::DropToken { id } => {
            let message = format!("token {id} dropped");
            only(Edit::DropToken(id), message)
        }
        SecurityStatement::GrantRole { role, user } => {
            let message = format!("role {role} granted to {user}");
            only(Edit::GrantRole { role, user }, message)
        }
        SecurityStatement::RevokeRole { role, user } => {
            let message = format!("role {role} revoked from {user}");
            only(Edit::RevokeRole { role, user }, message)
        }
        other => of_object(engine, authenticator, other)?,
    })
}

/// What a statement about grants, policies and masks comes to.
fn of_object(
    engine: &Arc<Inner>,
    authenticator: &Authenticator,
    statement: SecurityStatement,
) -> Result<Change, QueryError> {
    match statement {
        SecurityStatement::Grant(granted) => {
            check_granted(engine, &granted)?;
            let edits = grants(granted).into_iter().map(Edit::Grant).collect();
            Ok(Change { edits, unless: Unless::Never, message: "granted".to_owned() })
        }
        SecurityStatement::Revoke(granted) => revoke(authenticator, granted),
        SecurityStatement::CreatePolicy { name, relation, role, predicate } => {
            let policy = Policy { relation, name, role, predicate };
            check_policy(engine, &policy)?;
            let message = format!("policy {} on {} created", policy.name, policy.relation);
            Ok(only(Edit::CreatePolicy(policy), message))
        }
        SecurityStatement::DropPolicy { name, relation, if_exists } => {
            let message = format!("policy {name} on {relation} dropped");
            let unless = Unless::PolicyIsNot(relation.clone(), name.clone());
            Ok(if_said(if_exists, unless, only(Edit::DropPolicy { relation, name }, message)))
        }
        SecurityStatement::SetMask { relation, column, mask, except } => {
            let rule = check_mask(engine, (&relation, &column), mask)?;
            let message = format!("column {column} of {relation} is masked");
            let except = except.into_iter().collect();
            Ok(only(Edit::SetMask(Mask { relation, column, rule, except }), message))
        }
        SecurityStatement::DropMask { relation, column } => {
            let message = format!("column {column} of {relation} is not masked any more");
            Ok(only(Edit::DropMask { relation, column }, message))
        }
        SecurityStatement::CreateUser { .. }
        | SecurityStatement::AlterUser { .. }
        | SecurityStatement::DropUser { .. }
        | SecurityStatement::CreateRole { .. }
        | SecurityStatement::DropRole { .. }
        | SecurityStatement::CreateToken(_)
        | SecurityStatement::DropToken { .. }
        | SecurityStatement::GrantRole { .. }
        | SecurityStatement::RevokeRole { .. } => {
            Err(QueryError::Internal { message: "this statement is about no object".to_owned() })
        }
    }
}

async fn create_user(
    authenticator: &Authenticator,
    options: UserOptions,
    roles: Vec<String>,
    now: Timestamp,
) -> Result<User, QueryError> {
    let UserOptions { name, password, attributes } = options;
    let password = match password {
        Some(password) => Some(authenticator.hash(password.expose().to_owned()).await?),
        None => None,
    };
    let roles = roles.into_iter().collect();
    let attributes = attributes.into_iter().filter(|(_, value)| !value.is_empty()).collect();
    Ok(User { name, password, roles, attributes, disabled: false, created_at: now })
}

async fn alter_user(
    authenticator: &Authenticator,
    options: UserOptions,
    enabled: Option<bool>,
) -> Result<Change, QueryError> {
    let UserOptions { name, password, attributes } = options;
    let password = match password {
        Some(password) => Some(authenticator.hash(password.expose().to_owned()).await?),
        None => None,
    };
    let attributes: BTreeMap<String, String> = attributes.into_iter().collect();
    let change = UserChange { password, attributes, disabled: enabled.map(|enabled| !enabled) };
    let message = format!("user {name} changed");
    Ok(only(Edit::AlterUser { name, change }, message))
}

fn grants(granted: Granted) -> Vec<Grant> {
    let Granted { privileges, on, to } = granted;
    let all: &[Privilege] = match &on {
        GrantedOn::Relation(_) | GrantedOn::Schema => &[Privilege::Select, Privilege::Insert, Privilege::Delete],
        GrantedOn::Endpoint(_) => &[Privilege::Execute],
        GrantedOn::All => &[Privilege::Select, Privilege::Insert, Privilege::Delete, Privilege::Execute],
    };
    let on = match on {
        GrantedOn::Relation(name) => Subject::Relation(name),
        GrantedOn::Endpoint(name) => Subject::Endpoint(name),
        GrantedOn::Schema => Subject::Schema,
        GrantedOn::All => Subject::All,
    };
    let to = match to {
        GrantedTo::Role(name) => Grantee::Role(name),
        GrantedTo::User(name) => Grantee::User(name),
    };
    let one = |privilege, columns: Option<Vec<String>>| {
        let columns = columns.map(|columns| columns.into_iter().collect::<BTreeSet<_>>());
        Grant { to: to.clone(), privilege, on: on.clone(), columns }
    };
    let mut found = Vec::new();
    for (word, columns) in privileges {
        match word {
            PrivilegeWord::Select => found.push(one(Privilege::Select, columns)),
            PrivilegeWord::Insert => found.push(one(Privilege::Insert, columns)),
            PrivilegeWord::Delete => found.push(one(Privilege::Delete, columns)),
            PrivilegeWord::Execute => found.push(one(Privilege::Execute, columns)),
            PrivilegeWord::All => found.extend(all.iter().map(|privilege| one(*privilege, None))),
        }
    }
    found
}

/// REVOKE ALL takes what there is; any other names grants that must be there.
fn revoke(authenticator: &Authenticator, granted: Granted) -> Result<Change, QueryError> {
    let is_all = granted.privileges.iter().any(|(word, _)| *word == PrivilegeWord::All);
    let mut taken = grants(granted);
    if is_all {
        let known = authenticator.directory().snapshot();
        let is_there = |grant: &Grant| {
            let same =
                |known: &Grant| (&known.to, known.privilege, &known.on) == (&grant.to, grant.privilege, &grant.on);
            known.grants.iter().any(same)
        };
        taken.retain(is_there);
        if taken.is_empty() {
            return Err(AuthError::invalid("there is no such grant; SHOW GRANTS lists them").into());
        }
    }
    let edits = taken.into_iter().map(Edit::Revoke).collect();
    Ok(Change { edits, unless: Unless::Never, message: "revoked".to_owned() })
}

/// What is granted on exists.
fn check_granted(engine: &Arc<Inner>, granted: &Granted) -> Result<(), QueryError> {
    let catalog = engine.catalog.snapshot();
    match &granted.on {
        GrantedOn::Relation(name) => {
            let columns = engine.columns.of(engine, name)?;
            for column in granted.privileges.iter().filter_map(|(_, columns)| columns.as_ref()).flatten() {
                check_column(name, column, &columns)?;
            }
        }
        GrantedOn::Endpoint(name) => {
            catalog.object(ObjectKind::Endpoint, name)?;
        }
        GrantedOn::Schema | GrantedOn::All => {}
    }
    Ok(())
}

fn check_column(relation: &str, column: &str, columns: &Schema) -> Result<DataType, QueryError> {
    columns.field_with_name(column).map(|field| field.data_type().clone()).map_err(|_| {
        let hint = crate::base::suggestion(column, columns.fields().iter().map(|field| field.name().as_str()));
        QueryError::Invalid { message: format!("'{relation}' has no column '{column}'{hint}") }
    })
}

/// The predicate fits the relation and can fail on no row.
fn check_policy(engine: &Arc<Inner>, policy: &Policy) -> Result<(), QueryError> {
    let columns = engine.columns.of(engine, &policy.relation)?;
    let schema = DFSchema::try_from_qualified_schema(
        datafusion::common::TableReference::bare(policy.relation.clone()),
        &columns,
    )?;
    let catalog = engine.catalog.snapshot();
    let relations = Relations::described(engine, &catalog, Vec::new())?;
    let state = engine.shared.state_at(engine.clock.now());
    predicate(&Planner::new(&state, &relations), policy, &schema, None).map(|_| ())
}

fn check_mask(engine: &Arc<Inner>, (relation, column): (&str, &str), mask: MaskWord) -> Result<MaskRule, QueryError> {
    let columns = engine.columns.of(engine, relation)?;
    let data_type = check_column(relation, column, &columns)?;
    match mask {
        MaskWord::Null => Ok(MaskRule::Null),
        MaskWord::Hash if matches!(data_type, DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8) => {
            Ok(MaskRule::Hash)
        }
        MaskWord::Hash => {
            let message = format!("column '{column}' is no VARCHAR; hash(…) masks text, NULL masks any column");
            Err(QueryError::Invalid { message })
        }
    }
}

async fn create_token(
    work: &Work,
    authenticator: &Authenticator,
    options: NewTokenOptions,
) -> Result<Answer, QueryError> {
    let NewTokenOptions { user, usage, roles, objects, expires_in } = options;
    let own = work.viewer.caller().filter(|access| access.is_ours()).map(|access| access.user().to_owned());
    let Some(user) = user.or(own) else {
        return Err(AuthError::invalid("say whose token it is to be: CREATE TOKEN FOR user").into());
    };
    let (config, now) = (authenticator.config(), work.now);
    let life = expires_in.unwrap_or(config.token_lifetime);
    if life > config.token_lifetime_max {
        let longest = config.token_lifetime_max;
        let message = format!("a token lives {longest} at the longest (auth.token_lifetime_max), not {life}");
        return Err(AuthError::Invalid { message }.into());
    }
    let usage = match usage {
        TokenUse::Everything => ScopeUse::Everything,
        TokenUse::Read => ScopeUse::Read,
        TokenUse::Ingest => ScopeUse::Ingest,
    };
    let set = |names: Option<Vec<String>>| names.map(|names| names.into_iter().collect::<BTreeSet<_>>());
    let new = NewToken::make()?;
    let token = Token {
        id: new.id.clone(),
        user,
        hash: new.hash.clone(),
        scope: Scope { usage, roles: set(roles), objects: set(objects) },
        created_at: now,
        expires_at: now.plus(life.duration()),
        last_used_at: None,
    };
    let expires_at = token.expires_at;
    authenticator.directory().edit(|_| Ok(vec![Edit::CreateToken(token.clone())])).await?;
    let details = shown_once(&new, expires_at)?;
    let message = format!("token {} made; it expires at {expires_at}, and its text is shown only now", new.id);
    Ok(Answer { details: Some(details), ..work.done(None, message) })
}

fn token_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::Utf8, true),
        Field::new("token", DataType::Utf8, true),
        Field::new("expires_at", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true),
    ]))
}

fn shown_once(new: &NewToken, expires_at: Timestamp) -> Result<RecordBatch, QueryError> {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from(vec![new.id.clone()])),
        Arc::new(StringArray::from(vec![new.text.clone()])),
        Arc::new(TimestampMicrosecondArray::from(vec![expires_at.micros()]).with_timezone("UTC")),
    ];
    RecordBatch::try_new(token_schema(), columns).map_err(|error| QueryError::Internal { message: error.to_string() })
}
