use std::io;
use std::net::SocketAddr;

use http::header::InvalidHeaderValue;
use http::uri::InvalidUri;
use llm_gate::auth::{InvalidIssuer, KeyError};
use llm_gate::ledger::journal::JournalError;
use llm_gate::proxy::InvalidUpstream;
use llm_gate::store::StoreError;
use llm_gate_diesel::OpenError;
use thiserror::Error;

use crate::config::ConfigError;
use crate::mail::RelayError;
use crate::secrets::SecretError;

/// A gateway that cannot start.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StartError {
    /// A setting is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A secret is missing or not safe.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// A secret cannot be used.
    #[error("a secret cannot be used: {0}")]
    Key(#[from] KeyError),
    /// Another issuer cannot be trusted like this.
    #[error("auth.issuers: {0}")]
    Issuer(#[from] InvalidIssuer),
    /// The address of the model server is none.
    #[error("upstream.url (VLLM_ENDPOINT) is no URL")]
    UpstreamUrl(#[from] InvalidUri),
    /// The model server cannot be talked to like this.
    #[error(transparent)]
    Upstream(#[from] InvalidUpstream),
    /// The mail relay cannot be used like this.
    #[error(transparent)]
    Mail(#[from] RelayError),
    /// The database cannot be opened.
    #[error(transparent)]
    Database(#[from] OpenError),
    /// The journal cannot be made.
    #[error("the journal in the data folder cannot be made")]
    Journal(#[from] JournalError),
    /// The accounts cannot be read.
    #[error("the accounts cannot be read")]
    Accounts(#[source] StoreError),
    /// What an earlier gateway left behind cannot be settled.
    #[error("what an earlier gateway left behind cannot be settled")]
    Recovery(#[source] StoreError),
    /// A header that every answer carries cannot be written.
    #[error("headers.csp or headers.hsts is no value of a header")]
    Header(#[from] InvalidHeaderValue),
    /// The data folder cannot be made.
    #[error("the data folder cannot be made")]
    Folder(#[source] io::Error),
    /// The address is in use, or not of this machine.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
}
