//! `tidegate-model`: runs the model checker with options. See `README.md`.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for people: the table is its product")]
#![allow(clippy::disallowed_methods, reason = "the outside of this program: its clock and its environment")]

use std::process::ExitCode;
use std::time::Instant;

use tidegate_model::report::{Options, run};

fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1), std::env::var("TIDEGATE_MODEL_STATES").ok()) {
        Ok(options) => options,
        Err(sentence) => {
            eprintln!("{sentence}");
            return ExitCode::from(2);
        }
    };
    let began = Instant::now();
    let fine = run(&options, &|| began.elapsed(), &mut |text| println!("{text}"));
    if fine { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
