//! Statements about users, roles, tokens, grants, policies and masks.
//!
//! ```text
//! CREATE USER [IF NOT EXISTS] name [PASSWORD 'text'] [ROLE role, …] [ATTRIBUTE key = 'value', …]
//! ALTER USER name [PASSWORD 'text'] [ATTRIBUTE key = 'value', …] [ENABLE | DISABLE]
//! CREATE ROLE [IF NOT EXISTS] name                       DROP USER | ROLE [IF EXISTS] name
//! CREATE TOKEN [FOR user] [SCOPE [READ | INGEST] [ROLE role, …] [ON name, …]] [EXPIRES IN '90 days']       DROP TOKEN 'id'
//! GRANT | REVOKE ROLE role TO | FROM USER user
//! GRANT | REVOKE privilege [(column, …)], … ON object TO | FROM ROLE role | USER user
//!       privilege = SELECT | INSERT | DELETE | EXECUTE | ALL        object = [TABLE | VIEW | MATERIALIZED VIEW] name | ENDPOINT name | SCHEMA public | ALL
//! CREATE POLICY name ON relation TO ROLE role USING (predicate)        DROP POLICY [IF EXISTS] name ON relation
//! ALTER TABLE name ALTER COLUMN column SET MASK hash(column) | NULL [EXCEPT ROLE role, …]   … DROP MASK
//! ```
//! Passwords are kept out of messages and debug output; [`redacted`] keeps them out of lists of statements.

use datafusion::sql::sqlparser::tokenizer::Token;

use super::cursor::{Cursor, is_word};
use super::{Statement, names};
use crate::base::Span;
use crate::base::config_value::Secret;
use crate::catalog::CatalogError;

/// One such statement. What is named may not exist: that is found when it runs.
#[derive(Clone, Debug)]
pub enum SecurityStatement {
    CreateUser {
        user: UserOptions,
        roles: Vec<String>,
        if_not_exists: bool,
    },
    /// With `enabled`: ENABLE or DISABLE was said.
    AlterUser {
        user: UserOptions,
        enabled: Option<bool>,
    },
    DropUser {
        name: String,
        if_exists: bool,
    },
    CreateRole {
        name: String,
        if_not_exists: bool,
    },
    DropRole {
        name: String,
        if_exists: bool,
    },
    CreateToken(NewTokenOptions),
    DropToken {
        id: String,
    },
    GrantRole {
        role: String,
        user: String,
    },
    RevokeRole {
        role: String,
        user: String,
    },
    Grant(Granted),
    Revoke(Granted),
    CreatePolicy {
        name: String,
        relation: String,
        role: String,
        predicate: String,
    },
    DropPolicy {
        name: String,
        relation: String,
        if_exists: bool,
    },
    SetMask {
        relation: String,
        column: String,
        mask: MaskWord,
        except: Vec<String>,
    },
    DropMask {
        relation: String,
        column: String,
    },
}

#[derive(Clone, Debug)]
pub struct UserOptions {
    pub name: String,
    pub password: Option<Secret>,
    /// An empty value takes the attribute away.
    pub attributes: Vec<(String, String)>,
}

#[derive(Clone, Debug, Default)]
pub struct NewTokenOptions {
    /// None: the one who asks.
    pub user: Option<String>,
    pub usage: TokenUse,
    pub roles: Option<Vec<String>>,
    pub objects: Option<Vec<String>>,
    pub expires_in: Option<Span>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TokenUse {
    #[default]
    Everything,
    Read,
    Ingest,
}

/// The privileges of one GRANT or REVOKE, each with its columns (none = all).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Granted {
    pub privileges: Vec<(PrivilegeWord, Option<Vec<String>>)>,
    pub on: GrantedOn,
    pub to: GrantedTo,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrivilegeWord {
    Select,
    Insert,
    Delete,
    Execute,
    All,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GrantedOn {
    Relation(String),
    Endpoint(String),
    Schema,
    All,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GrantedTo {
    Role(String),
    User(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaskWord {
    Hash,
    Null,
}

fn security(statement: SecurityStatement) -> Statement {
    Statement::Security(Box::new(statement))
}

/// Whether `CREATE word` or `DROP word` is one of these statements.
pub fn is_kind(second: &Token) -> bool {
    ["USER", "ROLE", "TOKEN", "POLICY"].iter().any(|word| is_word(second, word))
}

/// `CREATE USER | ROLE | TOKEN | POLICY …`
pub fn create(cursor: &mut Cursor) -> Result<Statement, CatalogError> {
    cursor.expect_word("CREATE")?;
    let statement = if cursor.word("USER") {
        create_user(cursor)?
    } else if cursor.word("ROLE") {
        let if_not_exists = cursor.words(&["IF", "NOT", "EXISTS"]);
        SecurityStatement::CreateRole { name: names::identifier(cursor, "the name of the role")?, if_not_exists }
    } else if cursor.word("TOKEN") {
        SecurityStatement::CreateToken(token(cursor)?)
    } else {
        cursor.expect_word("POLICY")?;
        policy(cursor)?
    };
    cursor.expect_end()?;
    Ok(security(statement))
}

/// `DROP USER | ROLE | TOKEN | POLICY …`
pub fn drop(cursor: &mut Cursor) -> Result<Statement, CatalogError> {
    cursor.expect_word("DROP")?;
    let statement = if cursor.word("USER") {
        let if_exists = cursor.words(&["IF", "EXISTS"]);
        SecurityStatement::DropUser { name: names::identifier(cursor, "the name of the user")?, if_exists }
    } else if cursor.word("ROLE") {
        let if_exists = cursor.words(&["IF", "EXISTS"]);
        SecurityStatement::DropRole { name: names::identifier(cursor, "the name of the role")?, if_exists }
    } else if cursor.word("TOKEN") {
        SecurityStatement::DropToken { id: cursor.expect_string("the id of the token in quotes")? }
    } else {
        cursor.expect_word("POLICY")?;
        let if_exists = cursor.words(&["IF", "EXISTS"]);
        let name = names::identifier(cursor, "the name of the policy")?;
        cursor.expect_word("ON")?;
        let relation = names::object_name(cursor, "the name of the table or view")?;
        SecurityStatement::DropPolicy { name, relation, if_exists }
    };
    cursor.expect_end()?;
    Ok(security(statement))
}

/// `ALTER USER …`
pub fn alter_user(cursor: &mut Cursor) -> Result<Statement, CatalogError> {
    cursor.expect_word("ALTER")?;
    cursor.expect_word("USER")?;
    let mut user = UserOptions { name: names::identifier(cursor, "the name of the user")?, ..no_options() };
    let mut enabled = None;
    let position = cursor.position();
    loop {
        if cursor.word("ENABLE") {
            enabled = Some(true);
        } else if cursor.word("DISABLE") {
            enabled = Some(false);
        } else if !user_option(cursor, &mut user)? {
            break;
        }
    }
    if user.password.is_none() && user.attributes.is_empty() && enabled.is_none() {
        return Err(position.syntax("expected PASSWORD, ATTRIBUTE, ENABLE or DISABLE"));
    }
    cursor.expect_end()?;
    Ok(security(SecurityStatement::AlterUser { user, enabled }))
}

fn create_user(cursor: &mut Cursor) -> Result<SecurityStatement, CatalogError> {
    let if_not_exists = cursor.words(&["IF", "NOT", "EXISTS"]);
    let mut user = UserOptions { name: names::identifier(cursor, "the name of the user")?, ..no_options() };
    let mut roles = Vec::new();
    loop {
        if cursor.word("ROLE") {
            roles.extend(list(cursor, |cursor| names::identifier(cursor, "the name of a role"))?);
        } else if !user_option(cursor, &mut user)? {
            break;
        }
    }
    Ok(SecurityStatement::CreateUser { user, roles, if_not_exists })
}

fn no_options() -> UserOptions {
    UserOptions { name: String::new(), password: None, attributes: Vec::new() }
}

/// PASSWORD or ATTRIBUTE; false when neither comes next. A password that is no string is not repeated in the error.
fn user_option(cursor: &mut Cursor, user: &mut UserOptions) -> Result<bool, CatalogError> {
    if cursor.word("PASSWORD") {
        let position = cursor.position();
        let wrong = |_| position.syntax("expected the password as a 'string'");
        user.password = Some(Secret::new(cursor.expect_string("a password").map_err(wrong)?));
        return Ok(true);
    }
    if cursor.word("ATTRIBUTE") {
        user.attributes.extend(list(cursor, |cursor| {
            let key = names::identifier(cursor, "the name of an attribute")?;
            cursor.expect_symbol(&Token::Eq)?;
            Ok((key, cursor.expect_string("the attribute's value as a 'string'")?))
        })?);
        return Ok(true);
    }
    Ok(false)
}

fn token(cursor: &mut Cursor) -> Result<NewTokenOptions, CatalogError> {
    let mut options = NewTokenOptions::default();
    if cursor.word("FOR") {
        options.user = Some(names::identifier(cursor, "the name of the user")?);
    }
    if cursor.word("SCOPE") {
        let position = cursor.position();
        options.usage = match (cursor.word("READ"), cursor.word("INGEST")) {
            (true, true) => return Err(position.bad("a token's scope is READ or INGEST; without either it is both")),
            (true, false) => TokenUse::Read,
            (false, true) => TokenUse::Ingest,
            (false, false) => TokenUse::Everything,
        };
        if cursor.word("ROLE") {
            options.roles = Some(list(cursor, |cursor| names::identifier(cursor, "the name of a role"))?);
        }
        if cursor.word("ON") {
            options.objects = Some(list(cursor, |cursor| names::object_name(cursor, "the name of an object"))?);
        }
        if options.usage == TokenUse::Everything && options.roles.is_none() && options.objects.is_none() {
            return Err(cursor.expected("READ, INGEST, ROLE or ON behind SCOPE"));
        }
    }
    if cursor.words(&["EXPIRES", "IN"]) {
        let position = cursor.position();
        let text = cursor.expect_string("a length of time in quotes, such as '90 days'")?;
        options.expires_in = Some(text.parse().map_err(|reason: String| position.bad(reason))?);
    }
    Ok(options)
}

fn policy(cursor: &mut Cursor) -> Result<SecurityStatement, CatalogError> {
    let name = names::identifier(cursor, "the name of the policy")?;
    cursor.expect_word("ON")?;
    let relation = names::object_name(cursor, "the name of the table or view")?;
    cursor.expect_word("TO")?;
    cursor.expect_word("ROLE")?;
    let role = names::identifier(cursor, "the name of the role")?;
    cursor.expect_word("USING")?;
    cursor.expect_symbol(&Token::LParen)?;
    let from = cursor.offset();
    cursor.parse(|parser| parser.parse_expr())?;
    let predicate = cursor.slice(from, cursor.offset_behind()).trim().to_owned();
    cursor.expect_symbol(&Token::RParen)?;
    Ok(SecurityStatement::CreatePolicy { name, relation, role, predicate })
}

/// `ALTER COLUMN column SET MASK … | DROP MASK`, behind `ALTER TABLE relation`.
pub fn mask(cursor: &mut Cursor, relation: String) -> Result<Statement, CatalogError> {
    cursor.expect_word("ALTER")?;
    cursor.word("COLUMN");
    let column = names::identifier(cursor, "the name of the column")?;
    if cursor.words(&["DROP", "MASK"]) {
        cursor.expect_end()?;
        return Ok(security(SecurityStatement::DropMask { relation, column }));
    }
    let position = cursor.position();
    if !cursor.words(&["SET", "MASK"]) {
        let message = "only SET MASK and DROP MASK are supported behind ALTER TABLE … ALTER COLUMN";
        return Err(position.unimplemented(message));
    }
    let position = cursor.position();
    let mask = if cursor.word("NULL") {
        MaskWord::Null
    } else if cursor.word("HASH") {
        cursor.expect_symbol(&Token::LParen)?;
        let argument = names::identifier(cursor, "the name of the column")?;
        if argument != column {
            return Err(position.bad(format!("the mask of '{column}' hashes '{column}', not '{argument}'")));
        }
        cursor.expect_symbol(&Token::RParen)?;
        MaskWord::Hash
    } else {
        return Err(cursor.expected(&format!("hash({column}) or NULL")));
    };
    let mut except = Vec::new();
    if cursor.words(&["EXCEPT", "ROLE"]) {
        except = list(cursor, |cursor| names::identifier(cursor, "the name of a role"))?;
    }
    cursor.expect_end()?;
    Ok(security(SecurityStatement::SetMask { relation, column, mask, except }))
}

/// `GRANT …`, `REVOKE …`
pub fn grant(cursor: &mut Cursor) -> Result<Statement, CatalogError> {
    let takes = cursor.word("REVOKE");
    if !takes {
        cursor.expect_word("GRANT")?;
    }
    let preposition = if takes { "FROM" } else { "TO" };
    if cursor.word("ROLE") {
        let role = names::identifier(cursor, "the name of the role")?;
        cursor.expect_word(preposition)?;
        cursor.word("USER");
        let user = names::identifier(cursor, "the name of the user")?;
        cursor.expect_end()?;
        return Ok(security(match takes {
            true => SecurityStatement::RevokeRole { role, user },
            false => SecurityStatement::GrantRole { role, user },
        }));
    }
    let privileges = list(cursor, privilege)?;
    cursor.expect_word("ON")?;
    let position = cursor.position();
    let on = granted_on(cursor)?;
    for (word, columns) in &privileges {
        if columns.is_some() && !(*word == PrivilegeWord::Select && matches!(on, GrantedOn::Relation(_))) {
            return Err(position.bad("columns go with SELECT on one table or view"));
        }
        let fits = match (&on, word) {
            (_, PrivilegeWord::All) | (GrantedOn::All, _) => true,
            (GrantedOn::Endpoint(_), word) => *word == PrivilegeWord::Execute,
            (GrantedOn::Relation(_) | GrantedOn::Schema, word) => *word != PrivilegeWord::Execute,
        };
        if !fits {
            return Err(position.bad("EXECUTE is for endpoints; SELECT, INSERT and DELETE are for tables and views"));
        }
    }
    cursor.expect_word(preposition)?;
    let to = if cursor.word("USER") {
        GrantedTo::User(names::identifier(cursor, "the name of the user")?)
    } else if cursor.word("ROLE") {
        GrantedTo::Role(names::identifier(cursor, "the name of the role")?)
    } else {
        return Err(cursor.expected("ROLE or USER"));
    };
    cursor.expect_end()?;
    let granted = Granted { privileges, on, to };
    Ok(security(if takes { SecurityStatement::Revoke(granted) } else { SecurityStatement::Grant(granted) }))
}

fn privilege(cursor: &mut Cursor) -> Result<(PrivilegeWord, Option<Vec<String>>), CatalogError> {
    let words = [
        ("SELECT", PrivilegeWord::Select),
        ("INSERT", PrivilegeWord::Insert),
        ("DELETE", PrivilegeWord::Delete),
        ("EXECUTE", PrivilegeWord::Execute),
        ("ALL", PrivilegeWord::All),
    ];
    let Some((_, word)) = words.into_iter().find(|(word, _)| cursor.word(word)) else {
        return Err(cursor.expected("SELECT, INSERT, DELETE, EXECUTE, ALL or ROLE"));
    };
    cursor.word("PRIVILEGES");
    let mut columns = None;
    if cursor.symbol(&Token::LParen) {
        columns = Some(list(cursor, |cursor| names::identifier(cursor, "the name of a column"))?);
        cursor.expect_symbol(&Token::RParen)?;
    }
    Ok((word, columns))
}

fn granted_on(cursor: &mut Cursor) -> Result<GrantedOn, CatalogError> {
    if cursor.word("ALL") {
        return Ok(GrantedOn::All);
    }
    if cursor.word("ENDPOINT") {
        return names::object_name(cursor, "the name of the endpoint").map(GrantedOn::Endpoint);
    }
    if cursor.word("SCHEMA") {
        let position = cursor.position();
        return match names::identifier(cursor, "the name of the schema")?.as_str() {
            "public" => Ok(GrantedOn::Schema),
            other => Err(position.bad(format!("schema '{other}': users' objects live in the one schema 'public'"))),
        };
    }
    if !cursor.words(&["MATERIALIZED", "VIEW"]) && !cursor.word("TABLE") {
        cursor.word("VIEW");
    }
    names::object_name(cursor, "the name of a table or view").map(GrantedOn::Relation)
}

fn list<T>(
    cursor: &mut Cursor,
    mut read: impl FnMut(&mut Cursor) -> Result<T, CatalogError>,
) -> Result<Vec<T>, CatalogError> {
    let mut items = vec![read(cursor)?];
    while cursor.symbol(&Token::Comma) {
        items.push(read(cursor)?);
    }
    Ok(items)
}

/// The error without what was found where something else was expected: that may be a password.
pub fn discreet(error: CatalogError) -> CatalogError {
    match error {
        CatalogError::Syntax { line, column, message } => {
            let message = message.split(", found ").next().unwrap_or_default().to_owned();
            CatalogError::Syntax { line, column, message }
        }
        other => other,
    }
}

/// The text as lists of statements and logs may show it: behind the word PASSWORD every string is `'***'`, whether the text can
/// be parsed or not.
pub fn redacted(sql: &str) -> std::borrow::Cow<'_, str> {
    const WORD: &str = "password";
    let lower = sql.to_ascii_lowercase();
    let is_part = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    let found = lower.match_indices(WORD).find(|(at, _)| {
        let bytes = lower.as_bytes();
        !is_part(at.checked_sub(1).and_then(|before| bytes.get(before))) && !is_part(bytes.get(at + WORD.len()))
    });
    let Some((at, _)) = found else { return sql.into() };
    let (head, tail) = sql.split_at(at + WORD.len());
    let Some(from) = tail.find(['\'', '"', '$']) else { return sql.into() };
    format!("{head}{}'***'", tail.get(..from).unwrap_or_default()).into()
}

#[cfg(test)]
#[path = "tests/security.rs"]
mod tests;
