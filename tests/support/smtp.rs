//! An SMTP server that keeps what it gets (RFC 5321), on loopback.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// A letter as it came.
#[derive(Debug)]
pub struct Received {
    pub to: String,
    /// Headers and body, lines soft-wrapped by the sender joined again.
    pub text: String,
}

impl Received {
    /// Returns the secret in the link.
    pub fn token(&self) -> &str {
        let (_, rest) = self
            .text
            .split_once("?token=")
            .expect("a link with a token");
        rest.split_whitespace().next().expect("a token")
    }
}

/// The server. Dropped, it is gone.
pub struct Sink {
    pub address: SocketAddr,
    letters: mpsc::UnboundedReceiver<Received>,
    refusals: Arc<Mutex<VecDeque<&'static str>>>,
    task: JoinHandle<()>,
}

impl Sink {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (queue, letters) = mpsc::unbounded_channel();
        let refusals = Arc::<Mutex<VecDeque<&'static str>>>::default();
        let next = Arc::clone(&refusals);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (queue, next) = (queue.clone(), Arc::clone(&next));
                // Whoever hangs up has said all it wanted.
                tokio::spawn(async move { drop(serve(stream, queue, next).await) });
            }
        });
        Self {
            address,
            letters,
            refusals,
            task,
        }
    }

    /// Answers the next letter with this line in place of taking it.
    pub fn refuse(&self, line: &'static str) {
        self.refusals.lock().expect("no panic").push_back(line);
    }

    pub fn url(&self) -> String {
        format!("smtp://{}", self.address)
    }

    /// Waits for the next letter.
    pub async fn next(&mut self) -> Received {
        self.letters.recv().await.expect("a letter")
    }

    /// Returns a letter that is there already.
    pub fn try_next(&mut self) -> Option<Received> {
        self.letters.try_recv().ok()
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    stream: TcpStream,
    queue: mpsc::UnboundedSender<Received>,
    refusals: Arc<Mutex<VecDeque<&'static str>>>,
) -> std::io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read).lines();
    write.write_all(b"220 sink\r\n").await?;
    let mut to = String::new();
    while let Some(line) = lines.next_line().await? {
        let verb = line
            .split([' ', ':'])
            .next()
            .unwrap_or_default()
            .to_ascii_uppercase();
        let answer = match verb.as_str() {
            "EHLO" => "250-sink\r\n250-AUTH PLAIN\r\n250 8BITMIME",
            // Whoever it is.
            "AUTH" => "235 welcome",
            "RCPT" => {
                to = line
                    .trim_start_matches("RCPT TO:<")
                    .trim_end_matches('>')
                    .to_owned();
                "250 ok"
            }
            "DATA" => {
                write.write_all(b"354 go on\r\n").await?;
                let mut text = String::new();
                while let Some(line) = lines.next_line().await? {
                    if line == "." {
                        break;
                    }
                    // Quoted-printable breaks long lines with `=` and writes `=` as `=3D`.
                    match line.strip_suffix('=') {
                        Some(part) => text.push_str(part),
                        None => {
                            text.push_str(&line);
                            text.push('\n');
                        }
                    }
                }
                let refusal = refusals.lock().expect("no panic").pop_front();
                match refusal {
                    Some(refusal) => refusal,
                    None => {
                        let text = text.replace("=3D", "=");
                        let to = to.clone();
                        drop(queue.send(Received { to, text }));
                        "250 taken"
                    }
                }
            }
            "QUIT" => {
                write.write_all(b"221 bye\r\n").await?;
                return Ok(());
            }
            _ => "250 ok",
        };
        write.write_all(format!("{answer}\r\n").as_bytes()).await?;
    }
    Ok(())
}
