//! `system.audit`: a row for whatever a caller asks for, over every protocol, with what came of it and without any value.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array};
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::{FlightClient, FlightDescriptor};
use tonic::Request;

use super::*;
use crate::grpc::client::append_request::Payload;
use crate::grpc::client::ingest_client::IngestClient;
use crate::grpc::client::{AppendRequest, OnBadRow};

const WHAT: &str = "user_name, protocol, action, objects, decision, error_kind, rows, address, statement";

impl Guarded {
    /// Rows of the audit, a line each, in the order of their text.
    async fn audit(&self, columns: &str, condition: &str) -> String {
        let found = self.over_http(&self.admin, &format!("SELECT {columns} FROM system.audit WHERE {condition}")).await;
        let mut lines: Vec<&str> = found.split("; ").collect();
        lines.sort_unstable();
        lines.join("\n")
    }
}

#[tokio::test]
async fn statements_are_recorded_without_their_values() {
    let server = Guarded::with_people().await;
    let ana = as_user("ana");
    let sql = "SELECT count(*) FROM sales_view WHERE region = 'KR' AND price > 15 -- mine";
    assert_eq!(server.over_http(&ana, sql).await, "0");
    assert_eq!(server.over_flight(&ana, "SELECT id FROM sales WHERE id = 7").await, "");
    assert_eq!(server.over_prepared(&as_user("pat"), "SELECT id FROM sales WHERE id < 3").await, "1; 2");
    let shape = "SELECT count(*) FROM sales_view WHERE region = ? AND price > ?";
    assert_eq!(
        server.audit(WHAT, "user_name IN ('ana', 'pat')").await,
        format!(
            "ana|flight_sql|query|sales|allowed|null|0|127.0.0.1|SELECT id FROM sales WHERE id = ?\n\
             ana|http|query|sales_view|allowed|null|1|127.0.0.1|{shape}\n\
             pat|flight_sql|query|sales|allowed|null|2|127.0.0.1|SELECT id FROM sales WHERE id < ?"
        )
    );
    // What made the people and objects of this test, too, and no password of theirs.
    let made =
        server.audit("count(*), count(query_id), count(elapsed_ms)", "user_name = 'admin' AND action = 'security'");
    assert_eq!(made.await, "13|13|13");
    assert_eq!(server.audit("count(*)", "statement LIKE '%password%' OR statement LIKE '%''%'").await, "0");
    assert_eq!(server.audit("count(DISTINCT token_id)", "user_name = 'admin'").await, "1");
    server.stop().await;
}

#[tokio::test]
async fn what_is_refused_is_recorded_as_denied() {
    let server = Guarded::with_people().await;
    let (nia, pat) = (as_user("nia"), as_user("pat"));
    // Not theirs to know, not theirs to do, not there, wrong: over HTTP, and where Flight SQL only prepares.
    assert_eq!(server.over_http(&nia, "SELECT * FROM sales").await, "not_found");
    assert_eq!(server.over_flight(&nia, "SELECT * FROM secret").await, "not_found");
    assert_eq!(server.over_http(&pat, "INSERT INTO sales VALUES (1, 'KR', 'a', 'x', 1)").await, "permission_denied");
    assert_eq!(server.over_flight(&pat, "DROP TABLE sales").await, "permission_denied");
    assert_eq!(server.over_http(&pat, "SELECT * FROM nowhere").await, "not_found");
    assert_eq!(server.over_flight(&pat, "SELEC 1").await, "invalid_argument");
    let called = server.request(Method::GET, "/v1/totals/a", &nia).send().await.unwrap();
    assert_eq!(called.status(), 404);
    let called = server.request(Method::GET, "/v1/totals/a", &pat).send().await.unwrap();
    assert_eq!(called.status(), 200);
    let what = "user_name, protocol, action, objects, decision, error_kind, statement";
    assert_eq!(
        server.audit(what, "user_name IN ('nia', 'pat')").await,
        "nia|endpoint|call|totals|denied|not_found|null\n\
         nia|flight_sql|query|secret|denied|not_found|SELECT * FROM secret\n\
         nia|http|query|sales|denied|not_found|SELECT * FROM sales\n\
         pat|endpoint|call|totals|allowed|null|null\n\
         pat|flight_sql|drop|sales|denied|permission_denied|DROP TABLE sales\n\
         pat|flight_sql|unknown|null|allowed|invalid_argument|SELEC ?\n\
         pat|http|insert|sales|denied|permission_denied|INSERT INTO sales VALUES (?, ?, ?, ?, ?)\n\
         pat|http|query|nowhere|allowed|not_found|SELECT * FROM nowhere"
    );
    server.stop().await;
}

#[tokio::test]
async fn what_is_refused_for_its_depth_is_recorded_unread() {
    let server = Guarded::with_people().await;
    let pat = as_user("pat");
    let deep = format!("SELECT 1{}", " + 1".repeat(500_000));
    assert_eq!(server.over_http(&pat, &deep).await, "invalid_argument");
    assert_eq!(server.over_flight(&pat, &deep).await, "invalid_argument");
    let what = "protocol, action, objects, decision, error_kind";
    assert_eq!(
        server.audit(what, "user_name = 'pat'").await,
        "flight_sql|unknown|null|allowed|invalid_argument\n\
         http|unknown|null|allowed|invalid_argument"
    );
    server.stop().await;
}

#[tokio::test]
async fn refused_sign_ins_are_recorded_without_credentials() {
    let server = Guarded::with_people().await;
    let basic = |pair: &str| {
        use base64::Engine as _;
        format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair))
    };
    for credential in
        [basic("pat:not-the-password"), basic("hunter2-in-the-wrong-field:x"), "Bearer stolen".into(), String::new()]
    {
        assert_eq!(server.over_http(&credential, "SELECT 1").await, "unauthenticated");
    }
    assert_eq!(server.over_flight(&basic("pat:not-the-password"), "SELECT 1").await, "unauthenticated");
    // A session of a user who is no more.
    let mut client = server.flight("").await;
    client.handshake("nia", "nia-password").await.unwrap();
    server.run("DROP USER nia").await;
    assert_eq!(cell(fetch(&mut client, "SELECT 1").await), "unauthenticated");
    let what = "coalesce(user_name, '-'), protocol, decision, error_kind, address, count(*)";
    let found = server.audit(what, "action = 'sign in' GROUP BY 1, 2, 3, 4, 5").await;
    assert_eq!(
        found,
        "-|http|denied|bad_credential|127.0.0.1|2\n\
         -|http|denied|no_credential|127.0.0.1|1\n\
         nia|grpc|denied|bad_credential|127.0.0.1|1\n\
         pat|grpc|denied|bad_credential|127.0.0.1|1\n\
         pat|http|denied|bad_credential|127.0.0.1|1"
    );
    server.stop().await;
}

#[tokio::test]
async fn rows_put_in_are_recorded_over_every_protocol() {
    let server = Guarded::with_people().await;
    let (ida, pat) = (as_user("ida"), as_user("pat"));
    for (who, status) in [(&ida, 200), (&pat, 403)] {
        let rows = server.request(Method::POST, "/v1/tables/sales/rows", who).json(&json!([{"id": 8}, {"id": 9}]));
        assert_eq!(rows.send().await.unwrap().status(), status);
    }
    let endpoint = format!("http://{}", server.running.addresses.flight);
    let channel = Endpoint::from_shared(endpoint).unwrap().connect().await.unwrap();
    let mut grpc = IngestClient::new(channel.clone());
    let request = |who: &str, table: &str| {
        let payload = Some(Payload::Ndjson(b"{\"x\": 1}".to_vec()));
        let body =
            AppendRequest { table: table.into(), payload, on_bad_row: OnBadRow::Fail.into(), ..Default::default() };
        let mut request = Request::new(body);
        request.metadata_mut().insert("authorization", who.parse().unwrap());
        request
    };
    grpc.append(request(&ida, "secret")).await.unwrap();
    assert!(grpc.append(request(&pat, "secret")).await.is_err());
    let mut stream = Request::new(futures::stream::iter([request(&ida, "secret").into_inner()]));
    stream.metadata_mut().insert("authorization", ida.parse().unwrap());
    let mut answers = grpc.append_stream(stream).await.unwrap().into_inner();
    assert_eq!(answers.message().await.unwrap().unwrap().accepted, 1);
    let mut flight = FlightClient::new(channel);
    flight.metadata_mut().insert("authorization", ida.parse().unwrap());
    let column: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
    let batch = RecordBatch::try_from_iter([("x", column)]).unwrap();
    let messages = FlightDataEncoderBuilder::new()
        .with_schema(batch.schema())
        .with_flight_descriptor(Some(FlightDescriptor::new_path(vec!["secret".into()])))
        .build(futures::stream::iter([Ok(batch)]));
    flight.do_put(messages).await.unwrap().try_collect::<Vec<_>>().await.unwrap();
    let what = "user_name, protocol, action, objects, decision, error_kind, rows, address";
    assert_eq!(
        server.audit(what, "action = 'append' AND protocol <> 'grpc'").await,
        "ida|flight_sql|append|secret|allowed|null|3|127.0.0.1\n\
         ida|http|append|sales|allowed|null|2|127.0.0.1\n\
         pat|http|append|sales|denied|permission_denied|null|127.0.0.1"
    );
    assert_eq!(
        server.audit(&format!("{what}, count(*)"), "protocol = 'grpc' GROUP BY 1, 2, 3, 4, 5, 6, 7, 8").await,
        "ida|grpc|append|secret|allowed|null|1|127.0.0.1|2\n\
         pat|grpc|append|secret|denied|not_found|null|127.0.0.1|1"
    );
    server.stop().await;
}

#[tokio::test]
async fn only_admins_read_it_and_nobody_writes_it() {
    let server = Guarded::with_people().await;
    for user in ["eve", "ana", "pat", "nia"] {
        assert_eq!(server.over_http(&as_user(user), "SELECT count(*) FROM system.audit").await, "0", "{user}");
        assert_eq!(server.over_flight(&as_user(user), "SELECT user_name FROM system.audit").await, "", "{user}");
    }
    for sql in [
        "DELETE FROM system.audit WHERE true",
        "INSERT INTO system.audit SELECT * FROM system.audit",
        "DROP TABLE system.audit",
    ] {
        let (status, _) = server.http(&server.admin, sql).await;
        assert!((400..500).contains(&status) || status == 501, "{sql}: {status}");
    }
    assert_ne!(server.audit("count(*)", "user_name = 'eve'").await, "0");
    server.stop().await;
}

#[tokio::test]
async fn what_was_recorded_outlives_the_process() {
    let folder = tempfile::tempdir().unwrap();
    let settings = [("audit.write_interval", "1 hour")];
    let server = Guarded::with(folder, &settings).await;
    server.run("CREATE USER pat PASSWORD 'pat-password' ROLE analyst").await;
    let Guarded { running, folder, admin, .. } = server;
    assert!(running.app.stop().await);
    let server = Guarded { admin, ..Guarded::with(folder, &settings).await };
    let kept = "SELECT user_name, action, rows, statement FROM system.audit WHERE action = 'security'";
    assert_eq!(server.over_http(&server.admin, kept).await, "admin|security|0|CREATE USER pat PASSWORD ?");
    server.stop().await;
}

#[tokio::test]
async fn what_finds_no_room_is_told_with_its_number() {
    let settings = [("audit.write_interval", "1 hour"), ("audit.queue_length", "1")];
    let server = Guarded::with(tempfile::tempdir().unwrap(), &settings).await;
    // The first of them makes the queue crowded, and the writer may have looked after it in between.
    for _ in 0..4 {
        server.run("SELECT 1").await;
        server.run("SELECT 2").await;
    }
    server.run("SELECT count(*) FROM system.audit").await;
    let counted = "SELECT coalesce(sum(rows) FILTER (WHERE action = 'lost'), 0) + count(*) FILTER (WHERE statement = 'SELECT ?') FROM system.audit";
    let lost_and_kept = server.over_http(&server.admin, counted).await;
    assert!(["8", "9"].contains(&lost_and_kept.as_str()), "{lost_and_kept}");
    server.stop().await;
}

#[tokio::test]
async fn it_keeps_texts_or_nothing_when_told_so() {
    for (statements, expected) in [("text", "SELECT ''x'' AS a"), ("none", "null")] {
        let server = Guarded::with(tempfile::tempdir().unwrap(), &[("audit.statements", statements)]).await;
        server.run("SELECT 'x' AS a").await;
        server.run("CREATE USER pat PASSWORD 'pat-password'").await;
        let kept = server.audit("statement", "action = 'query' AND objects IS NULL").await;
        assert_eq!(kept, expected.replace("''", "'"));
        assert_eq!(server.audit("count(*)", "statement LIKE '%pat-password%'").await, "0");
        server.stop().await;
    }
    let server = Guarded::with(tempfile::tempdir().unwrap(), &[("audit.mode", "off")]).await;
    server.run("SELECT 1").await;
    assert_eq!(server.over_http(&server.admin, "SELECT count(*) FROM system.audit").await, "0");
    server.stop().await;
}
