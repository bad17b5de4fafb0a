# The handful of tasks; `just` lists them. Each is a command that also works without just.

_default:
    @just --list

# Build the program, optimized
build:
    cargo build --release

# Run the tests, or those whose names contain the words
test *words:
    cargo test {{ words }}

# Check format and lints
lint:
    cargo fmt --check
    cargo clippy --all-targets -- -D warnings

# Build the API documentation; warnings are errors
doc:
    RUSTDOCFLAGS="-D warnings" cargo doc --no-deps

# Build the manual into target/book (needs mdbook)
book:
    mdbook build

# Measure the cost per token event, of the scheduler and of histograms
bench *words:
    cargo bench {{ words }}

# Run the statistical studies, or those whose names contain the words: hours
nightly *words:
    scripts/nightly.sh {{ words }}

# Run what CI runs
ci *steps:
    .ci/run {{ steps }}
