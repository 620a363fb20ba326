//! `tidegate`: try a pipeline on a laptop, and look after its state.
//!
//! Exit codes: 0 done; 1 a passing fault, run it again; 2 the command, the pipeline file or the data needs a person;
//! 3 the state belongs to somebody else (another process, a newer version); 4 a broken invariant or damaged state;
//! 130 stopped by Ctrl-C between two commits.

mod args;
mod check;
mod demo;
mod generator;
mod input;
mod inspect;
mod new;
mod output;
mod project;
mod receiver;
mod rewind;
mod run;
mod sql;

use std::process::ExitCode;

use clap::Parser;
use tidegate_core::{Error, ErrorKind};

use args::{Arguments, Command};
use project::Context;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    output::start_logging();
    let context = Context::from_process();
    // The second thread hears Ctrl-C while the first one waits for input.
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&Error::internal("the async runtime cannot be started").with_source(error)),
    };
    match runtime.block_on(execute(arguments.command, &context)) {
        Ok(code) => code,
        Err(error) => failed(&error),
    }
}

async fn execute(command: Command, context: &Context) -> Result<ExitCode, Error> {
    match command {
        Command::Run(options) => run::run(options, context).await,
        Command::Demo(options) => demo::demo(options, context).await,
        Command::Check(options) => check::check(&options, context),
        Command::Explain(options) => check::explain(&options, context),
        Command::Sql(options) => sql::sql(options, context).await,
        Command::Inspect(options) => inspect::inspect(&options, context).await,
        Command::Reset(options) => rewind::reset(&options, context).await,
        Command::Rewind(options) => rewind::rewind(&options, context).await,
        Command::New(options) => new::scaffold(&options),
        Command::Generate(options) => input::generate(&options).map(|()| ExitCode::SUCCESS),
        Command::Target(options) => receiver::serve(options).await.map(|()| ExitCode::SUCCESS),
    }
}

fn failed(error: &Error) -> ExitCode {
    output::error(error);
    ExitCode::from(match error.kind() {
        ErrorKind::Unavailable => 1,
        ErrorKind::Invalid | ErrorKind::Data => 2,
        ErrorKind::Conflict | ErrorKind::Fenced => 3,
        ErrorKind::Internal => 4,
    })
}
