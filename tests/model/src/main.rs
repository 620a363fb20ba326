//! `tidegate-model`: runs the model checker with options. See `README.md`.

use std::process::ExitCode;

fn main() -> ExitCode {
    tidegate_model::report::main()
}
