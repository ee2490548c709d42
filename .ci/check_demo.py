"""Checks what `taskq demo --json` printed: the five results and the summary."""

import json
import sys

EXPECTED = {
    "to_uppercase": ({"text": "hello, world"}, "HELLO, WORLD"),
    "to_lowercase": ({"text": "HELLO, WORLD"}, "hello, world"),
    "reverse_string": ({"text": "hello, world"}, "dlrow ,olleh"),
    "count_chars": ({"text": "hello, world"}, 12),
    "repeat_string": ({"text": "ha", "times": 3}, "hahaha"),
}

with open(sys.argv[1], encoding="utf-8") as file:
    lines = [json.loads(line) for line in file]
*reports, last = lines
summary = last["summary"]

for report in reports:
    print(f"{report['task']}({report['args']}) = {report['result']!r} on {report['worker']}")
    assert report["state"] == "succeeded", report
    assert (report["args"], report["result"]) == EXPECTED[report["task"]], report
    assert report["id"] and report["worker"] and report["attempt"] >= 1, report
assert {report["task"] for report in reports} == set(EXPECTED), reports
assert len(reports) == 5, reports

assert (summary["sent"], summary["succeeded"], summary["failed"]) == (5, 5, 0), summary
assert sum(summary["by_worker"].values()) == 5, summary
print(f"5 of 5 in {summary['seconds']:.2f} s, by {summary['by_worker']}")
