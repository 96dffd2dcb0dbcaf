#!/usr/bin/env bash
# Installs what the tests need and runs everything: fmt, clippy, unit, architecture, SQL, integration, real clients, and the
# real clients again with their lakes in a bucket. Stage `it-s3` (not among the default ones) runs the integration tests over a bucket.
# A missing tool is installed or fails the run; tests that are skipped are listed at the end. `bash tests/run.sh STAGE…` runs only those stages.
set -euo pipefail
cd "$(dirname "$0")/.."
ROOT=$PWD
STAGES=${*:-tools fmt clippy test release e2e s3}

# In CI, dependencies built by an earlier run are reused when they are there; nothing relies on it.
if [ -n "${CI:-}" ] && [ -z "${CARGO_TARGET_DIR:-}" ]; then
  export CARGO_TARGET_DIR="${XDG_CACHE_HOME:-$HOME/.cache}/adlake-target"
fi
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$ROOT/target}"
export CARGO_INCREMENTAL="${CARGO_INCREMENTAL:-$([ -n "${CI:-}" ] && echo 0 || echo 1)}"
export CARGO_NET_RETRY="${CARGO_NET_RETRY:-10}"
# CI repeats the same random cases of proptest, so that a failure can be repeated; another seed looks for new ones.
if [ -n "${CI:-}" ]; then export PROPTEST_RNG_SEED="${PROPTEST_RNG_SEED:-20261201}"; fi
VENV=$ROOT/tests/.tools/venv

stage() { printf '\n=== %s (%s)\n' "$1" "$(date -u +%H:%M:%S)"; }
wanted() { case " $STAGES " in *" $1 "*) return 0 ;; *) return 1 ;; esac; }

apt_install() {
  local missing=()
  for package in "$@"; do dpkg -s "$package" >/dev/null 2>&1 || missing+=("$package"); done
  [ ${#missing[@]} -eq 0 ] && return 0
  local sudo=""; [ "$(id -u)" -eq 0 ] || sudo=sudo
  $sudo apt-get update -qq -o Acquire::Retries=5
  DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq -o Acquire::Retries=5 --no-install-recommends "${missing[@]}" >/dev/null
}

tools() {
  command -v cargo >/dev/null || { echo "Rust is not installed; see README.md" >&2; exit 1; }
  rustup component list --installed 2>/dev/null | grep -q rustfmt || rustup component add rustfmt
  rustup component list --installed 2>/dev/null | grep -q clippy || rustup component add clippy
  command -v cc >/dev/null || apt_install build-essential
  command -v cmake >/dev/null || apt_install cmake
  command -v java >/dev/null || apt_install default-jdk-headless
  command -v mvn >/dev/null || apt_install maven
  command -v go >/dev/null || apt_install golang-go
  command -v tmux >/dev/null || apt_install tmux
  command -v curl >/dev/null || apt_install curl
  command -v openssl >/dev/null || apt_install openssl
  command -v psql >/dev/null || apt_install postgresql-client
  compgen -G '/usr/lib/*/faketime/libfaketimeMT.so.1' >/dev/null || apt_install libfaketime
  command -v python3 >/dev/null || apt_install python3
  python3 -c 'import venv, ensurepip' 2>/dev/null || apt_install python3-venv
  bash tests/e2e/setup.sh
}

if wanted tools; then stage "tools"; tools; fi
if wanted fmt; then stage "fmt"; cargo fmt --all -- --check; fi
if wanted clippy; then stage "clippy"; cargo clippy --locked --all-targets -- -D warnings; fi
if wanted test; then stage "unit, architecture, SQL and integration tests"; cargo test --locked --no-fail-fast; fi

# A real S3-compatible server for `it-s3`; it ends with this script.
gateway() {
  ADLAKE_TEST_S3_ROOT=$(mktemp -d); mkdir "$ADLAKE_TEST_S3_ROOT/lakes"
  local port; port=$(PYTHONPATH=tests/e2e python3 -c 'import support; print(support.free_port())')
  export ADLAKE_TEST_S3_ROOT ADLAKE_TEST_S3_ENDPOINT="http://127.0.0.1:$port"
  export AWS_ACCESS_KEY_ID=adlake-test AWS_SECRET_ACCESS_KEY=adlake-test-secret AWS_REGION=us-east-1
  tests/.tools/bin/versitygw --access "$AWS_ACCESS_KEY_ID" --secret "$AWS_SECRET_ACCESS_KEY" --region "$AWS_REGION" \
    --port "127.0.0.1:$port" posix "$ADLAKE_TEST_S3_ROOT" >"$ADLAKE_TEST_S3_ROOT.log" 2>&1 &
  GATEWAY=$!
  trap 'kill -9 "$GATEWAY" 2>/dev/null; rm -rf "$ADLAKE_TEST_S3_ROOT" "$ADLAKE_TEST_S3_ROOT.log"' EXIT
  for _ in $(seq 200); do curl -s -o /dev/null "$ADLAKE_TEST_S3_ENDPOINT" && return 0; sleep 0.05; done
  echo "versitygw does not answer: $(tail -5 "$ADLAKE_TEST_S3_ROOT.log")" >&2; return 1
}
if wanted it-s3; then
  stage "integration tests, lakes in a bucket (versitygw)"
  gateway
  ADLAKE_TEST_LAKE=s3 cargo test --locked --test it
fi

if wanted release; then stage "release build"; cargo build --locked --release; fi
if wanted e2e; then
  stage "real clients"
  export ADLAKE="${ADLAKE:-$CARGO_TARGET_DIR/release/adlake}"
  [ -x "$ADLAKE" ] || { echo "no binary at $ADLAKE; run the release stage first" >&2; exit 1; }
  "$VENV/bin/python" -m pytest -q -rs -o faulthandler_timeout=900 tests/e2e tests/real_data
fi
if wanted s3; then
  stage "real clients, lakes in a bucket (versitygw)"
  export ADLAKE="${ADLAKE:-$CARGO_TARGET_DIR/release/adlake}"
  [ -x "$ADLAKE" ] || { echo "no binary at $ADLAKE; run the release stage first" >&2; exit 1; }
  # What differs on a bucket: clients, plain Delta readers, kills and replicas. The REPL and start-up do not know where the lake is.
  ADLAKE_TEST_LAKE=s3 ADLAKE_KILLS="${ADLAKE_KILLS:-15}" "$VENV/bin/python" -m pytest -q -rs -o faulthandler_timeout=900 \
    tests/e2e/test_adbc.py tests/e2e/test_jdbc.py tests/e2e/test_readers.py tests/e2e/test_kill.py tests/e2e/test_read_only.py tests/e2e/test_ingest.py
fi
stage "done"
