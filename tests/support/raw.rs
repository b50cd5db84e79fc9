use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::in_time;

/// A client without manners: says what it is told to, byte for byte, and leaves as it likes.
#[derive(Debug)]
pub struct Raw {
    stream: TcpStream,
}

impl Raw {
    /// Connects.
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = in_time("a connection", TcpStream::connect(address)).await;
        let stream = stream.expect("somebody listens");
        stream.set_nodelay(true).expect("a socket takes options");
        Self { stream }
    }

    /// Sends bytes.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        let sent = in_time("sending", self.stream.write_all(bytes.as_ref())).await;
        sent.expect("the connection is open");
        self
    }

    /// Sends a request with a body and its length.
    pub async fn request(&mut self, head: &str, body: &str) -> &mut Self {
        let length = body.len();
        self.send(format!(
            "{head}\r\nhost: gate\r\ncontent-length: {length}\r\n\r\n{body}"
        ))
        .await
    }

    /// Reads until what was read contains `word`.
    pub async fn until(&mut self, word: &str) -> String {
        let mut read = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            let more = in_time(word, self.stream.read(&mut buffer)).await;
            let more = more.expect("the connection is open");
            read.extend_from_slice(&buffer[..more]);
            let text = String::from_utf8_lossy(&read);
            if text.contains(word) {
                return text.into_owned();
            }
            assert_ne!(more, 0, "closed before {word:?}: {text}");
        }
    }

    /// Reads until the peer closes, however it does.
    pub async fn until_closed(&mut self) -> String {
        let mut read = Vec::new();
        // A reset is a close too.
        let _ = in_time("the peer closes", self.stream.read_to_end(&mut read)).await;
        String::from_utf8_lossy(&read).into_owned()
    }

    /// Closes the sending side and leaves the other open.
    pub async fn half_close(&mut self) {
        self.stream
            .shutdown()
            .await
            .expect("the connection is open");
    }

    /// Leaves with a reset.
    pub fn reset(self) {
        self.stream
            .set_zero_linger()
            .expect("a socket takes options");
    }
}
