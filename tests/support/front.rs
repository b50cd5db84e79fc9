use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// The end of a request's head.
const END: &[u8] = b"\r\n\r\n";

/// One address for several gateways, which are asked in turn.
///
/// It listens before they start, so that they can be told where people come to.
#[derive(Debug)]
pub struct Front {
    /// Where people come to.
    pub address: SocketAddr,
    listener: TcpListener,
}

impl Front {
    /// Listens at a free port.
    pub async fn listen() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        Self {
            address: listener.local_addr().expect("it listens"),
            listener,
        }
    }

    /// Passes each connection on to the next of `gateways`, as it is and from where it came, while the runtime lasts.
    pub fn by_connection(self, gateways: Vec<SocketAddr>) {
        self.serve(gateways, false);
    }

    /// Passes each request on to the next of `gateways`, with the client's address (`X-Forwarded-For`), while the
    /// runtime lasts.
    ///
    /// Gateways are asked to close behind their answer, so that clients which keep connections come again.
    pub fn by_request(self, gateways: Vec<SocketAddr>) {
        self.serve(gateways, true);
    }

    fn serve(self, gateways: Vec<SocketAddr>, single: bool) {
        tokio::spawn(async move {
            for gateway in gateways.into_iter().cycle() {
                let Ok((client, from)) = self.listener.accept().await else {
                    return;
                };
                // Whoever hangs up has said all it wanted.
                tokio::spawn(pass(client, from, gateway, single));
            }
        });
    }
}

async fn pass(
    mut client: TcpStream,
    from: SocketAddr,
    gateway: SocketAddr,
    single: bool,
) -> io::Result<()> {
    let socket = TcpSocket::new_v4()?;
    // Whoever is not told the client's address is to see it; most have the one that the system picks.
    if !single && from.ip() != Ipv4Addr::LOCALHOST {
        socket.bind((from.ip(), 0).into())?;
    }
    let mut server = socket.connect(gateway).await?;
    for stream in [&client, &server] {
        stream.set_nodelay(true)?;
    }
    if single {
        let mut head = Vec::new();
        let end = loop {
            if client.read_buf(&mut head).await? == 0 {
                return Ok(());
            }
            if let Some(end) = head.windows(END.len()).position(|bytes| bytes == END) {
                break end + 2;
            }
        };
        // Behind what the client says of its connection: the last word counts.
        let more = format!("x-forwarded-for: {}\r\nconnection: close\r\n", from.ip());
        head.splice(end..end, more.into_bytes());
        server.write_all(&head).await?;
    }
    copy_bidirectional(&mut client, &mut server).await?;
    Ok(())
}
