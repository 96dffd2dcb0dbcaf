//! KILL QUERY: whose statements it ends, over every protocol, and what their clients are told.

use super::*;

pub(super) const KILLED: &str = "statement was killed (KILL QUERY)";

/// The id of the one statement of `user` that runs and is like this.
pub(super) async fn running(server: &Guarded, user: &str, like: &str) -> String {
    let find = format!(
        "SELECT query_id FROM system.queries WHERE user_name = '{user}' AND state = 'running' AND sql LIKE '{like}'"
    );
    let found = async {
        loop {
            let id = server.over_http(&server.admin, &find).await;
            if !id.is_empty() {
                return id;
            }
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), found).await.unwrap()
}

#[tokio::test]
async fn who_is_killed_is_told_over_every_protocol() {
    let server = Guarded::with_people().await;
    let pat = as_user("pat");
    // HTTP, killed by an admin over Flight SQL.
    let killing = async {
        let id = running(&server, "pat", "SELECT count(*) FROM generate%").await;
        server.over_flight(&server.admin, &format!("KILL QUERY {id}")).await
    };
    let ((status, body), killed) = futures::join!(server.http(&pat, SILENT), killing);
    assert_eq!((status, body["kind"].as_str()), (499, Some("cancelled")), "{body}");
    assert!(body["detail"].as_str().unwrap().contains(KILLED), "{body}");
    assert_eq!(killed, "");
    // Flight SQL, killed by the user's own statement over HTTP.
    let mut client = server.flight(&pat).await;
    let killing = async {
        let id = running(&server, "pat", "SELECT count(*) FROM generate%").await;
        (server.over_http(&pat, &format!("KILL QUERY '{id}'")).await, id)
    };
    let (told, (killed, id)) = futures::join!(fetch(&mut client, SILENT), killing);
    let told = told.unwrap_err();
    assert_eq!((status_of(&told).code(), status_of(&told).message()), (tonic::Code::Cancelled, KILLED));
    assert_eq!(killed, "done");
    let listed = format!("SELECT state, error FROM system.queries WHERE query_id = '{id}'");
    let ended = async { while server.over_http(&server.admin, &listed).await != format!("cancelled|{KILLED}") {} };
    tokio::time::timeout(std::time::Duration::from_secs(30), ended).await.unwrap();
    let (status, body) = server.http(&pat, &format!("KILL QUERY '{id}'")).await;
    assert_eq!((status, body["kind"].as_str()), (409, Some("failed_precondition")));
    assert!(body["detail"].as_str().unwrap().contains("does not run any more: it is cancelled"), "{body}");
    server.stop().await;
}

#[tokio::test]
async fn others_find_no_statement_to_kill() {
    let server = Guarded::with_people().await;
    let mut client = server.flight(&as_user("pat")).await;
    let info = client.execute(SILENT.to_owned(), None).await.unwrap();
    let open = client.do_get(info.endpoint[0].ticket.clone().unwrap());
    let trying = async {
        let id = running(&server, "pat", "SELECT count(*) FROM generate%").await;
        let kill = format!("KILL QUERY '{id}'");
        for other in ["pia", "ana", "eve"] {
            assert_eq!(server.over_http(&as_user(other), &kill).await, "not_found", "{other}");
            assert_eq!(server.over_flight(&as_user(other), &kill).await, "not_found", "{other}");
        }
        let (_, hidden) = server.http(&as_user("pia"), &kill).await;
        let (_, unknown) = server.http(&as_user("pia"), "KILL QUERY '0'").await;
        let text = |body: &Value| body["detail"].as_str().unwrap().replace(&id, "0");
        assert_eq!(text(&hidden), text(&unknown));
        assert_eq!(running(&server, "pat", "SELECT count(*) FROM generate%").await, id, "it runs on");
        assert_eq!(server.over_http(&server.admin, &kill).await, "done");
        // Also what has ended is not there for others.
        assert_eq!(server.over_http(&as_user("pia"), &kill).await, "not_found");
    };
    let (open, ()) = futures::join!(open, trying);
    match open {
        Err(error) => assert_eq!(status_of(&error).message(), KILLED),
        Ok(rows) => assert_eq!(status_of(&rows.try_collect::<Vec<_>>().await.unwrap_err()).message(), KILLED),
    }
    server.stop().await;
}

#[tokio::test]
async fn who_has_all_statements_that_are_allowed_can_end_one() {
    let settings = [("auth.limits.concurrent_statements", "partner=1")];
    let server = Guarded::with_people_and(&settings).await;
    let pat = as_user("pat");
    let ending = async {
        let id = running(&server, "pat", "SELECT count(*) FROM generate%").await;
        assert_eq!(server.over_http(&pat, "SELECT 1").await, "resource_exhausted");
        assert_eq!(server.over_http(&pat, &format!("/* mine */ KILL QUERY '{id}'")).await, "resource_exhausted");
        assert_eq!(server.over_http(&pat, &format!("KILL QUERY '{id}'")).await, "done");
    };
    let ((status, _), ()) = futures::join!(server.http(&pat, SILENT), ending);
    assert_eq!(status, 499);
    // It counts until its next batch, which on a slow machine comes later than its client is told.
    let again = async { while server.over_http(&pat, "SELECT 1").await != "1" {} };
    tokio::time::timeout(std::time::Duration::from_secs(30), again).await.unwrap();
    server.stop().await;
}

#[tokio::test]
async fn a_change_that_is_killed_is_not_made() {
    let server = Guarded::with_people().await;
    server.run("CREATE TABLE numbers (n BIGINT)").await;
    let eve = as_user("eve");
    let insert = "INSERT INTO numbers SELECT a.value FROM generate_series(1, 1000000) a CROSS JOIN generate_series(1, 1000000) b";
    let killing = async {
        let id = running(&server, "eve", "INSERT%").await;
        server.over_http(&server.admin, &format!("KILL QUERY {id}")).await
    };
    let ((status, body), killed) = futures::join!(server.http(&eve, insert), killing);
    assert_eq!((status, killed.as_str()), (499, "done"), "{body}");
    assert!(body["detail"].as_str().unwrap().contains(KILLED), "{body}");
    assert_eq!(server.over_http(&eve, "SELECT count(*) FROM numbers").await, "0");
    server.stop().await;
}
