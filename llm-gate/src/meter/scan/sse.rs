use std::mem;
use std::ops::Range;

use bytes::{Bytes, BytesMut};

use crate::tokens::{Metered, Usage};

use super::event::{self, Data, End};
use super::tally::Tally;
use super::usage;

/// How long an event may be that is not complete yet.
const TAIL: usize = 1 << 20;

/// What is taken out of a stream before the client sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Policy {
    /// The event with empty `choices` that carries the whole usage, and any `"usage":null`.
    pub(crate) strip_final: bool,
    /// The running usage inside the other events.
    pub(crate) strip_running: bool,
}

/// An event that does not end, and what stood before it and can still go on.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooLong(pub(crate) Bytes);

/// Passes a stream on in complete events, reads the running usage and takes out what was not asked for.
#[derive(Debug)]
pub(crate) struct Scanner {
    policy: Policy,
    tally: Tally,
    metered: Metered,
    /// The start of an event whose end has not come.
    tail: BytesMut,
    /// Where in the tail its last line starts.
    resume: usize,
    /// The last event of a choice, waiting for the fingerprint of the usage event behind it.
    held: Option<Held>,
    /// What goes out of a frame, where it is not what came in.
    out: Vec<u8>,
    failed: bool,
    /// Where the last chunk had its `choices`, and how far from its end its `usage`: nearly every chunk has
    /// them in the same places.
    choices_at: usize,
    usage_back: usize,
}

/// An event that waits, and what the upstream had reported with it.
#[derive(Debug)]
struct Held {
    event: Bytes,
    usage: Option<Usage>,
}

/// What an event says.
#[derive(Default)]
struct Chunk {
    usage: Option<Usage>,
    /// Whether it ends a choice, and has to wait for the usage event behind it.
    finishes: bool,
}

/// What becomes of one event.
enum Verdict {
    Pass,
    /// Without this part.
    Without(Range<usize>),
    /// Written anew.
    Instead(Bytes),
    /// Not at all; the fingerprint moves to the event that waits.
    Drop {
        fingerprint: Option<Bytes>,
    },
}

impl Scanner {
    pub(crate) fn new(policy: Policy, choices: u64, n: u64, metered: Metered) -> Self {
        Self {
            policy,
            tally: Tally::new(choices, n),
            metered,
            tail: BytesMut::new(),
            resume: 0,
            held: None,
            out: Vec::new(),
            failed: false,
            choices_at: 0,
            usage_back: 0,
        }
    }

    /// Takes a frame and returns what of it can go on: whole events, empty if none is complete.
    pub(crate) fn push(&mut self, frame: Bytes) -> Result<Bytes, TooLong> {
        if self.tail.is_empty() {
            return self.events(frame, 0);
        }
        self.tail.extend_from_slice(&frame);
        match event::end(&self.tail, self.resume) {
            Ok(_) => {
                let whole = mem::take(&mut self.tail).freeze();
                let resume = mem::take(&mut self.resume);
                self.events(whole, resume)
            }
            Err(line) => {
                self.resume = line;
                if self.tail.len() > TAIL {
                    Err(TooLong(Bytes::new()))
                } else {
                    Ok(Bytes::new())
                }
            }
        }
    }

    /// Goes through the events of `whole`; `from` is where a line of the first one starts.
    fn events(&mut self, whole: Bytes, mut from: usize) -> Result<Bytes, TooLong> {
        let mut passed = 0;
        let mut done = 0;
        while done < whole.len() {
            match event::end(&whole, from) {
                Ok(End { behind, line }) => {
                    let data = if line.start == done {
                        event::line(&whole[line])
                    } else {
                        event::data(&whole[done..behind])
                    };
                    self.event(&whole, done..behind, data, &mut passed);
                    done = behind;
                    from = behind;
                }
                Err(line) => {
                    if whole.len() - done > TAIL {
                        return Err(TooLong(self.take(whole, passed, done)));
                    }
                    self.resume = line - done;
                    self.tail.extend_from_slice(&whole[done..]);
                    break;
                }
            }
        }
        Ok(self.take(whole, passed, done))
    }

    /// Returns what can go on at the end of the body. What is left of an event that did not end goes on
    /// only if it is whole but for its blank line.
    pub(crate) fn finish(&mut self) -> Bytes {
        let tail = mem::take(&mut self.tail).freeze();
        let mut passed = 0;
        let end = tail.len();
        let data = event::data(&tail);
        let whole = match &data {
            Data::None => true,
            Data::Line(text, _) => is_whole(text),
            Data::Joined(text) => is_whole(text),
        };
        if whole && !tail.is_empty() {
            self.event(&tail, 0..end, data, &mut passed);
        } else {
            passed = end;
        }
        let mut last = self.take(tail, passed, end);
        if let Some(held) = self.release() {
            last = [held, last].concat().into();
        }
        last
    }

    /// Returns the event that waits, when nothing comes behind it any more.
    pub(crate) fn release(&mut self) -> Option<Bytes> {
        let held = self.held.take()?;
        if let Some(usage) = held.usage {
            self.metered.report(usage);
        }
        Some(held.event)
    }

    /// Looks at the event `whole[place]`. What stands from `passed` on is still to go out.
    fn event(&mut self, whole: &Bytes, place: Range<usize>, data: Data<'_>, passed: &mut usize) {
        let Range { start, end } = place;
        let event = &whole[start..end];
        let (chunk, verdict) = match data {
            Data::None => (Chunk::default(), Verdict::Pass),
            Data::Line(text, place) => match self.chunk(text) {
                (chunk, Verdict::Without(part)) => (
                    chunk,
                    Verdict::Without(place.start + part.start..place.start + part.end),
                ),
                other => other,
            },
            Data::Joined(text) => match self.chunk(&text) {
                (chunk, Verdict::Without(part)) => {
                    (chunk, Verdict::Instead(one_line(&text, &part)))
                }
                other => other,
            },
        };
        let Chunk { usage, finishes } = chunk;
        if let Some(held) = self.held.take() {
            self.put_held(whole, passed, start, held, &verdict);
        }
        if finishes {
            self.flush(whole, passed, start, end);
            let event = match verdict {
                Verdict::Without(part) => {
                    [&event[..part.start], &event[part.end..]].concat().into()
                }
                Verdict::Instead(line) => line,
                Verdict::Pass | Verdict::Drop { .. } => whole.slice(start..end),
            };
            self.held = Some(Held { event, usage });
            return;
        }
        if let Some(usage) = usage {
            self.metered.report(usage);
        }
        match verdict {
            Verdict::Pass => {}
            Verdict::Without(part) => {
                self.flush(whole, passed, start + part.start, start + part.end)
            }
            Verdict::Drop { .. } => self.flush(whole, passed, start, end),
            Verdict::Instead(line) => {
                self.flush(whole, passed, start, end);
                self.out.extend_from_slice(&line);
            }
        }
    }

    /// Sends the event that waited, with the fingerprint if the one behind it brought one.
    fn put_held(
        &mut self,
        whole: &Bytes,
        passed: &mut usize,
        start: usize,
        held: Held,
        next: &Verdict,
    ) {
        self.flush(whole, passed, start, start);
        if let Some(usage) = held.usage {
            self.metered.report(usage);
        }
        let moved = match next {
            Verdict::Drop {
                fingerprint: Some(member),
            } if event::fingerprint(&held.event).is_none() => {
                memchr::memrchr(b'}', &held.event).map(|brace| (brace, member))
            }
            _ => None,
        };
        match moved {
            Some((brace, member)) => {
                self.out.extend_from_slice(&held.event[..brace]);
                self.out.push(b',');
                self.out.extend_from_slice(member);
                self.out.extend_from_slice(&held.event[brace..]);
            }
            None => self.out.extend_from_slice(&held.event),
        }
    }

    /// Copies what is still to go out before `until`, and goes on behind `behind`.
    fn flush(&mut self, whole: &Bytes, passed: &mut usize, until: usize, behind: usize) {
        if self.out.is_empty() {
            // Room for what is left of the frame, and no more: one copy, no growing, no buffer that stays.
            self.out
                .reserve_exact(whole.len() - *passed - (behind - until));
        }
        self.out.extend_from_slice(&whole[*passed..until]);
        *passed = behind;
    }

    /// Returns what goes out of `whole[..done]`: the frame itself where nothing was taken out.
    fn take(&mut self, mut whole: Bytes, passed: usize, done: usize) -> Bytes {
        if passed == 0 && self.out.is_empty() {
            whole.truncate(done);
            return whole;
        }
        if passed < done {
            self.out.extend_from_slice(&whole[passed..done]);
        }
        mem::take(&mut self.out).into()
    }

    /// Reads one JSON chunk of the answer: what it says, and what becomes of it.
    fn chunk(&mut self, text: &[u8]) -> (Chunk, Verdict) {
        if text.first() != Some(&b'{') {
            if text == b"[DONE]" && !self.failed {
                self.metered.complete();
            }
            return (Chunk::default(), Verdict::Pass);
        }
        let choices = event::choices(text, self.choices_at);
        // Usage stands behind the choices, and so does all that is generated.
        let from = choices.unwrap_or(0);
        self.choices_at = from;
        let guess = text.len().saturating_sub(self.usage_back);
        let member = usage::find(text, guess, from);
        let until = match &member {
            Some(member) if member.place.start > from => member.place.start,
            _ => text.len(),
        };
        let mut chunk = Chunk {
            usage: None,
            finishes: self.policy.strip_final && event::finishes(&text[from..until]),
        };
        let Some(member) = member else {
            if text.starts_with(b"{\"error\"") {
                self.failed = true;
            } else {
                self.add_text(&text[from..]);
            }
            return (chunk, Verdict::Pass);
        };
        self.usage_back = text.len() - member.place.start;
        let without = |takes_out: bool| {
            if takes_out {
                Verdict::Without(event::with_comma(text, &member.place))
            } else {
                Verdict::Pass
            }
        };
        let Some(usage) = member.usage else {
            self.add_text(&text[from..]);
            return (chunk, without(self.policy.strip_final));
        };
        let Some(choices) = choices.filter(|&at| !event::is_empty(text, at)) else {
            chunk.usage = Some(self.tally.whole(usage));
            if !self.policy.strip_final {
                return (chunk, Verdict::Pass);
            }
            chunk.finishes = false;
            let fingerprint = event::fingerprint(text).map(Bytes::copy_from_slice);
            return (chunk, Verdict::Drop { fingerprint });
        };
        let index = if self.tally.by_choice() {
            event::index(text, choices).unwrap_or(0)
        } else {
            0
        };
        chunk.usage = Some(self.tally.choice(index, usage));
        (chunk, without(self.policy.strip_running))
    }

    /// Counts text that came without usage.
    fn add_text(&self, text: &[u8]) {
        self.metered.add_unreported_bytes(event::text_bytes(text));
    }
}

/// Writes joined data without a part of it as an event of one line, which means the same.
fn one_line(text: &[u8], part: &Range<usize>) -> Bytes {
    let kept = text[..part.start].iter().chain(&text[part.end..]);
    let kept = kept.map(|&byte| if byte == b'\n' { b' ' } else { byte });
    b"data: "
        .iter()
        .copied()
        .chain(kept)
        .chain(*b"\n\n")
        .collect()
}

/// Tells whether data is complete, so that only its blank line is missing.
fn is_whole(text: &[u8]) -> bool {
    text == b"[DONE]" || serde_json::from_slice::<serde::de::IgnoredAny>(text).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKED_NOTHING: Policy = Policy {
        strip_final: true,
        strip_running: true,
    };

    fn chunk(rest: &str) -> String {
        format!("data: {{\"id\":\"1\",{rest}}}\n\n")
    }

    fn usage(prompt: u64, completion: u64) -> String {
        format!("\"usage\":{{\"prompt_tokens\":{prompt},\"completion_tokens\":{completion}}}")
    }

    fn content(text: &str, finish: &str) -> String {
        format!(
            "\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}},\"finish_reason\":{finish}}}]"
        )
    }

    /// Feeds a stream in frames of `size` bytes.
    fn run(policy: Policy, stream: &str, size: usize) -> (String, Metered) {
        let metered = Metered::new();
        let mut scanner = Scanner::new(policy, 1, 1, metered.clone());
        let mut out = Vec::new();
        for frame in stream.as_bytes().chunks(size) {
            out.extend_from_slice(
                &scanner
                    .push(Bytes::copy_from_slice(frame))
                    .expect("short events"),
            );
        }
        out.extend_from_slice(&scanner.finish());
        (String::from_utf8(out).expect("UTF-8"), metered)
    }

    fn stream() -> String {
        [
            chunk(&format!("{},{}", content("a", "null"), usage(11, 1))),
            ": keep-alive\n\n".to_owned(),
            chunk(&format!("{},{}", content("b", "\"stop\""), usage(11, 2))),
            chunk(&format!(
                "\"choices\":[],{},\"system_fingerprint\":\"f\"",
                usage(11, 3)
            )),
            "data: [DONE]\n\n".to_owned(),
        ]
        .concat()
    }

    #[test]
    fn what_nobody_asked_for_goes_and_the_fingerprint_moves() {
        let expected = [
            chunk(&content("a", "null")),
            ": keep-alive\n\n".to_owned(),
            chunk(&format!(
                "{},\"system_fingerprint\":\"f\"",
                content("b", "\"stop\"")
            )),
            "data: [DONE]\n\n".to_owned(),
        ]
        .concat();
        let all = stream();
        for size in 1..=all.len() {
            let (out, metered) = run(ASKED_NOTHING, &all, size);
            assert_eq!(out, expected, "in frames of {size} bytes");
            assert_eq!(
                metered.usage().map(|u| (u.prompt, u.completion)),
                Some((11, 3))
            );
            assert!(metered.is_complete());
        }
    }

    #[test]
    fn what_was_asked_for_passes_untouched() {
        let all = stream();
        for size in 1..=all.len() {
            assert_eq!(
                run(Policy::default(), &all, size).0,
                all,
                "in frames of {size} bytes"
            );
        }
    }

    #[test]
    fn only_the_last_event_was_asked_for() {
        let policy = Policy {
            strip_final: false,
            strip_running: true,
        };
        let (out, _) = run(policy, &stream(), 7);
        assert_eq!(out.matches("usage").count(), 1);
        assert!(out.contains("\"choices\":[],\"usage\""));
    }

    #[test]
    fn a_frame_without_edits_is_passed_without_a_copy() {
        let mut scanner = Scanner::new(ASKED_NOTHING, 1, 1, Metered::new());
        let frame = Bytes::from(chunk(&content("a", "null")));
        let out = scanner.push(frame.clone()).expect("short");
        assert_eq!(out.as_ptr(), frame.as_ptr());
    }

    #[test]
    fn an_event_that_waits_is_charged_when_it_goes_out() {
        let metered = Metered::new();
        let mut scanner = Scanner::new(ASKED_NOTHING, 1, 1, metered.clone());
        let last = chunk(&format!("{},{}", content("b", "\"stop\""), usage(11, 2)));
        assert!(scanner.push(last.into()).expect("short").is_empty());
        assert_eq!(metered.usage(), None, "nothing was delivered");
        assert!(scanner.release().is_some());
        assert_eq!(metered.usage().map(|u| u.completion), Some(2));
    }

    #[test]
    fn half_an_event_is_not_delivered() {
        let half = &chunk(&content("a", "null"))[..40];
        assert_eq!(run(ASKED_NOTHING, half, 5).0, "");
        assert_eq!(
            run(ASKED_NOTHING, "data: [DONE]", 5).0,
            "data: [DONE]",
            "a whole one without its blank line is"
        );
    }

    #[test]
    fn an_event_without_end_is_refused() {
        let mut scanner = Scanner::new(ASKED_NOTHING, 1, 1, Metered::new());
        let mut pushed = 0;
        while scanner.push(Bytes::from(vec![b'a'; 1 << 16])).is_ok() {
            pushed += 1 << 16;
        }
        assert_eq!(pushed, TAIL);
    }

    #[test]
    fn null_usage_goes_and_text_is_counted_instead() {
        let all = chunk(&format!("{},\"usage\":null", content("four", "null")));
        let (out, metered) = run(ASKED_NOTHING, &all, 1000);
        assert_eq!(out, chunk(&content("four", "null")));
        assert_eq!((metered.usage(), metered.unreported_bytes()), (None, 4));
        assert_eq!(
            run(
                Policy {
                    strip_final: false,
                    strip_running: true
                },
                &all,
                9
            )
            .0,
            all
        );
    }

    #[test]
    fn an_engine_that_dies_is_not_complete() {
        let all = "data: {\"error\": {\"code\": 500}}\n\ndata: [DONE]\n\n";
        let (out, metered) = run(ASKED_NOTHING, all, 10);
        assert_eq!(out, all);
        assert!(!metered.is_complete(), "[DONE] is not success");
    }

    #[test]
    fn data_over_several_lines_is_read_and_written_on_one() {
        let all = format!(
            "data: {{{},\ndata: {}}}\n\n",
            content("a", "null"),
            usage(1, 2)
        );
        let (out, metered) = run(ASKED_NOTHING, &all, 3);
        assert_eq!(out, format!("data: {{{}}}\n\n", content("a", "null")));
        assert_eq!(metered.usage().map(|u| u.completion), Some(2));
    }
}
