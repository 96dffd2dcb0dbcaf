//! Table definitions: stored form pinned, names of hidden columns, what is refused.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Date32Array, Int64Array, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use arrow::record_batch::RecordBatch;

use super::*;

fn clicks() -> TableSpec {
    let utc = DataType::Timestamp(TimeUnit::Nanosecond, Some("+00:00".into()));
    TableSpec {
        path: "clicks".to_owned(),
        columns: Arc::new(Schema::new(vec![
            Field::new("event_id", DataType::Utf8View, false),
            Field::new("event_time", utc, false),
            Field::new("ad_id", DataType::LargeUtf8, true),
        ])),
        event_time: Some("event_time".to_owned()),
        event_key: Some("event_id".to_owned()),
        partition_by: vec![Partitioning { column: "event_time".to_owned(), transform: Transform::Day }],
        sort_by: vec!["ad_id".to_owned(), "event_time".to_owned()],
        bloom_columns: vec!["ad_id".to_owned()],
    }
}

fn refusal(change: impl FnOnce(&mut TableSpec)) -> String {
    let mut spec = clicks();
    change(&mut spec);
    spec.storable().expect_err("must be refused").to_string()
}

#[test]
fn types_are_mapped_to_what_is_stored() {
    let spec = clicks().storable().unwrap();
    assert_eq!(spec.column("event_id").unwrap().data_type(), &DataType::Utf8);
    let time = spec.column("event_time").unwrap();
    assert_eq!(time.data_type(), &DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())));
    let physical = spec.physical_schema();
    assert_eq!(physical.field(3), &Field::new("event_time_day", DataType::Date32, false));
    assert_eq!(spec.partition_columns(), ["event_time_day"]);
}

#[test]
fn what_cannot_be_stored_is_refused_by_name() {
    let with_type = |data_type: DataType| {
        refusal(|spec| spec.columns = Arc::new(Schema::new(vec![Field::new("n", data_type, true)])))
    };
    assert_eq!(with_type(DataType::UInt8), "column 'n' has type UInt8, which tables cannot store; use SMALLINT");
    assert!(with_type(DataType::Time64(TimeUnit::Microsecond)).contains("TIMESTAMP WITH TIME ZONE"));
    assert!(refusal(|spec| spec.sort_by = vec!["ad_di".to_owned()]).contains("did you mean 'ad_id'?"));
    assert!(refusal(|spec| spec.event_time = Some("ad_id".to_owned())).contains("TIMESTAMP WITH TIME ZONE"));
    assert!(refusal(|spec| spec.path = "../x".to_owned()).contains("folder"));
    let twice = |spec: &mut TableSpec| spec.partition_by.push(spec.partition_by[0].clone());
    assert!(refusal(twice).contains("twice"));
    let clash = |spec: &mut TableSpec| {
        let mut fields = spec.columns.fields().to_vec();
        fields.push(Arc::new(Field::new("event_time_day", DataType::Int32, true)));
        spec.columns = Arc::new(Schema::new(fields));
    };
    assert!(refusal(clash).contains("rename"));
}

#[test]
fn stored_form_is_pinned() {
    let spec = clicks().storable().unwrap();
    let property = to_property(&spec).unwrap();
    assert_eq!(
        property,
        r#"{"format":1,"event_time":"event_time","event_key":"event_id","partition_by":[{"column":"event_time","transform":"day"}],"sort_by":["ad_id","event_time"],"bloom_columns":["ad_id"]}"#
    );
    let configuration = HashMap::from([(SPEC_PROPERTY.to_owned(), property)]);
    let back = from_metadata("clicks", &spec.physical_schema(), &spec.partition_columns(), &configuration).unwrap();
    assert_eq!(back, spec);
}

#[test]
fn newer_formats_are_refused_not_misread() {
    let configuration = HashMap::from([(SPEC_PROPERTY.to_owned(), r#"{"format":2}"#.to_owned())]);
    let error = from_metadata("clicks", &Schema::empty(), &[], &configuration).unwrap_err();
    assert!(error.to_string().contains("update adlake"), "{error}");
}

#[test]
fn tables_of_others_are_plain() {
    let physical = Schema::new(vec![Field::new("n", DataType::Int64, true), Field::new("p", DataType::Utf8, true)]);
    let spec = from_metadata("other", &physical, &["p".to_owned()], &HashMap::new()).unwrap();
    assert_eq!(spec.partition_by, [Partitioning { column: "p".to_owned(), transform: Transform::Identity }]);
    assert_eq!(spec.file_schema().fields().len(), 1);
}

#[test]
fn partition_values_are_floors_in_utc_before_1970_too() {
    let times = [Some(0), Some(-1), Some(86_400_000_000), None, Some(1_583_020_799_999_999)];
    let array: ArrayRef = Arc::new(TimestampMicrosecondArray::from(times.to_vec()).with_timezone("UTC"));
    let schema = Arc::new(Schema::new(vec![Field::new("event_time", array.data_type().clone(), true)]));
    let batch = RecordBatch::try_new(schema.clone(), vec![array]).unwrap();
    let mut spec = clicks();
    spec.columns = schema;
    let mut values = |transform| {
        spec.partition_by[0].transform = transform;
        partition_arrays(&spec, &batch).unwrap().remove(0)
    };
    let dates = |days: [Option<i32>; 5]| -> ArrayRef { Arc::new(Date32Array::from(days.to_vec())) };
    assert_eq!(&values(Transform::Day), &dates([Some(0), Some(-1), Some(1), None, Some(18_321)]));
    assert_eq!(&values(Transform::Month), &dates([Some(0), Some(-31), Some(0), None, Some(18_293)]));
    let hours = arrow::compute::cast(&values(Transform::Hour), &DataType::Int64).unwrap();
    let expected = [Some(0), Some(-3_600_000_000), Some(86_400_000_000), None, Some(1_583_017_200_000_000)];
    assert_eq!(&hours, &(Arc::new(Int64Array::from(expected.to_vec())) as ArrayRef));
}
