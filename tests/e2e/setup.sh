#!/usr/bin/env bash
# Installs the real clients the end-to-end tests use, under tests/.tools: a Python environment, the JDBC driver, Go's clients.
# Runs again only when what it installs has changed, so a prepared machine needs no network.
set -euo pipefail
cd "$(dirname "$0")"
TOOLS=$(cd .. && pwd)/.tools
mkdir -p "$TOOLS/bin"

done_before() { [ -f "$2" ] && [ "$(cat "$2")" = "$1" ]; }
retry() { for attempt in 1 2 3; do "$@" && return 0; echo "attempt $attempt failed: $*" >&2; sleep $((attempt * 5)); done; return 1; }

# A Python environment with what a file of requirements asks for, in the versions that a file of constraints pins
# (made anew, after a change of requirements, with `pip freeze`).
environment() {
  local folder=$TOOLS/$1 requirements; requirements=$(cat "$2" "$3" | sha256sum | cut -d' ' -f1)
  done_before "$requirements" "$folder/.installed" && return 0
  [ -x "$folder/bin/pip" ] || python3 -m venv "$folder"
  retry "$folder/bin/pip" install --quiet --disable-pip-version-check -r "$2" -c "$3"
  echo "$requirements" >"$folder/.installed"
}
environment venv requirements.txt constraints.txt
environment duckdb requirements-duckdb.txt /dev/null
environment superset requirements-superset.txt constraints-superset.txt

sources=$(cat jdbc/pom.xml $(find jdbc/src -name '*.java' | sort) | sha256sum | cut -d' ' -f1)
if ! done_before "$sources" "$TOOLS/jdbc/.installed"; then
  mvn --quiet --batch-mode --offline -f jdbc/pom.xml package >/dev/null 2>&1 || retry mvn -U --quiet --batch-mode -f jdbc/pom.xml package
  echo "$sources" >"$TOOLS/jdbc/.installed"
fi

# Go's clients, as one test binary.
sources=$(cat go/go.mod go/go.sum go/*.go | sha256sum | cut -d' ' -f1)
if ! done_before "$sources" "$TOOLS/go/.installed"; then
  mkdir -p "$TOOLS/go"
  (cd go && retry go test -c -o "$TOOLS/go/conformance" . && go vet .)
  echo "$sources" >"$TOOLS/go/.installed"
fi

# A real S3-compatible server, built from its Go module: Apache-2.0, small, one binary, atomic create-if-absent (see test_s3.py).
gateway=github.com/versity/versitygw/cmd/versitygw@v1.8.0
if ! done_before "$gateway" "$TOOLS/bin/.versitygw"; then
  GOBIN="$TOOLS/bin" retry go install "$gateway"
  echo "$gateway" >"$TOOLS/bin/.versitygw"
fi
