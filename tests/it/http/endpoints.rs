//! Endpoints defined in SQL: parameters, filters, shapes, creation and removal without restart.

use super::*;

const COUNT: &str = "-- How many clicks an ad got.\n\
    CREATE ENDPOINT clicks_of (ad_id VARCHAR, \
      \"from\" TIMESTAMP WITH TIME ZONE DEFAULT now() - INTERVAL '1 hour', \
      \"to\" TIMESTAMP WITH TIME ZONE DEFAULT now()) \
    WITH (path='/v1/ads/{ad_id}/clicks', filters='country, user_id', result='object') AS \
    SELECT $ad_id AS ad_id, count(*) AS count FROM clicks \
    WHERE ad_id = $ad_id AND event_time >= $from AND event_time < $to AND adlake_filters()";

const TOP: &str = "CREATE ENDPOINT top (count BIGINT DEFAULT 10, minimum DECIMAL(10, 2) DEFAULT 0) \
    WITH (path='/v1/ads/top') AS \
    SELECT ad_id, sum(price) AS spend FROM clicks GROUP BY ad_id HAVING sum(price) >= $minimum ORDER BY spend DESC LIMIT $count";

async fn server() -> Server {
    let server = Server::with_clicks().await;
    server.run(COUNT).await;
    server.run(TOP).await;
    server
}

#[tokio::test]
async fn parameters_defaults_and_filters() {
    let server = server().await;
    let count = async |query: &str| json_of(server.get(&format!("/v1/ads/a/clicks{query}"))).await;
    assert_eq!(count("").await, json!({ "ad_id": "a", "count": 2 }), "the last hour before noon");
    assert_eq!(count("?from=2017-11-07T00:00:00Z").await["count"], 3);
    assert_eq!(count("?from=1510050600000&to=2017-11-07T11:30:00Z").await["count"], 2, "half-open");
    assert_eq!(count("?from=2017-11-07T20:15:00%2B09:00").await["count"], 2);
    assert_eq!(count("?from=2017-11-07T20:15:00+09:00").await["count"], 2);
    let all = "?from=2017-11-07T00:00:00Z";
    assert_eq!(count(&format!("{all}&filter=country:KR")).await["count"], 2);
    assert_eq!(count(&format!("{all}&filter=country:KR&filter=country:US")).await["count"], 3, "one column: or");
    assert_eq!(count(&format!("{all}&filter=country:KR&filter=user_id:2")).await["count"], 1, "two columns: and");
    assert_eq!(count(&format!("{all}&filter=country:%27%20OR%20true--")).await["count"], 0, "values are bound");
    assert_eq!(json_of(server.get("/v1/ads/none%2Fsuch/clicks")).await, json!({ "ad_id": "none/such", "count": 0 }));
    server.clock.advance(Duration::from_secs(20 * 60));
    assert_eq!(count("").await["count"], 1, "defaults follow the clock");
    server.stop().await;
}

#[tokio::test]
async fn values_outside_a_parameters_range_are_refused() {
    let server = server().await;
    server
        .run(
            "CREATE ENDPOINT some (count BIGINT DEFAULT 2 CHECK (count BETWEEN 1 AND 3), share DOUBLE DEFAULT 0 CHECK (share >= -0.5)) \
             WITH (path='/v1/some') AS SELECT ad_id, $share AS share FROM clicks ORDER BY ad_id LIMIT $count",
        )
        .await;
    for (query, count) in [("", 2), ("?count=1", 1), ("?count=3&share=-0.5", 3)] {
        let reply = json_of(server.get(&format!("/v1/some{query}"))).await;
        assert_eq!(reply["rows"].as_array().unwrap().len(), count, "{reply}");
    }
    let bad = async |query: &str, parameter: &str, part: &str| {
        let problem = problem_of(server.get(&format!("/v1/some{query}")), 400).await;
        assert_eq!(problem["parameter"], parameter, "{problem}");
        says(&problem, part);
    };
    bad("?count=0", "count", "parameter 'count': 0 is out of range; it takes from 1 to 3").await;
    bad("?count=-1", "count", "from 1 to 3").await;
    bad("?count=4", "count", "from 1 to 3").await;
    bad("?share=-0.51", "share", "at least -0.5").await;
    let described = json_of(server.get("/openapi.json")).await;
    let schema = &described["paths"]["/v1/some"]["get"]["parameters"][0]["schema"];
    assert_eq!((&schema["minimum"], &schema["maximum"]), (&json!(1), &json!(3)), "{schema}");
    server.stop().await;
}

#[tokio::test]
async fn a_reply_is_not_sent_again_while_its_tables_are_the_same() {
    let server = server().await;
    let path = |from: &str| format!("/v1/ads/a/clicks?from={from}&to=2017-11-08T00:00:00Z");
    let morning = path("2017-11-07T00:00:00Z");
    let reply = server.get(&morning).send().await.unwrap();
    let tag = header(&reply, "etag");
    assert!(tag.starts_with("W/\"") && tag.len() > 20, "{tag}");
    let again = async |path: &str, known: &str| server.get(path).header("if-none-match", known).send().await.unwrap();

    for known in [tag.clone(), format!("\"other\", {tag}"), tag.trim_start_matches("W/").to_owned(), "*".to_owned()] {
        let reply = again(&morning, &known).await;
        assert_eq!((reply.status(), header(&reply, "etag")), (StatusCode::NOT_MODIFIED, tag.clone()), "{known}");
        assert!(!header(&reply, "adlake-data-as-of").is_empty());
        assert_eq!(reply.text().await.unwrap(), "");
    }
    assert_eq!(again(&path("2017-11-07T11:00:00Z"), &tag).await.status(), StatusCode::OK, "other parameters");
    assert_eq!(again(&format!("{morning}&filter=country:KR"), &tag).await.status(), StatusCode::OK, "a filter");

    let click = json!([{"event_id":"5","event_time":"2017-11-07T11:50:00Z","ad_id":"a"}]);
    json_of(server.request(Method::POST, "/v1/tables/clicks/rows").json(&click)).await;
    let reply = again(&morning, &tag).await;
    assert_eq!(reply.status(), StatusCode::OK, "the table has changed");
    assert_ne!(header(&reply, "etag"), tag);
    let body: Value = serde_json::from_str(&reply.text().await.unwrap()).unwrap();
    assert_eq!(body["count"], 4);

    // Defaults are now(): tomorrow's answer is another one though no table has changed.
    assert_eq!(header(&server.get("/v1/ads/a/clicks").send().await.unwrap(), "etag"), "");
    server.run("CREATE ENDPOINT running WITH (path='/v1/running') AS SELECT count(*) AS n FROM system.tables").await;
    assert_eq!(header(&server.get("/v1/running").send().await.unwrap(), "etag"), "");
    server.stop().await;
}

#[tokio::test]
async fn bad_requests_name_the_parameter() {
    let server = server().await;
    let bad = async |query: &str, parameter: &str, part: &str| {
        let problem = problem_of(server.get(&format!("/v1/ads/a/clicks{query}")), 400).await;
        assert_eq!(problem["parameter"], parameter, "{problem}");
        says(&problem, part);
    };
    bad("?from=yesterday", "from", "RFC 3339").await;
    bad("?from=", "from", "RFC 3339").await;
    bad("?to=2017-11-07", "to", "RFC 3339").await;
    bad("?form=1", "form", "did you mean 'from'?").await;
    bad("?from=1&from=2", "from", "more than once").await;
    bad("?from=2&to=1", "from", "later than 'to'").await;
    bad("?ad_id=b", "ad_id", "unknown").await;
    bad("?filter=KR", "filter", "column:value").await;
    bad("?filter=contry:KR", "filter", "did you mean 'country'?").await;
    bad("?filter=price:1", "filter", "country, user_id").await;
    bad("?filter=user_id:x", "filter", "whole number").await;
    bad("?from=%ff", "from", "UTF-8").await;
    let many = format!("?{}", vec!["filter=country:KR"; 101].join("&"));
    bad(&many, "filter", "at most 100").await;
    server.stop().await;
}

#[tokio::test]
async fn rows_in_every_form() {
    let server = server().await;
    assert_eq!(
        json_of(server.get("/v1/ads/top")).await,
        json!({ "rows": [{ "ad_id": "b", "spend": 2.0 }, { "ad_id": "a", "spend": 1.75 }] })
    );
    assert_eq!(json_of(server.get("/v1/ads/top?count=1")).await["rows"].as_array().unwrap().len(), 1);
    assert_eq!(json_of(server.get("/v1/ads/top?minimum=1.76")).await["rows"].as_array().unwrap().len(), 1);
    says(&problem_of(server.get("/v1/ads/top?minimum=1.755"), 400).await, "2 of them after the point");
    says(&problem_of(server.get("/v1/ads/top?filter=country:KR"), 400).await, "unknown query parameter 'filter'");
    let csv = server.get("/v1/ads/top").header("accept", "text/csv").send().await.unwrap();
    assert!(header(&csv, "adlake-data-as-of").starts_with("2017-11-07T12:00"));
    assert_eq!(csv.text().await.unwrap().lines().next(), Some("ad_id,spend"));
    let head = server.request(Method::HEAD, "/v1/ads/top").send().await.unwrap();
    assert_eq!((head.status().as_u16(), head.bytes().await.unwrap().len()), (200, 0));
    let reply = server.request(Method::POST, "/v1/ads/top").send().await.unwrap();
    assert_eq!(header(&reply, "allow"), "GET, HEAD");
    check_problem(reply, 405).await;
    server.stop().await;
}

#[tokio::test]
async fn required_parameters_and_empty_objects() {
    let server = Server::with_clicks().await;
    server
        .run(
            "CREATE ENDPOINT click (id VARCHAR) WITH (path='/v1/click', result='object') AS \
             SELECT event_id, ad_id FROM clicks WHERE event_id = $id OR ad_id = $id",
        )
        .await;
    let problem = problem_of(server.get("/v1/click"), 400).await;
    assert_eq!(problem["parameter"], "id");
    says(&problem, "required");
    assert_eq!(json_of(server.get("/v1/click?id=4")).await, json!({ "event_id": "4", "ad_id": "b" }));
    problem_of(server.get("/v1/click?id=none"), 404).await;
    says(&problem_of(server.get("/v1/click?id=a"), 500).await, "more than one row");
    server.stop().await;
}

#[tokio::test]
async fn created_replaced_and_dropped_without_restart() {
    let server = Server::with_clicks().await;
    problem_of(server.get("/v1/ads/top"), 404).await;
    server.run(TOP).await;
    assert!(json_of(server.get("/v1/ads/top")).await["rows"].is_array());
    server.run("CREATE OR REPLACE ENDPOINT top WITH (path='/v1/ads/top', result='object') AS SELECT 1 AS one").await;
    assert_eq!(json_of(server.get("/v1/ads/top")).await, json!({ "one": 1 }));
    server
        .run("CREATE ENDPOINT any_ad (ad VARCHAR) WITH (path='/v1/ads/{ad}', result='object') AS SELECT $ad AS ad")
        .await;
    assert_eq!(json_of(server.get("/v1/ads/x")).await, json!({ "ad": "x" }));
    assert_eq!(json_of(server.get("/v1/ads/top")).await, json!({ "one": 1 }), "the literal path wins");
    let index = json_of(server.get("/")).await;
    assert_eq!(index["endpoints"].as_array().unwrap().len(), 2, "{index}");
    server.run("DROP ENDPOINT top").await;
    assert_eq!(json_of(server.get("/v1/ads/top")).await, json!({ "ad": "top" }));
    server.stop().await;
}

#[tokio::test]
async fn the_openapi_document_follows_the_catalog() {
    let server = Server::with_clicks().await;
    let before = json_of(server.get("/openapi.json")).await;
    assert_eq!(before["openapi"], "3.1.0");
    assert!(before["paths"]["/v1/sql"]["post"].is_object());
    assert!(before["paths"]["/v1/ads/{ad_id}/clicks"].is_null());
    server.run(COUNT).await;
    server.run(TOP).await;
    let after = json_of(server.get("/openapi.json")).await;
    let count = &after["paths"]["/v1/ads/{ad_id}/clicks"]["get"];
    assert_eq!(count["summary"], "How many clicks an ad got.");
    let names: Vec<&str> =
        count["parameters"].as_array().unwrap().iter().map(|p| p["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["ad_id", "from", "to", "filter", "adlake-max-staleness"]);
    let content = &count["responses"]["200"]["content"]["application/json"]["schema"];
    assert_eq!(content["properties"]["count"]["type"][0], "integer", "{content}");
    let limit = &after["paths"]["/v1/ads/top"]["get"]["parameters"][0];
    assert_eq!((&limit["required"], &limit["schema"]["default"]), (&json!(false), &json!(10)), "{limit}");
    server.stop().await;
}

#[tokio::test]
async fn many_askers_at_once_get_the_same_answer() {
    let server = server().await;
    let asks = (0..200).map(|_| json_of(server.get("/v1/ads/a/clicks?from=2017-11-07T00:00:00Z&filter=country:KR")));
    for answer in futures::future::join_all(asks).await {
        assert_eq!(answer, json!({ "ad_id": "a", "count": 2 }));
    }
    server.stop().await;
}
