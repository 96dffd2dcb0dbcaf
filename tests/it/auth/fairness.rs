//! What one caller takes from the others: time, memory, turns.

use super::*;

#[tokio::test]
async fn a_statement_runs_for_so_long() {
    let server = Guarded::with_people_and(&[("auth.limits.run_time", "partner=50 ms, analyst=1 minute")]).await;
    for found in [
        server.over_http(&as_user("pat"), SILENT).await,
        server.over_flight(&as_user("pat"), SILENT).await,
        server.over_prepared(&as_user("pat"), SILENT).await,
        server.over_flight(&as_user("pat"), ENDLESS).await,
    ] {
        assert_eq!(found, "deadline_exceeded");
    }
    let (status, body) = server.http(&as_user("pat"), SILENT).await;
    let told = "statement ran longer than 50 milliseconds, the most your roles allow (auth.limits)";
    assert_eq!((status, body["detail"].as_str().unwrap()), (504, told));
    // A longer one of a session changes nothing; a shorter one of its own is not the roles'.
    let mut client = server.flight(&as_user("pat")).await;
    client.execute("SET statement_timeout = '1 hour'".to_owned(), None).await.unwrap();
    assert_eq!(status_of(&fetch(&mut client, SILENT).await.unwrap_err()).message(), told);
    client.execute("SET statement_timeout = '40ms'".to_owned(), None).await.unwrap();
    let own = fetch(&mut client, SILENT).await.unwrap_err();
    assert_eq!(status_of(&own).message(), "statement ran longer than 40 milliseconds");
    let listed = "SELECT user_name, run_ms FROM system.limits WHERE run_ms IS NOT NULL ORDER BY 1";
    assert_eq!(server.over_http(&server.admin, listed).await, "ana|60000; pat|50; pia|50; rob|60000");
    server.stop().await;
}

#[tokio::test]
async fn a_user_holds_so_much_memory_and_others_go_on() {
    let server = Guarded::with_people_and(&[("auth.limits.memory_bytes", "partner=4 MiB")]).await;
    let heavy = "SELECT array_length(array_agg(value)) FROM generate_series(1, 2000000)";
    let (pat, ana) = (as_user("pat"), as_user("ana"));
    let (refused, others) = futures::join!(server.http(&pat, heavy), server.over_http(&ana, heavy));
    let (status, body) = refused;
    assert_eq!((status, body["kind"].as_str()), (429, Some("resource_exhausted")), "{body}");
    let detail = body["detail"].as_str().unwrap();
    assert!(detail.contains("4 MiB is the most your roles allow (auth.limits)"), "{detail}");
    assert_eq!(others, "2000000");
    assert_eq!(server.over_flight(&pat, heavy).await, "resource_exhausted");
    assert_eq!(server.over_http(&pat, "SELECT count(*) FROM sales").await, "2", "it is given back");
    let listed = "SELECT user_name, memory_bytes FROM system.limits WHERE memory_bytes IS NOT NULL ORDER BY 1";
    assert_eq!(server.over_http(&server.admin, listed).await, "pat|4194304; pia|4194304; rob|4194304");
    server.stop().await;
}

/// The statements of `user` in this state.
async fn ids(server: &Guarded, user: &str, state: &str) -> Vec<String> {
    let find = format!("SELECT query_id FROM system.queries WHERE user_name = '{user}' AND state = '{state}'");
    let found = server.over_http(&server.admin, &find).await;
    found.split("; ").filter(|id| !id.is_empty()).map(str::to_owned).collect()
}

/// Waits until so many are in this state.
async fn until(server: &Guarded, user: &str, state: &str, count: usize) {
    let reached = async { while ids(server, user, state).await.len() != count {} };
    tokio::time::timeout(std::time::Duration::from_secs(30), reached).await.unwrap();
}

/// Kills the next statement of `user` that runs, beside those that are killed already and may take a moment to end.
async fn kill_next(server: &Guarded, user: &str, killed: &mut Vec<String>) {
    let next = async {
        loop {
            let running = ids(server, user, "running").await;
            if let Some(next) = running.into_iter().find(|id| !killed.contains(id)) {
                return next;
            }
        }
    };
    let next = tokio::time::timeout(std::time::Duration::from_secs(30), next).await.unwrap();
    server.run(&format!("KILL QUERY '{next}'")).await;
    killed.push(next);
}

#[tokio::test]
async fn many_statements_of_one_do_not_hold_up_anothers() {
    let server = Guarded::with_people_and(&[("query.concurrent", "1"), ("query.queue_wait", "1 hour")]).await;
    let (pat, pia) = (as_user("pat"), as_user("pia"));
    let many = futures::future::join_all((0..4).map(|_| server.http(&pat, SILENT)));
    let small = async {
        let mut killed = Vec::new();
        until(&server, "pat", "waiting", 3).await;
        let answered = server.over_http(&pia, "SELECT count(*) FROM sales");
        let ending = async {
            until(&server, "pia", "waiting", 1).await;
            // One more of the first caller's may come before it; not all of them, which never end.
            kill_next(&server, "pat", &mut killed).await;
            kill_next(&server, "pat", &mut killed).await;
        };
        let (answered, ()) = futures::join!(answered, ending);
        assert_eq!(answered, "2");
        kill_next(&server, "pat", &mut killed).await;
        kill_next(&server, "pat", &mut killed).await;
    };
    let (ended, ()) = futures::join!(many, small);
    assert!(ended.iter().all(|(status, _)| *status == 499));
    server.stop().await;
}
