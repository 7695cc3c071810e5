# What a developer types. Each recipe is short enough to be typed without `just`.

_list:
    @just --list --unsorted

# Exactly what continuous integration runs
check:
    bash .ci/run

# The same with full counts: every test's, 100,000 worlds of the simulator, a minute of each fuzz target
soak: && (fuzz "60")
    LANDBRIDGE_SOAK=1 bash .ci/run

# Two sites, two databases, the worked example side by side
demo:
    cargo run --locked -p landbridge -- demo

# Plays worlds from seed 0 and stops at the first violation
sim seeds="2000":
    cargo run --locked --release -p landbridge-sim -- run --seeds {{ seeds }}

# Looks at every state within the bounds of `check` (or `soak`, up to an hour)
model bound="check":
    cargo run --locked --release -p landbridge-sim -- model --bound {{ bound }}

# Each fuzz target for so many seconds (once before: cargo install cargo-fuzz --locked)
fuzz seconds="60": (_fuzz "marker" seconds) (_fuzz "id_set" seconds) (_fuzz "message" seconds) (_fuzz "ledger" seconds)

# RUSTC_BOOTSTRAP lets the pinned compiler take the fuzzer's flags, so that no nightly one is needed.
[working-directory: "fuzz"]
_fuzz target seconds:
    mkdir -p corpus/{{ target }}
    RUSTC_BOOTSTRAP=1 cargo fuzz run {{ target }} corpus/{{ target }} seeds/{{ target }} -- -max_total_time={{ seconds }} -timeout=5 -dict=words.dict

# Lays the source out as the checks want it
fmt:
    cargo fmt
    cargo fmt --manifest-path fuzz/Cargo.toml
