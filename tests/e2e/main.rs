//! The whole gate over real sockets and a real database: one file per way of using it and per failure.
//!
//! Every test has a world of its own and ends with books that balance.

mod auth;
mod clients;
mod concurrency;
mod database;
mod demo;
mod disconnect;
mod faults;
mod flow;
mod idle;
mod killed;
mod leases;
mod limits;
mod log;
mod many;
mod openai_admin;
mod openai_python;
mod processes;
mod rates;
mod replicas;
mod rolling;
mod secrets;
mod shutdown;
mod upstream;
mod wire;
