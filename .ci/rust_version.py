"""Fails when a dependency asks for a newer Rust than the workspace does."""

import json
import subprocess
import sys


def parts(version):
    numbers = [int(number) for number in version.split(".")]
    return tuple(numbers + [0] * (3 - len(numbers)))


metadata = json.loads(
    subprocess.check_output(["cargo", "metadata", "--format-version", "1", "--locked"])
)
members = set(metadata["workspace_members"])
ours = {p["rust_version"] for p in metadata["packages"] if p["id"] in members}
if len(ours) != 1 or None in ours:
    sys.exit(f"the crates of the workspace have different rust-versions: {ours}")
(own,) = ours

newer = [
    f"{p['name']} {p['version']} needs Rust {p['rust_version']}"
    for p in metadata["packages"]
    if p["rust_version"] and parts(p["rust_version"]) > parts(own)
]
if newer:
    sys.exit(
        f"the workspace says rust-version = {own}, and these ask for more:\n  "
        + "\n  ".join(newer)
        + "\nraise rust-version in Cargo.toml, or take an older version of them"
    )
print(f"{len(metadata['packages'])} packages, none needs more than Rust {own}")
