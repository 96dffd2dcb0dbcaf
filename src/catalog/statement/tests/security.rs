//! What statements about users and rights say, and what their errors do not.

use super::*;
use crate::catalog::parse_statement;

fn parsed(sql: &str) -> SecurityStatement {
    match parse_statement(sql) {
        Ok(Statement::Security(statement)) => *statement,
        other => panic!("{sql}: {other:?}"),
    }
}

fn error(sql: &str) -> String {
    parse_statement(sql).unwrap_err().to_string()
}

#[test]
fn users_have_passwords_roles_and_attributes() {
    let sql = "CREATE USER Ann PASSWORD 'swordfish 1' ROLE reader, partner ATTRIBUTE region = 'KR', tier = 'a';";
    let SecurityStatement::CreateUser { user, roles, if_not_exists: false } = parsed(sql) else { panic!("{sql}") };
    assert_eq!((user.name.as_str(), user.password.unwrap().expose()), ("ann", "swordfish 1"));
    assert_eq!(roles, ["reader", "partner"]);
    assert_eq!(user.attributes[1], ("tier".to_owned(), "a".to_owned()));
    let SecurityStatement::AlterUser { user, enabled: Some(false) } = parsed("ALTER USER ann DISABLE") else {
        panic!("it disables")
    };
    assert!(user.password.is_none());
    assert!(error("ALTER USER ann").contains("expected PASSWORD, ATTRIBUTE, ENABLE or DISABLE"));
}

#[test]
fn tokens_say_what_they_are_for() {
    let SecurityStatement::CreateToken(plain) = parsed("CREATE TOKEN") else { panic!("a token") };
    assert_eq!((plain.user, plain.usage, plain.expires_in), (None, TokenUse::Everything, None));
    let sql = "CREATE TOKEN FOR ann SCOPE INGEST ROLE ingest ON clicks, views EXPIRES IN '90 days'";
    let SecurityStatement::CreateToken(full) = parsed(sql) else { panic!("a token") };
    assert_eq!(full.usage, TokenUse::Ingest);
    assert_eq!(full.objects.unwrap(), ["clicks", "views"]);
    assert_eq!(full.expires_in.unwrap().to_string(), "90 days");
    assert!(error("CREATE TOKEN SCOPE").contains("READ, INGEST, ROLE or ON"));
    assert!(error("CREATE TOKEN EXPIRES IN '90'").contains("not a length of time"));
    assert!(matches!(parsed("DROP TOKEN '0a1b'"), SecurityStatement::DropToken { id } if id == "0a1b"));
}

#[test]
fn grants_name_privilege_object_and_grantee() {
    let SecurityStatement::Grant(some) = parsed("GRANT SELECT (a, b), INSERT ON TABLE t TO ROLE partner") else {
        panic!("a grant")
    };
    let columns = Some(vec!["a".to_owned(), "b".to_owned()]);
    assert_eq!(some.privileges, [(PrivilegeWord::Select, columns), (PrivilegeWord::Insert, None)]);
    assert_eq!((some.on, some.to), (GrantedOn::Relation("t".into()), GrantedTo::Role("partner".into())));
    for (sql, on) in [
        ("REVOKE ALL ON ALL FROM USER ann", GrantedOn::All),
        ("REVOKE EXECUTE ON ENDPOINT e FROM USER ann", GrantedOn::Endpoint("e".into())),
        ("REVOKE SELECT ON SCHEMA public FROM USER ann", GrantedOn::Schema),
        ("REVOKE SELECT ON MATERIALIZED VIEW v FROM USER ann", GrantedOn::Relation("v".into())),
        ("REVOKE SELECT ON v FROM USER ann", GrantedOn::Relation("v".into())),
    ] {
        let SecurityStatement::Revoke(taken) = parsed(sql) else { panic!("{sql}") };
        assert_eq!(taken.on, on, "{sql}");
    }
    assert!(matches!(parsed("GRANT ROLE reader TO USER ann"), SecurityStatement::GrantRole { .. }));
    assert!(error("GRANT INSERT (a) ON t TO ROLE r").contains("columns go with SELECT"));
    assert!(error("GRANT EXECUTE ON TABLE t TO ROLE r").contains("EXECUTE is for endpoints"));
    assert!(error("GRANT UPDATE ON t TO ROLE r").contains("expected SELECT, INSERT"));
    assert!(error("GRANT SELECT ON t TO ann").contains("expected ROLE or USER"));
}

#[test]
fn policies_and_masks_are_kept_as_written() {
    let sql = "CREATE POLICY own ON t TO ROLE partner USING (region = current_attribute('region'))";
    let SecurityStatement::CreatePolicy { predicate, relation, .. } = parsed(sql) else { panic!("a policy") };
    assert_eq!((predicate.as_str(), relation.as_str()), ("region = current_attribute('region')", "t"));
    let sql = "ALTER TABLE t ALTER COLUMN ip SET MASK hash(ip) EXCEPT ROLE engineer";
    let SecurityStatement::SetMask { mask: MaskWord::Hash, except, .. } = parsed(sql) else { panic!("a mask") };
    assert_eq!(except, ["engineer"]);
    assert!(matches!(parsed("ALTER TABLE t ALTER COLUMN ip DROP MASK"), SecurityStatement::DropMask { .. }));
    assert!(error("ALTER TABLE t ALTER COLUMN ip SET MASK hash(id)").contains("not 'id'"));
    assert!(error("ALTER TABLE t ALTER COLUMN ip TYPE INT").contains("only SET MASK"));
}

#[test]
fn passwords_are_nowhere_repeated() {
    for sql in [
        "CREATE USER ann PASSWORD swordfish",
        "CREATE USER ann PASSWORD \"swordfish\"",
        "ALTER USER ann PASSWORD 'x' 'swordfish'",
        "CREATE USER ann PASSWORD 'swordfish' nonsense",
    ] {
        let error = error(sql);
        assert!(!error.contains("swordfish"), "{error}");
    }
    assert!(!format!("{:?}", parse_statement("CREATE USER ann PASSWORD 'swordfish'").unwrap()).contains("swordfish"));
    assert_eq!(redacted("CREATE USER a PASSWORD 'x' ROLE b"), "CREATE USER a PASSWORD '***'");
    assert_eq!(redacted("create user a password'x"), "create user a password'***'");
    assert_eq!(redacted("SELECT passwords, 'a' FROM t"), "SELECT passwords, 'a' FROM t");
    assert_eq!(redacted("SELECT 1"), "SELECT 1");
}
