//! The gateway over real HTTP: each test starts its own, with a database and a model server of its own.

mod account;
mod accounts;
mod admin;
mod aliases;
mod commands;
mod database;
mod doctor;
mod document;
mod edge;
mod events;
mod foreign;
mod grants;
mod invites;
mod keys;
mod keys_managed;
mod ledger;
mod limits;
mod llm;
mod log;
mod mail;
mod matrix;
mod members;
mod oauth;
mod operations;
mod operator;
mod organization;
mod program;
mod projects;
mod rates;
mod sessions;
mod signing;
mod start;
mod support;
mod usage;

use test_support::smtp;
