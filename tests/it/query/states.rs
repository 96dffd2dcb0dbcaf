//! Which answers are told by the versions they were read from (ETags are made of it): those that another run would give again.

use adlake::query::{Origin, Request, Session};

use crate::lab::Lab;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_by_chance_have_no_state() {
    let lab = Lab::open().await;
    lab.run("CREATE TABLE t (a BIGINT)").await;
    lab.run("CREATE VIEW v AS SELECT kll_sketch(a) AS sketch FROM t").await;
    let calls = Session::new("calls", "ann", Origin::Endpoint);
    for (sql, has_state) in [
        ("SELECT sum(a), hll_estimate(hll_sketch(a)) FROM t", true),
        ("SELECT sum(a) OVER (ORDER BY a) FROM t", true),
        ("SELECT kll_quantile(kll_sketch(a), 0.5) FROM t", false),
        ("SELECT kll_quantile(kll_merge(sketch), 0.5) FROM v", false),
        ("SELECT a FROM t WHERE a > (SELECT approx_median(a) FROM t)", false),
        ("SELECT approx_percentile_cont(0.5) WITHIN GROUP (ORDER BY a) FROM t", false),
        ("SELECT random() FROM t", false),
    ] {
        let answer = lab.engine.execute(Request::new(sql, &calls)).await.unwrap();
        assert_eq!(answer.state.is_some(), has_state, "{sql}");
    }
    let answer = lab.engine.execute(lab.request("SELECT sum(a) FROM t")).await.unwrap();
    assert_eq!(answer.state, None, "only calls of endpoints need it");
}
