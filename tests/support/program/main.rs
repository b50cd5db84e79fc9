//! The gateway as a program, for tests of its command line and of processes side by side.

use std::process::ExitCode;

fn main() -> ExitCode {
    llm_gate_gateway::commands::main()
}
