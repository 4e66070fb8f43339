//! Parses, runs, prints the error chain, and ends with the exit code that says what happened.

use castoff::cli::{self, Exit};
use castoff::model::text;
use std::{
    panic::{self, AssertUnwindSafe},
    process::ExitCode,
};

fn main() -> ExitCode {
    cli::memory::keep();
    rustls::crypto::ring::default_provider().install_default().expect("nothing has installed a provider before");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a thread can be started");
    // The panic itself was printed by its hook, after the terminal was given back.
    let Ok(result) = panic::catch_unwind(AssertUnwindSafe(|| runtime.block_on(cli::main()))) else {
        eprintln!("error: castoff has a bug; a run that was going is safe in its journal");
        eprintln!("hint: castoff status shows it, castoff resume goes on");
        return ExitCode::from(Exit::Bug as u8);
    };
    // A blocking read of a terminal that is gone must not hold the process.
    runtime.shutdown_background();
    match result {
        Ok(exit) => ExitCode::from(exit as u8),
        Err(failure) => {
            eprintln!("error: {}", text::page(&format!("{:#}", failure.error)));
            if let Some(hint) = failure.hint {
                eprintln!("hint: {}", text::page(&hint));
            }
            ExitCode::from(failure.exit as u8)
        }
    }
}
