//! The proof: every case, one closing table. `TIDEGATE_MODEL_STATES` sets the number of states.

use std::process::ExitCode;

fn main() -> ExitCode {
    tidegate_model::report::main()
}
