//! The gateway as a program.

use std::process::ExitCode;

fn main() -> ExitCode {
    llm_gate_gateway::commands::main()
}
