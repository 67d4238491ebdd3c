from datetime import UTC, datetime, timedelta
import json


def bench_records(n, devices=500):
    attrs = {str(k): (k * 7) % 1000 for k in range(200, 218)}
    attrs["78"] = {"__bigint": "1152921504606846976"}
    attrs["10828"] = {"__buffer_b64": "3q2+7w=="}
    a = json.dumps(attrs, separators=(",", ":"))
    start = datetime(2026, 5, 2, tzinfo=UTC)
    stamp = None
    for i in range(n):
        sec, dev = divmod(i, devices)
        if dev == 0:
            ts = (start + timedelta(seconds=sec)).strftime("%Y-%m-%dT%H:%M:%S.000Z")
        d = "%015d" % (356307042000000 + dev)
        yield [
            b"ts",
            ts.encode(),
            b"device_id",
            d.encode(),
            b"codec",
            b"8E",
            b"payload",
            (
                '{"device_id":"%s","timestamp":"%s","latitude":41.99,"longitude":21.43,"altitude":240,"angle":180,"speed":33,"satellites":12,"priority":0,"attributes":%s}'
                % (d, ts, a)
            ).encode(),
        ]
