#!/usr/bin/env bash
# Fuzzes every decoder for a while: `bash tests/fuzz/run.sh [seconds per target, 60]`. The first build takes long: all
# dependencies are instrumented. A finding is kept in tests/fuzz/artifacts/ and ends the run with an error.
set -euo pipefail
cd "$(dirname "$0")/../.."
seconds=${1:-60}
cargo fuzz --version >/dev/null 2>&1 || cargo install --locked cargo-fuzz
# The sanitizers need options that stable Rust keeps for nightly.
export RUSTC_BOOTSTRAP=1
for target in ndjson json_array csv grpc_append arrow_ipc; do
    echo "== $target"
    mkdir -p "tests/fuzz/corpus/$target"
    cargo fuzz run --dev --fuzz-dir tests/fuzz --sanitizer none "$target" -- \
        -max_total_time="$seconds" -max_len=65536 -rss_limit_mb=4096 -print_final_stats=1
done
