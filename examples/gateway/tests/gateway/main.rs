//! The gateway over real HTTP: each test starts its own, with a database and a model server of its own.

mod account;
mod accounts;
mod admin;
mod aliases;
mod database;
mod document;
mod edge;
mod foreign;
mod grants;
mod keys;
mod ledger;
mod limits;
mod llm;
mod mail;
mod matrix;
mod operations;
mod operator;
mod program;
mod rates;
mod sessions;
mod signing;
mod smtp;
mod start;
mod support;
mod usage;
