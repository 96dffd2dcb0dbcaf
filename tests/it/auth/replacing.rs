//! A table that is replaced by rows: until it is, nothing of the new ones is anywhere to be read.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringArray};
use arrow_flight::sql::{CommandStatementIngest, TableDefinitionOptions, TableExistsOption, TableNotExistOption};
use futures::StreamExt;

use super::*;

fn batch(ids: &[i64], region: &str) -> RecordBatch {
    let columns: [(&str, ArrayRef); 2] = [
        ("id", Arc::new(Int64Array::from(ids.to_vec()))),
        ("region", Arc::new(StringArray::from(vec![region; ids.len()]))),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

fn replace_stock() -> CommandStatementIngest {
    let options = TableDefinitionOptions {
        if_exists: TableExistsOption::Replace.into(),
        if_not_exist: TableNotExistOption::Fail.into(),
    };
    CommandStatementIngest {
        table: "stock".to_owned(),
        table_definition_options: Some(options),
        ..CommandStatementIngest::default()
    }
}

/// Folders of tables whose name begins so.
fn folders(server: &Guarded, name: &str) -> usize {
    let tables = std::fs::read_dir(crate::place::files(server.folder.path()).join("tables")).unwrap();
    let is_table = |path: &std::path::Path| path.join("_delta_log/00000000000000000000.json").exists();
    let named = tables.map(|entry| entry.unwrap()).filter(|entry| is_table(&entry.path()));
    named.filter(|entry| entry.file_name().to_string_lossy().starts_with(name)).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_replace_a_table_are_read_under_its_name_only() {
    let server = Guarded::with_people().await;
    for sql in [
        "CREATE TABLE stock (id BIGINT, region VARCHAR)",
        "INSERT INTO stock VALUES (1, 'KR')",
        "CREATE POLICY own ON stock TO ROLE partner USING (region = current_attribute('region'))",
        "GRANT SELECT ON TABLE stock TO ROLE partner",
    ] {
        server.run(sql).await;
    }
    let lists = ["SELECT name FROM system.objects ORDER BY 1", "SELECT name FROM system.tables ORDER BY 1"];
    let listed = async |who: &str| {
        let authorization = if who == "admin" { server.admin.clone() } else { as_user(who) };
        let mut all = server.over_http(&authorization, lists[0]).await;
        all.push_str(&server.over_http(&authorization, lists[1]).await);
        all
    };
    let before = (listed("admin").await, listed("ana").await);
    let (go_on, stalled) = tokio::sync::oneshot::channel::<()>();
    let rest = futures::stream::once(async move {
        stalled.await.unwrap();
        Ok(batch(&[9], "US"))
    });
    let rows = futures::stream::iter([Ok(batch(&[7, 8], "KR"))]).chain(rest);
    let mut client = server.flight(&as_user("eve")).await;
    let mut ingest = tokio::task::JoinSet::new();
    ingest.spawn(async move { client.execute_ingest(replace_stock(), rows).await });
    while folders(&server, "stock") < 2 {
        tokio::task::yield_now().await;
    }
    for _ in 0..20 {
        assert_eq!((listed("admin").await, listed("ana").await), before);
    }
    let count = "SELECT count(*) FROM stock";
    assert_eq!(server.over_http(&as_user("pat"), count).await, "1", "the old rows");
    go_on.send(()).unwrap();
    assert_eq!(ingest.join_next().await.unwrap().unwrap().unwrap(), 3);
    for (who, expected) in [("ana", "0"), ("pat", "2"), ("pia", "1"), ("eve", "0")] {
        assert_eq!(server.over_http(&as_user(who), count).await, expected, "{who}");
    }
    assert_eq!(server.over_http(&server.admin, count).await, "3");
    assert_eq!((listed("admin").await, listed("ana").await), before);
    assert_eq!(folders(&server, "stock"), 1, "the old files are gone");
    // Nothing is left of a try that fails: a view would no longer work.
    server.run("CREATE VIEW regions AS SELECT region FROM stock").await;
    let ids: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    let rows = futures::stream::iter([Ok(RecordBatch::try_from_iter([("id", ids)]).unwrap())]);
    let mut client = server.flight(&as_user("eve")).await;
    assert!(client.execute_ingest(replace_stock(), rows).await.is_err());
    assert_eq!(folders(&server, "stock"), 1);
    assert_eq!(server.over_http(&server.admin, count).await, "3");
    server.stop().await;
}
