#!/usr/bin/env python3
"""Counts the instructions that a task costs the producer and the worker.

    bench/instructions.py BENCH [OTHER_BENCH ...]

Each argument is a release build of the `bench` program. Seconds depend on what
else the machine does; instructions, counted by valgrind's callgrind, do not, so
two builds can be compared on a busy machine. What a task costs is the difference
between a run of few tasks and one of many, so that starting and connecting do not
count. The server's part is not counted.

Needs valgrind, and a nats-server in the PATH or as TASKQ_NATS_SERVER.
"""

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time

FEW, MANY = 1000, 5000


def main() -> int:
    if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
        print(__doc__, file=sys.stderr)
        return 2
    nats = os.environ.get("TASKQ_NATS_SERVER") or shutil.which("nats-server")
    for needed, there in [("valgrind", shutil.which("valgrind")), ("nats-server", nats)]:
        if not there:
            print(f"{needed} is not installed", file=sys.stderr)
            return 1
    for bench in sys.argv[1:]:
        costs = {role: cost(bench, nats, role) for role in ("producer", "worker")}
        print(bench, *(f"{role} {costs[role]:.0f}" for role in costs), "instructions a task")
    return 0


def cost(bench: str, nats: str, role: str) -> float:
    few, many = (count(bench, nats, role, tasks) for tasks in (FEW, MANY))
    return (many - few) / (MANY - FEW)


def count(bench: str, nats: str, role: str, tasks: int) -> int:
    """The instructions of a whole process that plays one part of the benchmark."""
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        server = subprocess.Popen(
            [nats, "-js", "-sd", folder, "-a", "127.0.0.1", "-p", str(port)],
            stderr=subprocess.DEVNULL,
        )
        counted = os.path.join(folder, "callgrind")
        try:
            answers(port)
            parts = {
                name: start(bench, name, port, tasks, counted if name == role else None)
                for name in ("worker", "producer")
            }
            # The producer sends all; the worker ends when it has run them.
            for name in ("producer", "worker"):
                parts[name].stdin.write("now\n")
                parts[name].stdin.flush()
                parts[name].stdout.readline()
            for part in parts.values():
                part.stdin.close()
                if part.wait(timeout=120) != 0:
                    raise SystemExit(f"{bench} failed")
        finally:
            server.terminate()
            server.wait()
        with open(counted, encoding="utf-8") as file:
            return int(re.search(r"^summary: (\d+)", file.read(), re.M)[1])


def start(bench, role, port, tasks, counted):
    command = [
        *(bench, "part", "--contender", "taskq", "--role", role, "--phase", "end_to_end"),
        *("--tasks", str(tasks), "--per-second", "200", "--url", f"nats://127.0.0.1:{port}"),
    ]
    if counted:
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={counted}", *command]
    part = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    line = part.stdout.readline()
    if line != "ready\n":
        raise SystemExit(f"{bench} said {line!r}, not that it is ready")
    return part


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def answers(port: int) -> None:
    until = time.monotonic() + 30
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)


if __name__ == "__main__":
    sys.exit(main())
