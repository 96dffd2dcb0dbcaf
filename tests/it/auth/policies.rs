//! Row policies, masks, granted columns and what errors and lists tell.

use adlake::catalog::{CatalogSnapshot, Definition, Edit, Object, ViewDefinition};

use super::*;

#[tokio::test]
async fn a_masked_column_is_a_hash_for_all_but_the_excepted() {
    let server = Guarded::with_people().await;
    let of =
        async |who: &str| server.over_http(&as_user(who), "SELECT ip FROM sales WHERE region = 'US' ORDER BY id").await;
    assert_eq!(of("rob").await, "10.0.0.3; 10.0.0.4", "an analyst is excepted");
    let masked = of("pia").await;
    let hashes: Vec<&str> = masked.split("; ").collect();
    assert!(hashes.len() == 2 && hashes.iter().all(|hash| hash.len() == 32 && !hash.contains('.')), "{masked}");
    assert_eq!(server.over_http(&as_user("pia"), "SELECT id FROM sales WHERE ip = '10.0.0.3'").await, "");
    assert_eq!(of("pia").await, masked, "equal values stay equal");
    server.run("ALTER TABLE sales ALTER COLUMN price SET MASK NULL").await;
    assert_eq!(server.over_http(&as_user("pia"), "SELECT sum(price), count(*) FROM sales").await, "null|2");
    assert_eq!(server.over_http(&as_user("pia"), "SELECT sum(price) FROM sales_view").await, "null", "below views too");
    server.stop().await;
}

#[tokio::test]
async fn columns_that_are_not_granted_are_not_there() {
    let server = Guarded::with_people().await;
    server.run("GRANT SELECT (item, region) ON TABLE sales TO USER nia").await;
    server.run("GRANT ROLE partner TO USER nia").await;
    server.run("REVOKE SELECT ON TABLE sales FROM ROLE partner").await;
    server.run("GRANT SELECT (item, region) ON TABLE sales TO USER nia").await;
    server.run("ALTER USER nia ATTRIBUTE region = 'JP'").await;
    assert_eq!(server.over_http(&as_user("nia"), "SELECT * FROM sales").await, "JP|c");
    let (status, problem) = server.http(&as_user("nia"), "SELECT price FROM sales").await;
    let detail = problem["detail"].as_str().unwrap();
    assert_eq!(status, 400, "{detail}");
    assert!(detail.contains("'price' not found") && !detail.contains("ip"), "{detail}");
    let columns = "SELECT column_name FROM information_schema.columns WHERE table_name = 'sales' ORDER BY 1";
    assert_eq!(server.over_http(&as_user("nia"), columns).await, "item; region");
    assert_eq!(server.over_http(&as_user("nia"), "DESCRIBE sales").await.matches("VARCHAR").count(), 2);
    server.stop().await;
}

#[tokio::test]
async fn errors_and_suggestions_name_nothing_hidden() {
    let server = Guarded::with_people().await;
    let detail = async |who: &str, sql: &str| {
        let (_, problem) = server.http(&as_user(who), sql).await;
        problem["detail"].as_str().unwrap_or_default().to_owned()
    };
    assert!(detail("eve", "SELECT * FROM secrets").await.contains("did you mean 'secret'?"));
    for sql in ["SELECT * FROM secrets", "SELECT * FROM secret", "DESCRIBE secret", "INSERT INTO secret VALUES (1)"] {
        let hidden = detail("pat", sql).await;
        assert!(hidden.contains("not found") && !hidden.contains("did you mean"), "{sql}: {hidden}");
    }
    // A view over what is hidden works, and when it breaks it does not say on what.
    server.run("CREATE VIEW peek AS SELECT x FROM secret").await;
    server.run("GRANT SELECT ON VIEW peek TO ROLE partner").await;
    assert_eq!(server.over_http(&as_user("pat"), "SELECT count(*) FROM peek").await, "0");
    let plan = detail("pat", "EXPLAIN SELECT * FROM peek").await;
    assert!(plan.contains("EXPLAIN shows") && !plan.contains("secret"), "{plan}");
    server.stop().await;
}

#[tokio::test]
async fn a_policy_that_could_fail_or_does_not_fit_is_refused() {
    let server = Guarded::with_people().await;
    for (predicate, says) in [
        ("100 / price > 1", "could fail on rows it hides"),
        ("CAST(item AS BIGINT) = 1", "could fail on rows it hides"),
        ("price", "not true or false"),
        ("regio = 'KR'", "did you mean 'region'?"),
        ("region IN (SELECT item FROM sales)", "sales"),
    ] {
        let sql = format!("CREATE POLICY wrong ON sales TO ROLE partner USING ({predicate})");
        let (status, problem) = server.http(&server.admin, &sql).await;
        assert_ne!(status, 200, "{predicate}");
        assert!(problem["detail"].as_str().unwrap().contains(says), "{predicate}: {problem}");
    }
    // Two policies of a caller add up.
    server.run("CREATE POLICY cheap ON sales TO ROLE partner USING (price < 10 OR price BETWEEN 45 AND 55)").await;
    assert_eq!(server.over_http(&as_user("pat"), "SELECT id FROM sales ORDER BY id").await, "1; 2; 3; 5");
    server.stop().await;
}

#[tokio::test]
async fn rights_end_at_once() {
    let server = Guarded::with_people().await;
    let mut client = server.flight(&as_user("pat")).await;
    assert_eq!(cell(fetch(&mut client, "SELECT count(*) FROM sales").await), "2");
    server.run("REVOKE SELECT ON TABLE sales FROM ROLE partner").await;
    assert_eq!(cell(fetch(&mut client, "SELECT count(*) FROM sales").await), "not_found");
    server.run("ALTER USER pat DISABLE").await;
    assert_eq!(cell(fetch(&mut client, "SELECT 1").await), "unauthenticated");
    server.stop().await;
}

#[tokio::test]
async fn statements_of_others_and_settings_are_not_listed() {
    let server = Guarded::with_people().await;
    server.over_http(&as_user("pat"), "SELECT 42").await;
    let list = "SELECT DISTINCT user_name FROM system.queries";
    assert_eq!(server.over_http(&as_user("pat"), list).await, "pat");
    assert_eq!(server.over_http(&as_user("pat"), "SELECT count(*) FROM system.settings").await, "0");
    let all = server.over_http(&server.admin, "SELECT sql FROM system.queries WHERE sql LIKE '%PASSWORD%'").await;
    assert!(all.contains("'***'") && !all.contains("-password"), "{all}");
    server.stop().await;
}

/// As one that was made by an earlier version of the program.
#[tokio::test]
async fn a_view_that_no_longer_works_does_not_say_what_it_is_made_of() {
    let server = Guarded::with_people().await;
    server.run("CREATE VIEW peek AS SELECT x FROM secret").await;
    server.run("GRANT SELECT ON VIEW peek TO ROLE partner").await;
    let catalog = &server.running.app.catalog;
    let broken = |base: &CatalogSnapshot| {
        let mut view = Object::clone(base.relation("peek")?);
        let query = "SELECT hidden_column FROM secret".to_owned();
        view.sql = format!("CREATE VIEW peek AS {query}");
        view.definition = Definition::View(ViewDefinition { query });
        Ok(vec![Edit::Put(view)])
    };
    catalog.edit(broken).await.unwrap();
    for sql in ["DESCRIBE peek", "SELECT * FROM peek"] {
        let (status, problem) = server.http(&as_user("pat"), sql).await;
        let detail = problem["detail"].as_str().unwrap();
        assert_eq!(status, 400, "{sql}: {detail}");
        assert_eq!(detail, "view 'peek' cannot be read at present; tell those who made it", "{sql}");
        let (_, problem) = server.http(&as_user("eve"), sql).await;
        assert!(problem["detail"].as_str().unwrap().contains("hidden_column"), "{sql}: {problem}");
    }
    server.stop().await;
}
