//! Results of several endpoints: whose they are, and that limits and KILL QUERY hold for all endpoints together.

use super::kill::{KILLED, running};
use super::*;
use arrow_flight::Ticket;
use futures::future::join_all;
use tonic::Code;

/// The tickets of a statement of `user`, and a client to fetch them.
async fn divided(server: &Guarded, user: &str, sql: &str) -> (FlightSqlServiceClient<Channel>, Vec<Ticket>) {
    let mut client = server.flight(&as_user(user)).await;
    fetch(&mut client, "SET adlake.result_endpoints = 2").await.unwrap();
    let info = client.execute(sql.to_owned(), None).await.unwrap();
    let tickets: Vec<Ticket> = info.endpoint.into_iter().map(|endpoint| endpoint.ticket.unwrap()).collect();
    assert_eq!(tickets.len(), 2);
    (client, tickets)
}

/// How many rows come by an endpoint.
async fn drained(mut client: FlightSqlServiceClient<Channel>, ticket: Ticket) -> Result<usize, FlightError> {
    let mut batches = client.do_get(ticket).await?;
    let mut rows = 0;
    while let Some(batch) = batches.try_next().await? {
        rows += batch.num_rows();
    }
    Ok(rows)
}

#[tokio::test]
async fn an_endpoint_is_nobody_elses() {
    let server = Guarded::with_people().await;
    let (client, tickets) = divided(&server, "pat", "SELECT value FROM generate_series(1, 10000)").await;
    for other in [as_user("pia"), server.admin.clone()] {
        let other = server.flight(&other).await;
        let refused = drained(other, tickets[0].clone()).await.unwrap_err();
        assert_eq!(status_of(&refused).code(), Code::NotFound);
    }
    let again = server.flight(&as_user("pat")).await;
    let rows = drained(again, tickets[0].clone()).await.unwrap() + drained(client, tickets[1].clone()).await.unwrap();
    assert_eq!(rows, 10_000, "by any connection of its owner");
    // What a policy keeps from its owner stays hidden, whoever reads.
    let (client, tickets) = divided(&server, "pat", "SELECT id FROM sales").await;
    let rows = join_all(tickets.into_iter().map(|ticket| drained(client.clone(), ticket))).await;
    assert_eq!(rows.into_iter().map(Result::unwrap).sum::<usize>(), 2);
    server.stop().await;
}

#[tokio::test]
async fn limits_hold_for_all_endpoints_together() {
    let settings = [("auth.limits.result_rows", "partner=100000"), ("auth.limits.concurrent_statements", "partner=1")];
    let server = Guarded::with_people_and(&settings).await;
    let (client, tickets) = divided(&server, "pat", ENDLESS).await;
    for refused in join_all(tickets.into_iter().map(|ticket| drained(client.clone(), ticket))).await {
        let refused = refused.unwrap_err();
        let refused = status_of(&refused);
        assert_eq!(refused.code(), Code::ResourceExhausted);
        assert!(refused.message().contains("more than 100000 rows"), "{}", refused.message());
    }
    assert_eq!(server.over_http(&as_user("pat"), "SELECT 1").await, "1", "its place is free");
    server.stop().await;
}

#[tokio::test]
async fn a_killed_query_ends_at_all_endpoints() {
    let server = Guarded::with_people().await;
    let (client, tickets) = divided(&server, "ana", ENDLESS).await;
    let killing = async {
        let id = running(&server, "ana", "SELECT value%").await;
        server.over_http(&server.admin, &format!("KILL QUERY '{id}'")).await
    };
    let reading = join_all(tickets.into_iter().map(|ticket| drained(client.clone(), ticket)));
    let (ends, killed) = futures::join!(reading, killing);
    assert_eq!(killed, "done");
    for end in ends {
        let end = end.unwrap_err();
        let end = status_of(&end);
        assert_eq!((end.code(), end.message()), (Code::Cancelled, KILLED));
    }
    server.stop().await;
}
