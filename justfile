# What a developer types. Each recipe is short enough to be typed without `just`.

_list:
    @just --list --unsorted

# Exactly what continuous integration runs
check:
    bash .ci/run

# The same with full counts: every test's, 100,000 worlds, an hour of the model checker, ten minutes of each fuzz target
soak:
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
fuzz seconds="60":
    bash fuzz/run {{ seconds }}

# Lays the source out as the checks want it
fmt:
    cargo fmt
    cargo fmt --manifest-path fuzz/Cargo.toml
