#!/usr/bin/env bash
# Installs the real clients the end-to-end tests use: a Python environment and the JDBC driver, under tests/.tools.
# Runs again only when what it installs has changed, so a prepared machine needs no network.
set -euo pipefail
cd "$(dirname "$0")"
TOOLS=$(cd .. && pwd)/.tools
mkdir -p "$TOOLS/bin"

done_before() { [ -f "$2" ] && [ "$(cat "$2")" = "$1" ]; }
retry() { for attempt in 1 2 3; do "$@" && return 0; echo "attempt $attempt failed: $*" >&2; sleep $((attempt * 5)); done; return 1; }

requirements=$(sha256sum requirements.txt | cut -d' ' -f1)
if ! done_before "$requirements" "$TOOLS/venv/.installed"; then
  [ -x "$TOOLS/venv/bin/python" ] || python3 -m venv "$TOOLS/venv"
  retry "$TOOLS/venv/bin/pip" install --quiet --disable-pip-version-check -r requirements.txt
  echo "$requirements" >"$TOOLS/venv/.installed"
fi

sources=$(cat jdbc/pom.xml $(find jdbc/src -name '*.java' | sort) | sha256sum | cut -d' ' -f1)
if ! done_before "$sources" "$TOOLS/jdbc/.installed"; then
  mvn --quiet --batch-mode --offline -f jdbc/pom.xml package >/dev/null 2>&1 || retry mvn --quiet --batch-mode -f jdbc/pom.xml package
  echo "$sources" >"$TOOLS/jdbc/.installed"
fi

# A real S3-compatible server, built from its Go module: Apache-2.0, small, one binary, atomic create-if-absent (see test_s3.py).
gateway=github.com/versity/versitygw/cmd/versitygw@v1.8.0
if ! done_before "$gateway" "$TOOLS/bin/.versitygw"; then
  GOBIN="$TOOLS/bin" retry go install "$gateway"
  echo "$gateway" >"$TOOLS/bin/.versitygw"
fi
