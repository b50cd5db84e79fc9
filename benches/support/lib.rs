//! What the benches share: the wire's bytes, the stacks that are compared, and a clock of CPU time.

pub mod cpu;
pub mod drive;
pub mod stack;
pub mod wire;
