use axum::response::Response;
use bytes::Bytes;
use http::HeaderName;
use http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, DATE, TRANSFER_ENCODING, UPGRADE};
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;

/// How long the head of a frame is: the length of what follows, a type, flags, and a stream.
const HEAD: usize = 9;
/// What every client takes in one frame.
const MAX_FRAME: usize = 16 * 1024;
/// The longest block of a status and nothing else, before which the table may be told a new size twice.
pub(super) const MAX_BARE: usize = 16;

const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// What is not said of an answer without a body, or not over HTTP/2, or that we say ourselves.
const LEFT_OUT: [HeaderName; 6] = [
    CONNECTION,
    CONTENT_LENGTH,
    CONTENT_TYPE,
    DATE,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// An answer of h2's own: one frame.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Bare<'a> {
    pub(super) stream: [u8; 4],
    /// The whole of its block.
    pub(super) block: &'a [u8],
}

impl<'a> Bare<'a> {
    /// Reads what `bytes` begin with as the whole of such a frame.
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let (&head, rest) = bytes.split_first_chunk::<HEAD>()?;
        let [.., kind, flags, a, b, c, d] = head;
        let block = rest.get(..length(head))?;
        let own = kind == HEADERS && flags == END_STREAM | END_HEADERS && block.len() <= MAX_BARE;
        let stream = [a, b, c, d];
        own.then_some(Self { stream, block })
    }

    /// How long the frame is.
    pub(super) const fn length(&self) -> usize {
        HEAD + self.block.len()
    }
}

/// How much comes behind the head of a frame.
fn length([high, middle, low, ..]: [u8; HEAD]) -> usize {
    usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low)
}

/// Knows where frames begin in what is written.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Frames {
    /// How much is still to come of the frame that was begun, behind its head.
    left: usize,
    /// The head of one, while that is not there as a whole,
    head: [u8; HEAD],
    /// and how much of it is.
    known: usize,
}

impl Frames {
    /// Returns the first answer of h2's own that is in `bytes` as a whole, which come next, and where it begins.
    pub(super) fn find<'a>(&mut self, bytes: &'a [u8]) -> Option<(usize, Bare<'a>)> {
        self.follow(bytes, Bare::read)
    }

    /// Notes that `bytes` came next.
    pub(super) fn pass(&mut self, bytes: &[u8]) {
        self.follow(bytes, |_| None::<()>);
    }

    /// Goes from frame to frame, up to one that is sought.
    fn follow<'a, T>(
        &mut self,
        bytes: &'a [u8],
        sought: impl Fn(&'a [u8]) -> Option<T>,
    ) -> Option<(usize, T)> {
        let mut rest = bytes;
        loop {
            let (passed, behind) = rest.split_at(rest.len().min(self.left));
            self.left -= passed.len();
            if behind.is_empty() {
                return None;
            }
            if self.known == 0
                && let Some(found) = sought(behind)
            {
                return Some((bytes.len() - behind.len(), found));
            }
            let (head, behind) = behind.split_at(behind.len().min(HEAD - self.known));
            self.head[self.known..][..head.len()].copy_from_slice(head);
            self.known += head.len();
            rest = behind;
            if self.known == HEAD {
                self.left = length(self.head);
                self.known = 0;
            }
        }
    }
}

/// Writes an answer down as HTTP/2 has it: its headers behind h2's own `block`, as the end of `stream`.
pub(super) fn write_down(stream: [u8; 4], mut block: Vec<u8>, response: &Response) -> Bytes {
    let mut write = |name: &HeaderName, value: &[u8]| {
        // A literal that is in no table, and does not get there (RFC 7541, section 6.2.2).
        block.push(0);
        write_text(&mut block, name.as_str().as_bytes());
        write_text(&mut block, value);
    };
    let said = response.headers().iter();
    for (name, value) in said.filter(|(name, _)| !LEFT_OUT.contains(name)) {
        write(name, value.as_bytes());
    }
    write(&CONTENT_LENGTH, b"0");
    // Fails for years of five digits.
    let date = DateTimePrinter::new().timestamp_to_rfc9110_string(&Timestamp::now());
    write(&DATE, date.unwrap_or_default().as_bytes());

    let mut frames = Vec::with_capacity(HEAD + block.len());
    let mut parts = block.chunks(MAX_FRAME).peekable();
    let (mut kind, mut flags) = (HEADERS, END_STREAM);
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            flags |= END_HEADERS;
        }
        let [.., high, middle, low] = part.len().to_be_bytes();
        frames.extend_from_slice(&[high, middle, low, kind, flags]);
        frames.extend_from_slice(&stream);
        frames.extend_from_slice(part);
        (kind, flags) = (CONTINUATION, 0);
    }
    frames.into()
}

/// Writes a text with its length before it (RFC 7541, sections 5.1 and 5.2).
fn write_text(block: &mut Vec<u8>, text: &[u8]) {
    const PREFIX: usize = 0x7f;
    let mut left = text.len();
    if left < PREFIX {
        block.push(left as u8);
    } else {
        block.push(PREFIX as u8);
        left -= PREFIX;
        while left >= 0x80 {
            block.push(0x80 | left as u8);
            left >>= 7;
        }
        block.push(left as u8);
    }
    block.extend_from_slice(text);
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    /// A frame of stream 3.
    fn frame(kind: u8, flags: u8, length: usize) -> Vec<u8> {
        let [.., high, middle, low] = length.to_be_bytes();
        let mut frame = vec![high, middle, low, kind, flags, 0, 0, 0, 3];
        frame.resize(HEAD + length, 0x88);
        frame
    }

    const ENDS: u8 = END_STREAM | END_HEADERS;

    #[test]
    fn only_a_frame_that_says_no_more_than_a_status_is_h2s_own() {
        let own = frame(HEADERS, ENDS, 5);
        let bare = Bare::read(&own).expect("its own");
        assert_eq!((bare.stream, bare.length()), ([0, 0, 0, 3], own.len()));
        assert_eq!(bare.block, &own[HEAD..]);
        assert!(Bare::read(&frame(HEADERS, ENDS, MAX_BARE)).is_some());
        for (kind, flags, length, why) in [
            (HEADERS, ENDS, MAX_BARE + 1, "it says more"),
            (HEADERS, END_HEADERS, 5, "a body follows"),
            (HEADERS, END_STREAM, 5, "more headers follow"),
            (HEADERS, ENDS | 0x20, 5, "h2 sets no priority"),
            (0, ENDS, 5, "a body"),
            (CONTINUATION, ENDS, 5, "the rest of other headers"),
        ] {
            assert_eq!(Bare::read(&frame(kind, flags, length)), None, "{why}");
        }
        assert_eq!(Bare::read(&own[..own.len() - 1]), None, "not all of it");
        assert_eq!(Bare::read(&own[..HEAD - 1]), None);
        assert_eq!(Bare::read(b""), None);
    }

    #[test]
    fn frames_are_followed_however_they_are_split() {
        let own = frame(HEADERS, ENDS, 5);
        // What looks like one in a body is none.
        let body: Vec<u8> = [frame(0, 0, 3 * own.len())]
            .iter()
            .flat_map(|frame| frame[..HEAD].iter().copied())
            .chain(own.repeat(3))
            .collect();
        let before = [frame(4, 0, 0), body, frame(HEADERS, END_HEADERS, 300)].concat();
        let all = [&before[..], &own, &frame(0, END_STREAM, 2)].concat();
        for cut in 0..=before.len() {
            let mut frames = Frames::default();
            frames.pass(&all[..cut]);
            let (place, bare) = frames.find(&all[cut..]).expect("found");
            assert_eq!((place, bare.length()), (before.len() - cut, own.len()));
        }
        for cut in before.len() + 1..=all.len() {
            let mut frames = Frames::default();
            frames.pass(&all[..cut]);
            assert_eq!(frames.find(&all[cut..]), None, "it has begun before");
            assert_eq!((frames.left, frames.known), (0, 0), "and all have ended");
        }
    }

    #[test]
    fn headers_of_any_length_stand_behind_the_status() {
        for length in [0, 1, 126, 127, 128, 254, 255, 300, 20_000, 40_000] {
            let value = "v".repeat(length);
            let response = Response::builder()
                .header("x-long", &value)
                .header("connection", "close")
                .header("content-type", "text/plain")
                .body(Body::empty())
                .expect("an answer");
            let status = vec![0x48, 3, b'4', b'3', b'1'];
            let written = write_down([0, 0, 0, 5], status.clone(), &response);
            let (mut rest, mut block, mut flags) = (&written[..], Vec::new(), Vec::new());
            while let Some((&head, behind)) = rest.split_first_chunk::<HEAD>() {
                let part = &behind[..super::length(head)];
                assert!(part.len() <= MAX_FRAME && head[5..] == [0, 0, 0, 5]);
                block.extend_from_slice(part);
                flags.push((head[3], head[4]));
                rest = &behind[part.len()..];
            }
            let (first, more) = flags.split_first_mut().expect("a frame");
            assert_eq!((first.0, first.1 & END_STREAM), (HEADERS, END_STREAM));
            assert!(
                more.iter()
                    .all(|(kind, flags)| *kind == CONTINUATION && flags & END_STREAM == 0)
            );
            let ends = flags.iter().map(|(_, flags)| flags & END_HEADERS != 0);
            let ends: Vec<_> = ends.collect();
            let (last, others) = ends.split_last().expect("a frame");
            assert!(*last && !others.contains(&true));
            assert_eq!(
                fields(block.strip_prefix(&status[..]).expect("first")),
                [
                    ("x-long".to_owned(), value),
                    ("content-length".to_owned(), "0".to_owned()),
                ]
            );
        }
    }

    /// Reads literals; the date of now is left out.
    fn fields(mut block: &[u8]) -> Vec<(String, String)> {
        fn text(block: &mut &[u8]) -> String {
            let mut next = || {
                let (first, rest) = block.split_first().expect("more");
                *block = rest;
                usize::from(*first)
            };
            let mut length = next();
            if length == 127 {
                for shift in (0..).step_by(7) {
                    let byte = next();
                    length += (byte & 0x7f) << shift;
                    if byte < 0x80 {
                        break;
                    }
                }
            }
            let (text, rest) = block.split_at(length);
            *block = rest;
            String::from_utf8(text.to_vec()).expect("text")
        }
        let mut fields = Vec::new();
        while let Some((0, rest)) = block.split_first() {
            block = rest;
            fields.push((text(&mut block), text(&mut block)));
        }
        assert!(block.is_empty(), "nothing but literals");
        let (name, date) = fields.pop().expect("a date");
        assert!(name == "date" && date.ends_with(" GMT"), "{date}");
        fields
    }
}
