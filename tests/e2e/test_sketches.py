"""Sketches go between adlake and Apache's own `datasketches` both ways, and the same values give the same sketch."""

import adbc_driver_flightsql.dbapi as flight
import datasketches as ds
import pytest

COUNTS = [0, 1, 5, 100, 3_000, 50_000]


@pytest.fixture
def ask(server):
    with flight.connect(server.flight_url, autocommit=True) as connection, connection.cursor() as cursor:

        def run(sql):
            cursor.execute(sql)
            (row,) = cursor.fetchall()
            return row

        yield run


def hexed(sketch):
    return f"X'{bytes(sketch).hex()}'"


def hll(values, lg_k=12, kind=ds.tgt_hll_type.HLL_4):
    sketch = ds.hll_sketch(lg_k, kind)
    for value in values:
        sketch.update(value)
    return sketch


def composite(sketch):
    """The estimate by the registers alone, which does not depend on the order of values."""
    image = bytearray(sketch.serialize_compact())
    if image[7] & 3 == 2:  # registers, not coupons
        image[5] |= 16  # out of order
    return ds.hll_sketch.deserialize(bytes(image)).get_estimate()


def theta(values):
    sketch = ds.update_theta_sketch()
    for value in values:
        sketch.update(value)
    return sketch


@pytest.mark.parametrize("count", COUNTS)
def test_hll(ask, count):
    values = f"(SELECT 'user ' || value AS u, value FROM generate_series(1, {count}))"
    ours, estimate, lower, upper = ask(
        f"SELECT s, hll_estimate(s), hll_lower(s), hll_upper(s) FROM (SELECT hll_sketch(u) AS s FROM {values})"
    )
    read = ds.hll_sketch.deserialize(ours)
    assert read.get_estimate() == pytest.approx(estimate, rel=1e-12)
    assert read.get_lower_bound(2) == pytest.approx(lower, rel=1e-12)
    assert read.get_upper_bound(2) == pytest.approx(upper, rel=1e-12)

    # The same values: nothing is added by either side.
    theirs = hll(f"user {value}" for value in range(1, count + 1))
    union = ds.hll_union(12)
    union.update(theirs)
    union.update(read)
    assert composite(union.get_result()) == pytest.approx(composite(theirs), rel=1e-12)
    assert composite(union.get_result()) == pytest.approx(estimate, rel=1e-12)
    for image in (theirs.serialize_compact(), theirs.serialize_updatable()):
        (same,) = ask(
            f"SELECT hll_union(s) = (SELECT hll_sketch(u) FROM {values}) FROM"
            f" (SELECT {hexed(image)} AS s UNION ALL SELECT hll_sketch(u) FROM {values})"
        )
        assert same

    # Half of theirs is new to ours.
    more = hll((f"user {value}" for value in range(count // 2, count // 2 + count)), kind=ds.tgt_hll_type.HLL_8)
    union.update(more)
    (both,) = ask(
        f"SELECT hll_estimate(hll_union(s)) FROM"
        f" (SELECT {hexed(more.serialize_compact())} AS s UNION ALL SELECT hll_sketch(u) FROM {values})"
    )
    assert both == pytest.approx(composite(union.get_result()), rel=1e-12)


@pytest.mark.parametrize("kind", [ds.tgt_hll_type.HLL_4, ds.tgt_hll_type.HLL_6, ds.tgt_hll_type.HLL_8])
@pytest.mark.parametrize("lg_k", [4, 8, 14])
def test_hll_of_every_form(ask, kind, lg_k):
    for count in (3, 300, 30_000):
        theirs = hll(range(count), lg_k, kind)
        for image in (theirs.serialize_compact(), theirs.serialize_updatable()):
            estimate, again = ask(f"SELECT hll_estimate(s), hll_estimate(hll_union(s)) FROM (SELECT {hexed(image)} AS s) GROUP BY s")
            assert estimate == pytest.approx(theirs.get_estimate(), rel=1e-12)
            assert again == pytest.approx(composite(theirs), rel=1e-12)


def test_every_type_hashes_as_theirs(ask):
    sketches = {
        "CAST(-7 AS TINYINT)": -7,
        "CAST(-7 AS BIGINT)": -7,
        "CAST(2.5 AS REAL)": 2.5,
        "CAST(-0.0 AS DOUBLE)": 0.0,
        "'grün'": "grün",
        "DATE '1970-01-11'": 10,
        "TIMESTAMP '1970-01-01 00:00:02'": 2_000_000,
        "CAST('-1.50' AS DECIMAL(9, 2))": "-1.50",
    }
    for sql, value in sketches.items():
        ours, our_theta = ask(f"SELECT hll_sketch(x), theta_sketch(x) FROM (SELECT {sql} AS x)")
        assert bytes(ours) == bytes(hll([value]).serialize_compact()), sql
        assert bytes(our_theta) == bytes(theta([value]).compact().serialize()), sql
    (empty,) = ask("SELECT hll_sketch('')")
    assert ds.hll_sketch.deserialize(empty).is_empty()


@pytest.mark.parametrize("count", COUNTS)
def test_theta(ask, count):
    values = f"(SELECT value FROM generate_series(1, {count}))"
    ours, estimate, lower, upper = ask(
        f"SELECT s, theta_estimate(s), theta_lower(s), theta_upper(s) FROM (SELECT theta_sketch(value) AS s FROM {values})"
    )
    read = ds.compact_theta_sketch.deserialize(ours)
    assert read.get_estimate() == pytest.approx(estimate, rel=1e-12)
    assert read.get_lower_bound(2) == pytest.approx(lower, rel=1e-9)
    assert read.get_upper_bound(2) == pytest.approx(upper, rel=1e-9)

    theirs = theta(range(count // 2 + 1, count // 2 + count + 1)).compact()
    union = ds.theta_union()
    union.update(theirs)
    union.update(read)
    intersection = ds.theta_intersection()
    intersection.update(read)
    intersection.update(theirs)
    image = hexed(theirs.serialize())
    united, both, only = ask(
        f"SELECT theta_estimate(theta_union(s)), theta_estimate(theta_intersect(max(ours), {image})),"
        f" theta_estimate(theta_difference(max(ours), {image})) FROM"
        f" (SELECT {image} AS s, NULL AS ours UNION ALL SELECT theta_sketch(value), theta_sketch(value) FROM {values})"
    )
    assert united == pytest.approx(union.get_result().get_estimate(), rel=0.05)
    assert both == pytest.approx(intersection.get_result().get_estimate(), rel=0.001)
    assert only == pytest.approx(ds.theta_a_not_b().compute(read, theirs).get_estimate(), rel=0.001)


@pytest.mark.parametrize("count", COUNTS)
def test_kll(ask, count):
    values = f"(SELECT value FROM generate_series(1, {count}))"
    ours, median = ask(f"SELECT s, kll_quantile(s, 0.5) FROM (SELECT kll_sketch(value) AS s FROM {values})")
    read = ds.kll_doubles_sketch.deserialize(ours)
    assert read.n == count
    if count == 0:
        assert median is None and read.is_empty()
        return
    assert read.get_quantile(0.5, True) == median
    assert read.get_min_value() == 1 and read.get_max_value() == count

    theirs = ds.kll_doubles_sketch(200)
    for value in range(count, 3 * count):
        theirs.update(float(value + 1))
    read.merge(theirs)
    assert read.n == 3 * count
    merged, two_thirds = ask(
        f"SELECT s, kll_quantile(s, 0.66) FROM (SELECT kll_merge(s) AS s FROM"
        f" (SELECT {hexed(theirs.serialize())} AS s UNION ALL SELECT kll_sketch(value) FROM {values}))"
    )
    assert ds.kll_doubles_sketch.deserialize(merged).n == 3 * count
    assert two_thirds == pytest.approx(1.98 * count, abs=max(1, 0.1 * count))


def test_damaged_bytes_are_errors(ask):
    good = bytes(hll(range(30_000)).serialize_compact())
    for image in (b"", good[:7], good[:100], b"\x00" * 64, bytes(theta(range(10)).compact().serialize())):
        with pytest.raises(Exception, match="not an HLL sketch"):
            ask(f"SELECT hll_estimate({hexed(image)})")
