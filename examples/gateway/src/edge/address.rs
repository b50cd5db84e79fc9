//! Whose request it is that a proxy passes on.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::header::{FORWARDED, HeaderName};
use http::{HeaderMap, HeaderValue};
use llm_gate::address::ClientAddress;
use llm_gate::limit::Endpoint;

use crate::config::{ProxyHeader, ServerConfig};

pub(super) const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The other end of the connection that a request came on, in its extensions.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

/// Finds out the client's address.
#[derive(Clone, Debug)]
pub struct Addresses {
    config: Arc<ServerConfig>,
    warned: Arc<AtomicBool>,
}

impl Addresses {
    /// Takes the word of the proxies that `config` trusts.
    #[must_use]
    pub fn new(config: ServerConfig) -> Self {
        Self {
            config: Arc::new(config),
            warned: Arc::default(),
        }
    }

    /// Returns the address of the client behind `peer`.
    ///
    /// A proxy appends the address that has asked it, so the list is read from its end, for as long as the one
    /// who has written an entry is trusted. What stands farther left anybody may have written. An
    /// entry that cannot be read ends it: the last address that was read counts.
    #[must_use]
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> ClientAddress {
        let mut client = peer.to_canonical();
        if !self.config.trusts(client) {
            self.warn(client, headers);
            return ClientAddress::new(client);
        }
        let name = match self.config.proxy_header {
            ProxyHeader::XForwardedFor => X_FORWARDED_FOR,
            ProxyHeader::Forwarded => FORWARDED,
        };
        for line in headers.get_all(name).iter().rev() {
            let read = match self.config.proxy_header {
                ProxyHeader::XForwardedFor => plain(line),
                ProxyHeader::Forwarded => forwarded(line),
            };
            for hop in read {
                let Some(hop) = hop else {
                    return ClientAddress::new(client);
                };
                client = hop.to_canonical();
                if !self.config.trusts(client) {
                    return ClientAddress::new(client);
                }
            }
        }
        ClientAddress::new(client)
    }

    /// Says once that somebody looks like a proxy: behind one that is not trusted all clients are one.
    fn warn(&self, peer: IpAddr, headers: &HeaderMap) {
        let claims = headers.contains_key(X_FORWARDED_FOR) || headers.contains_key(FORWARDED);
        if claims && !self.warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                %peer,
                "a client's address was told by somebody who is not in server.trusted_proxies; it is ignored"
            );
        }
    }
}

/// Reads a line of `X-Forwarded-For`, the last entry first.
fn plain(line: &HeaderValue) -> Vec<Option<IpAddr>> {
    match line.to_str() {
        Ok(line) => line.rsplit(',').map(|entry| node(entry.trim())).collect(),
        Err(_) => vec![None],
    }
}

/// Reads a line of `Forwarded` (RFC 7239, section 4), the last element first.
fn forwarded(line: &HeaderValue) -> Vec<Option<IpAddr>> {
    let Some(elements) = line.to_str().ok().and_then(|line| split(line, ',')) else {
        return vec![None];
    };
    elements.into_iter().rev().map(who).collect()
}

/// Returns whom one element is for: of `for` there has to be one.
fn who(element: &str) -> Option<IpAddr> {
    let mut found = None;
    for pair in split(element, ';')? {
        let (name, value) = pair.split_once('=')?;
        if name.trim().eq_ignore_ascii_case("for") && found.replace(value.trim()).is_some() {
            return None;
        }
    }
    let value = found?;
    // A quoted string; nothing that an address is made of needs a backslash.
    node(
        value
            .strip_prefix('"')
            .map_or(Some(value), |rest| rest.strip_suffix('"'))?,
    )
}

/// Splits outside of quoted strings; `None` if one does not end.
fn split(text: &str, at: char) -> Option<Vec<&str>> {
    let (mut parts, mut begin) = (Vec::new(), 0);
    let (mut quoted, mut escaped) = (false, false);
    for (place, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            c if c == at && !quoted => {
                parts.push(&text[begin..place]);
                begin = place + c.len_utf8();
            }
            _ => {}
        }
    }
    parts.push(&text[begin..]);
    (!quoted).then_some(parts)
}

/// Reads an address with or without a port. Names such as `unknown` and `_hidden` are none.
fn node(text: &str) -> Option<IpAddr> {
    let port = |text: &str| text.bytes().all(|c| c.is_ascii_digit()) && text.parse::<u16>().is_ok();
    if let Some(rest) = text.strip_prefix('[') {
        let (address, rest) = rest.split_once(']')?;
        let good = rest.is_empty() || rest.strip_prefix(':').is_some_and(port);
        return address.parse().ok().map(IpAddr::V6).filter(|_| good);
    }
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    let (address, rest) = text.split_once(':')?;
    address.parse().ok().map(IpAddr::V4).filter(|_| port(rest))
}

/// Tells those inside where a request comes from, and which route it has found.
pub(super) async fn resolve(
    State(addresses): State<Addresses>,
    mut request: Request,
    next: Next,
) -> Response {
    if let Some(Peer(peer)) = request.extensions().get::<Peer>().copied() {
        let client = addresses.client(peer.ip(), request.headers());
        request.extensions_mut().insert(client);
    }
    let path = request.extensions().get::<MatchedPath>();
    let endpoint = path.map_or("unmatched", MatchedPath::as_str);
    let endpoint = Endpoint::new(endpoint);
    request.extensions_mut().insert(endpoint);
    next.run(request).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(header: ProxyHeader) -> Addresses {
        Addresses::new(ServerConfig {
            trusted_proxies: ["10.0.0.0/8", "::1"]
                .map(|cidr| cidr.parse().expect("addresses"))
                .into(),
            proxy_header: header,
            ..ServerConfig::default()
        })
    }

    fn client(header: ProxyHeader, peer: &str, lines: &[(&'static str, &str)]) -> String {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            let value = HeaderValue::from_bytes(value.as_bytes()).expect("a value");
            headers.append(*name, value);
        }
        let peer = peer.parse().expect("an address");
        addresses(header).client(peer, &headers).to_string()
    }

    #[test]
    fn the_last_address_that_no_proxy_of_ours_has_is_the_clients() {
        for (value, expected) in [
            ("192.0.2.1", "192.0.2.1"),
            ("6.6.6.6, 192.0.2.1", "192.0.2.1"),
            ("6.6.6.6, 192.0.2.1,10.9.9.9", "192.0.2.1"),
            ("192.0.2.1:4711 , ::1", "192.0.2.1"),
            ("2001:db8::7", "2001:db8::7"),
            ("[2001:db8::7]:443", "2001:db8::7"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            // All of them ours: the farthest.
            ("10.0.0.5, 10.0.0.6", "10.0.0.5"),
        ] {
            let found = client(
                ProxyHeader::XForwardedFor,
                "10.0.0.1",
                &[("x-forwarded-for", value)],
            );
            assert_eq!(found, expected, "{value}");
        }
        let lines = [
            ("x-forwarded-for", "6.6.6.6"),
            ("x-forwarded-for", "192.0.2.1, 10.0.0.2"),
        ];
        let found = client(ProxyHeader::XForwardedFor, "::1", &lines);
        assert_eq!(found, "192.0.2.1", "several lines are one list");
        let mapped = client(ProxyHeader::XForwardedFor, "::ffff:10.0.0.1", &lines[1..]);
        assert_eq!(
            mapped, "192.0.2.1",
            "a listener for both sees IPv4 like that"
        );
    }

    #[test]
    fn whoever_is_not_trusted_speaks_for_itself_only() {
        let lines = [("x-forwarded-for", "6.6.6.6"), ("forwarded", "for=6.6.6.6")];
        for header in [ProxyHeader::XForwardedFor, ProxyHeader::Forwarded] {
            assert_eq!(client(header, "192.0.2.9", &lines), "192.0.2.9");
            assert_eq!(client(header, "192.0.2.9", &[]), "192.0.2.9");
            assert_eq!(
                client(header, "10.0.0.1", &[]),
                "10.0.0.1",
                "a proxy that says nothing"
            );
        }
    }

    #[test]
    fn only_the_header_that_the_proxies_write_is_read() {
        let theirs = [
            ("forwarded", "for=6.6.6.6"),
            ("x-forwarded-for", "192.0.2.1"),
        ];
        let found = client(ProxyHeader::XForwardedFor, "10.0.0.1", &theirs);
        assert_eq!(found, "192.0.2.1", "the other may be the client's own");
        let theirs = [
            ("x-forwarded-for", "6.6.6.6"),
            ("forwarded", "for=192.0.2.1"),
        ];
        let found = client(ProxyHeader::Forwarded, "10.0.0.1", &theirs);
        assert_eq!(found, "192.0.2.1");
    }

    #[test]
    fn what_cannot_be_read_is_not_believed_nor_what_stands_before_it() {
        for value in [
            "",
            " ",
            ",",
            "unknown",
            "6.6.6.6, unknown",
            "6.6.6.6,",
            "6.6.6.6, 192.0.2.1:",
            "192.0.2.300",
            "192.0.2.1:99999",
            "192.0.2.1:+80",
            "[2001:db8::7",
            "[2001:db8::7]x",
            "[192.0.2.1]",
            "fe80::1%eth0",
            "\u{e9}",
            "192.0.2.1 192.0.2.2",
            "\"192.0.2.1\"",
            "for=192.0.2.1",
        ] {
            let found = client(
                ProxyHeader::XForwardedFor,
                "10.0.0.1",
                &[("x-forwarded-for", value)],
            );
            assert_eq!(found, "10.0.0.1", "{value:?}");
        }
        let value = "6.6.6.6, nonsense, 10.0.0.2";
        let found = client(
            ProxyHeader::XForwardedFor,
            "10.0.0.1",
            &[("x-forwarded-for", value)],
        );
        assert_eq!(found, "10.0.0.2", "as far as it was good");
    }

    #[test]
    fn the_standard_header_is_read_with_its_quotes() {
        for (value, expected) in [
            ("for=192.0.2.1", "192.0.2.1"),
            ("For=\"192.0.2.1:80\";proto=https;by=10.0.0.1", "192.0.2.1"),
            (
                "for=6.6.6.6, proto=https ; for=\"[2001:db8::7]:4711\"",
                "2001:db8::7",
            ),
            (
                "for=6.6.6.6;by=\"a,b;for=7.7.7.7\", for=192.0.2.1, for=10.0.0.9",
                "192.0.2.1",
            ),
            ("by=\"\\\",for=6.6.6.6\";for=192.0.2.1", "192.0.2.1"),
            // Not believed, nor anything before it.
            ("for=6.6.6.6, for=unknown", "10.0.0.1"),
            ("for=6.6.6.6, for=_hidden", "10.0.0.1"),
            ("for=6.6.6.6, for=\"192.0.2.1", "10.0.0.1"),
            ("for=6.6.6.6, by=10.0.0.1", "10.0.0.1"),
            ("for=6.6.6.6, for=192.0.2.1;for=192.0.2.2", "10.0.0.1"),
            ("for=6.6.6.6,", "10.0.0.1"),
            ("for=6.6.6.6, for", "10.0.0.1"),
            ("192.0.2.1", "10.0.0.1"),
        ] {
            let found = client(ProxyHeader::Forwarded, "10.0.0.1", &[("forwarded", value)]);
            assert_eq!(found, expected, "{value}");
        }
    }
}
