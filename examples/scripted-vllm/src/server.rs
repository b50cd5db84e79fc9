//! What happens on one connection: routes, scripts, and the stream of events.

use std::sync::{Arc, atomic::Ordering};

use crate::{
    Answer, Counts, Fault, Gate, Shared, Step,
    http::{Connection, Gone, Incoming, ReceivedRequest, Unreadable, chunk, head},
    openai::{
        Embedding, Job, Made, Refusal, Route, Task, engine_error, engine_error_event, models,
    },
};

const JSON: &str = "application/json";
const VARY: (&str, &str) = ("vary", "Origin");
const DONE: &str = "data: [DONE]\n\n";

/// How an answer left its connection.
enum After {
    /// The next request may come.
    Open,
    /// It closes.
    Close,
}

/// Serves one connection until either side closes it.
pub(crate) async fn serve(mut connection: Connection, shared: Arc<Shared>) {
    let _open = Open::new(&shared);
    let mut idle = None;
    loop {
        let incoming = match connection.request(idle).await {
            Ok(incoming) => incoming,
            Err(Unreadable::Ended) => return,
            Err(Unreadable::Invalid) => {
                let body = "Invalid HTTP request received.";
                connection.refuse(&plain(400, body)).await;
                return;
            }
            Err(Unreadable::TooLarge) => {
                connection
                    .refuse(&plain(413, "The body is too large."))
                    .await;
                return;
            }
        };
        let close = incoming.close;
        shared.log(&incoming.request);
        let mut exchange = Exchange {
            connection: &mut connection,
            shared: &shared,
            close,
            out: Vec::with_capacity(1024),
        };
        match exchange.answer(&incoming).await {
            Ok(After::Open) if !close => idle = Some(shared.config.keep_alive),
            Ok(_) | Err(Gone) => return,
        }
    }
}

fn plain(status: u16, body: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let length = body.len().to_string();
    let fields = [
        ("content-length", length.as_str()),
        ("content-type", "text/plain; charset=utf-8"),
        ("connection", "close"),
    ];
    head(&mut out, status, &fields, &[]);
    out.extend_from_slice(body.as_bytes());
    out
}

/// Counts an open connection.
struct Open<'a>(&'a Shared);

impl<'a> Open<'a> {
    fn new(shared: &'a Shared) -> Self {
        shared.count(|counts| counts.connections += 1);
        Self(shared)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.count(|counts| counts.connections -= 1);
    }
}

/// Counts a request while it is answered; it is aborted unless it [finishes](Self::finish).
struct Active<'a> {
    shared: &'a Shared,
    finished: bool,
}

impl<'a> Active<'a> {
    fn new(shared: &'a Shared) -> Self {
        shared.count(|counts| {
            counts.requests += 1;
            counts.active += 1;
        });
        Self {
            shared,
            finished: false,
        }
    }

    /// Ends the request. Called before the last bytes are written, so that whoever has read them
    /// finds them counted.
    fn finish(&mut self, made: Made) {
        self.finished = true;
        self.shared.count(|counts| {
            counts.active -= 1;
            counts.finished += 1;
            made.add(counts);
        });
    }
}

impl Drop for Active<'_> {
    fn drop(&mut self) {
        if !self.finished {
            self.shared.count(|counts| {
                counts.active -= 1;
                counts.aborted += 1;
            });
        }
    }
}

impl Made {
    const fn add(self, counts: &mut Counts) {
        counts.prompt_tokens += self.prompt;
        counts.completion_tokens += self.completion;
    }

    const fn remove(self, counts: &mut Counts) {
        counts.prompt_tokens -= self.prompt;
        counts.completion_tokens -= self.completion;
    }
}

/// What disturbs a model answer.
#[derive(Default)]
struct Script {
    gate: Option<Gate>,
    fails: Option<(u64, Fault)>,
}

/// One request and the connection it is answered on.
struct Exchange<'a> {
    connection: &'a mut Connection,
    shared: &'a Shared,
    close: bool,
    out: Vec<u8>,
}

impl Exchange<'_> {
    async fn answer(&mut self, incoming: &Incoming) -> Result<After, Gone> {
        let request = &incoming.request;
        let path = request.path();
        if path.starts_with("/v1") && !self.authorized(request) {
            self.fill(
                401,
                &[],
                JSON,
                "{\"error\":\"Unauthorized\"}".as_bytes(),
                false,
            );
            return self.flush(request).await;
        }
        let (allowed, route) = match path {
            "/v1/chat/completions" => ("POST", Some(Route::Chat)),
            "/v1/completions" => ("POST", Some(Route::Completions)),
            "/v1/embeddings" => ("POST", Some(Route::Embeddings)),
            "/v1/models" | "/health" | "/version" => ("GET", None),
            _ => return self.elsewhere(request).await,
        };
        if request.method != allowed {
            let allow = [("allow", allowed)];
            self.fill(
                405,
                &allow,
                JSON,
                b"{\"detail\":\"Method Not Allowed\"}",
                true,
            );
            return self.flush(request).await;
        }
        match (route, path) {
            (Some(route), _) => return self.scripted(route, request).await,
            (None, "/health") => {
                let healthy = self.shared.healthy.load(Ordering::Relaxed);
                self.head(
                    if healthy { 200 } else { 503 },
                    &[("content-length", "0")],
                    true,
                    None,
                );
            }
            (None, "/version") => self.fill(200, &[], JSON, b"{\"version\":\"0.32.0\"}", true),
            (None, _) => {
                let body = models(&self.shared.config);
                self.fill(200, &[], JSON, body.as_bytes(), true);
            }
        }
        self.flush(request).await
    }

    fn authorized(&self, request: &ReceivedRequest) -> bool {
        let Some(key) = &self.shared.config.api_key else {
            return true;
        };
        let sent = request
            .header("authorization")
            .and_then(|value| value.split_once(' '));
        sent.is_some_and(|(scheme, sent)| scheme.eq_ignore_ascii_case("bearer") && sent == key)
    }

    /// Answers on a path that is not served: elsewhere if only a slash is too many.
    async fn elsewhere(&mut self, request: &ReceivedRequest) -> Result<After, Gone> {
        const SERVED: [&str; 6] = [
            "/v1/chat/completions",
            "/v1/completions",
            "/v1/embeddings",
            "/v1/models",
            "/health",
            "/version",
        ];
        match request.path().strip_suffix('/') {
            Some(path) if SERVED.contains(&path) => {
                let host = request.header("host").unwrap_or("127.0.0.1");
                let location = format!("http://{host}{path}");
                let fields = [("content-length", "0"), ("location", location.as_str())];
                self.head(307, &fields, true, None);
            }
            _ => self.fill(404, &[], JSON, b"{\"detail\":\"Not Found\"}", true),
        }
        self.flush(request).await
    }

    /// Answers a generation request by the next script, or by the model.
    async fn scripted(&mut self, route: Route, request: &ReceivedRequest) -> Result<After, Gone> {
        let shared = self.shared;
        let mut active = Active::new(shared);
        match shared.next_answer(&request.body) {
            Answer::Model => {
                self.model(route, request, Script::default(), &mut active)
                    .await
            }
            Answer::Lockstep { gate } => {
                let script = Script {
                    gate: Some(gate),
                    fails: None,
                };
                self.model(route, request, script, &mut active).await
            }
            Answer::Fails { after, fault } => {
                let script = Script {
                    gate: None,
                    fails: Some((after, fault)),
                };
                self.model(route, request, script, &mut active).await
            }
            Answer::Raw(steps) => self.raw(&steps, &mut active).await,
            Answer::Recording { response } => {
                active.finish(Made::default());
                self.connection.send(&response).await?;
                Ok(if is_whole(&response) {
                    After::Open
                } else {
                    After::Close
                })
            }
            Answer::Status {
                status,
                body,
                content_type,
                headers,
            } => {
                let fields: Vec<_> = headers
                    .iter()
                    .map(|(name, value)| (name.as_str(), value.as_str()))
                    .collect();
                self.fill(status, &fields, &content_type, &body, true);
                active.finish(Made::default());
                self.flush(request).await
            }
        }
    }

    async fn raw(&mut self, steps: &[Step], active: &mut Active<'_>) -> Result<After, Gone> {
        for (at, step) in steps.iter().enumerate() {
            let last = at + 1 == steps.len();
            match step {
                Step::Write(bytes) => {
                    if last {
                        active.finish(Made::default());
                    }
                    self.connection.send(bytes).await?;
                }
                Step::Wait(gate) => {
                    self.connection.wait(gate.pass()).await?;
                }
                Step::Close => {
                    active.finish(Made::default());
                    return Ok(After::Close);
                }
                Step::Reset => {
                    active.finish(Made::default());
                    self.connection.reset();
                    return Ok(After::Close);
                }
                Step::Stall => return Err(self.connection.until_gone().await),
            }
        }
        if !active.finished {
            active.finish(Made::default());
        }
        Ok(After::Open)
    }

    async fn model(
        &mut self,
        route: Route,
        request: &ReceivedRequest,
        script: Script,
        active: &mut Active<'_>,
    ) -> Result<After, Gone> {
        let serial = self.shared.serial.fetch_add(1, Ordering::Relaxed);
        match Task::read(&self.shared.config, route, request, serial) {
            Ok(Task::Generate(job)) if job.is_stream() => self.stream(*job, script, active).await,
            Ok(Task::Generate(job)) => self.whole(*job, script, active).await,
            Ok(Task::Embed(embedding)) => self.embed(&embedding, script, active).await,
            Err(Refusal { status, body }) => {
                self.fill(status, &[], JSON, body.as_bytes(), true);
                active.finish(Made::default());
                self.flush(request).await
            }
        }
    }

    /// Writes a stream event by event.
    async fn stream(
        &mut self,
        mut job: Job,
        script: Script,
        active: &mut Active<'_>,
    ) -> Result<After, Gone> {
        let fields = [("content-type", "text/event-stream; charset=utf-8")];
        self.head(200, &fields, true, Some(("transfer-encoding", "chunked")));
        if script.gate.is_some() {
            self.write_out().await?;
        }
        let mut data = String::with_capacity(512);
        let mut events = 0;
        while let Some(made) = job.next_event(&mut data) {
            if let Some((after, fault)) = script.fails
                && events == after
            {
                return self.fail(fault, active).await;
            }
            self.pause(events > 0, script.gate.as_ref()).await?;
            chunk(&mut self.out, &["data: ", &data, "\n\n"]);
            self.shared.count(|counts| {
                made.add(counts);
                counts.events += 1;
            });
            if let Err(gone) = self.write_out().await {
                self.shared.count(|counts| {
                    made.remove(counts);
                    counts.events -= 1;
                });
                return Err(gone);
            }
            events += 1;
        }
        if let Some((_, fault)) = script.fails {
            return self.fail(fault, active).await;
        }
        self.pause(false, script.gate.as_ref()).await?;
        self.end_stream(active).await
    }

    async fn end_stream(&mut self, active: &mut Active<'_>) -> Result<After, Gone> {
        chunk(&mut self.out, &[DONE]);
        self.out.extend_from_slice(b"0\r\n\r\n");
        active.finish(Made::default());
        self.write_out().await?;
        Ok(After::Open)
    }

    /// Breaks a stream off.
    async fn fail(&mut self, fault: Fault, active: &mut Active<'_>) -> Result<After, Gone> {
        if !self.out.is_empty() {
            self.write_out().await?;
        }
        match fault {
            Fault::Engine => {
                chunk(&mut self.out, &["data: ", &engine_error_event(), "\n\n"]);
                self.end_stream(active).await
            }
            other => self.drop_out(other, active).await,
        }
    }

    /// Ends a connection, or its answers, without a word.
    async fn drop_out(&mut self, fault: Fault, active: &mut Active<'_>) -> Result<After, Gone> {
        match fault {
            Fault::Stall => return Err(self.connection.until_gone().await),
            Fault::Reset => self.connection.reset(),
            Fault::Close | Fault::Engine => {}
        }
        active.finish(Made::default());
        Ok(After::Close)
    }

    /// Waits for the next event of a stream, with comments if it takes long.
    async fn pause(&mut self, paced: bool, gate: Option<&Gate>) -> Result<(), Gone> {
        let config = &self.shared.config;
        let paced = paced && !config.pace.is_zero();
        if !paced && gate.is_none() {
            return Ok(());
        }
        let mut event = std::pin::pin!(async {
            if paced {
                tokio::time::sleep(config.pace).await;
            }
            if let Some(gate) = gate {
                gate.pass().await;
            }
        });
        let Some(interval) = config.keep_alive_comments else {
            return self.connection.wait(event).await;
        };
        loop {
            let passed = tokio::time::timeout(interval, &mut event);
            if self.connection.wait(passed).await?.is_ok() {
                return Ok(());
            }
            chunk(&mut self.out, &[": keep-alive\n\n"]);
            self.write_out().await?;
        }
    }

    /// Writes an answer that is not streamed.
    async fn whole(
        &mut self,
        mut job: Job,
        script: Script,
        active: &mut Active<'_>,
    ) -> Result<After, Gone> {
        if let Some((_, fault)) = script.fails {
            return self.fail_whole(fault, active).await;
        }
        let mut body = String::with_capacity(1024);
        let (made, steps) = job.complete(&mut body);
        let counted = self.generate(made, steps).await?;
        if let Some(gate) = &script.gate {
            self.connection.wait(gate.pass()).await?;
        }
        self.fill(200, &[], JSON, body.as_bytes(), true);
        let rest = Made {
            prompt: made.prompt - counted.prompt,
            completion: made.completion - counted.completion,
        };
        active.finish(rest);
        self.write_out().await?;
        Ok(After::Open)
    }

    /// Takes the time the tokens take, and counts them as they come.
    async fn generate(&mut self, made: Made, steps: u64) -> Result<Made, Gone> {
        let pace = self.shared.config.pace;
        let mut counted = Made::default();
        if pace.is_zero() {
            return Ok(counted);
        }
        for step in 1..=steps {
            self.connection.wait(tokio::time::sleep(pace)).await?;
            let sofar = u128::from(made.completion) * u128::from(step) / u128::from(steps);
            let sofar = u64::try_from(sofar).unwrap_or(made.completion);
            let fresh = Made {
                prompt: made.prompt - counted.prompt,
                completion: sofar - counted.completion,
            };
            self.shared.count(|counts| fresh.add(counts));
            counted = Made {
                prompt: made.prompt,
                completion: sofar,
            };
        }
        Ok(counted)
    }

    async fn fail_whole(&mut self, fault: Fault, active: &mut Active<'_>) -> Result<After, Gone> {
        if fault != Fault::Engine {
            return self.drop_out(fault, active).await;
        }
        self.fill(500, &[], JSON, engine_error().as_bytes(), true);
        active.finish(Made::default());
        self.write_out().await?;
        Ok(After::Open)
    }

    async fn embed(
        &mut self,
        embedding: &Embedding,
        script: Script,
        active: &mut Active<'_>,
    ) -> Result<After, Gone> {
        if let Some((_, fault)) = script.fails {
            return self.fail_whole(fault, active).await;
        }
        if let Some(gate) = &script.gate {
            self.connection.wait(gate.pass()).await?;
        }
        if let Some((bytes, metadata)) = embedding.bytes() {
            let metadata = metadata.as_deref().map(|metadata| ("metadata", metadata));
            let fields: Vec<_> = metadata
                .into_iter()
                .chain([("content-type", "application/octet-stream")])
                .collect();
            self.head(200, &fields, true, Some(("transfer-encoding", "chunked")));
            self.out
                .extend_from_slice(format!("{:x}\r\n", bytes.len()).as_bytes());
            self.out.extend_from_slice(&bytes);
            self.out.extend_from_slice(b"\r\n0\r\n\r\n");
        } else {
            let mut body = String::new();
            embedding.json(&mut body);
            self.fill(200, &[], JSON, body.as_bytes(), true);
        }
        active.finish(embedding.made());
        self.write_out().await?;
        Ok(After::Open)
    }

    /// Puts a whole answer into the buffer.
    fn fill(&mut self, status: u16, fields: &[(&str, &str)], kind: &str, body: &[u8], vary: bool) {
        let length = body.len().to_string();
        let own = [("content-length", length.as_str()), ("content-type", kind)];
        let fields: Vec<_> = fields.iter().chain(&own).copied().collect();
        self.head(status, &fields, vary, None);
        self.out.extend_from_slice(body);
    }

    fn head(
        &mut self,
        status: u16,
        fields: &[(&str, &str)],
        vary: bool,
        coding: Option<(&str, &str)>,
    ) {
        let vary = vary.then_some(VARY);
        let close = self.close.then_some(("connection", "close"));
        let after: [_; 3] = [vary, close, coding];
        let after: Vec<_> = after.into_iter().flatten().collect();
        head(&mut self.out, status, fields, &after);
    }

    /// Writes the buffer as the answer to `request`; one to `HEAD` has no body.
    async fn flush(&mut self, request: &ReceivedRequest) -> Result<After, Gone> {
        if request.method == "HEAD"
            && let Some(end) = self.out.windows(4).position(|bytes| bytes == b"\r\n\r\n")
        {
            self.out.truncate(end + 4);
        }
        self.write_out().await?;
        Ok(After::Open)
    }

    async fn write_out(&mut self) -> Result<(), Gone> {
        let sent = self.connection.send(&self.out).await;
        self.out.clear();
        sent
    }
}

/// Says whether recorded bytes hold an answer to its own end.
fn is_whole(response: &[u8]) -> bool {
    let mut headers = [httparse::EMPTY_HEADER; 128];
    let mut parsed = httparse::Response::new(&mut headers);
    let Ok(httparse::Status::Complete(used)) = parsed.parse(response) else {
        return false;
    };
    if parsed.code == Some(100) {
        return is_whole(&response[used..]);
    }
    let value = |name: &str| {
        let found = parsed
            .headers
            .iter()
            .find(|header| header.name.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(found.value).ok()
    };
    if value("connection").is_some_and(|value| value.eq_ignore_ascii_case("close")) {
        return false;
    }
    match value("content-length").and_then(|length| length.parse::<usize>().ok()) {
        Some(length) => response.len() - used == length,
        None => response.ends_with(b"\r\n0\r\n\r\n"),
    }
}
