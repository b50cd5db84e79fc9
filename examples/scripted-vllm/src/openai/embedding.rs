//! Embeddings in their four encodings.

use std::fmt::Write as _;

use super::{Made, push_cached, push_string, scatter};
use crate::model::escape;

/// The numbers in one embedding.
const DIMENSIONS: usize = 32;

/// How embeddings are written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Encoding {
    Float,
    Base64,
    Bytes,
    BytesOnly,
}

/// An embedding request, counted.
#[derive(Debug)]
pub(crate) struct Embedding {
    pub(super) id: String,
    pub(super) created: u64,
    pub(super) model: String,
    pub(super) inputs: Vec<u64>,
    pub(super) prompt_tokens: u64,
    pub(super) cached: Option<u64>,
    pub(super) encoding: Encoding,
}

impl Embedding {
    pub(crate) const fn made(&self) -> Made {
        Made {
            prompt: self.prompt_tokens,
            completion: 0,
        }
    }

    /// Returns the vectors as bytes, and the `metadata` header, if the client wants them so.
    pub(crate) fn bytes(&self) -> Option<(Vec<u8>, Option<String>)> {
        let described = match self.encoding {
            Encoding::Bytes => true,
            Encoding::BytesOnly => false,
            Encoding::Float | Encoding::Base64 => return None,
        };
        let bytes = (0..self.inputs.len())
            .flat_map(|at| self.vector(at))
            .flat_map(f32::to_le_bytes)
            .collect();
        Some((bytes, described.then(|| self.metadata())))
    }

    fn metadata(&self) -> String {
        let mut model = String::new();
        escape(&mut model, &self.model);
        let mut out = format!(
            "{{\"id\": \"{}\", \"created\": {}, \"model\": \"{model}\", \"data\": [",
            self.id, self.created
        );
        for index in 0..self.inputs.len() {
            let size = DIMENSIONS * size_of::<f32>();
            let separator = if index > 0 { ", " } else { "" };
            push!(
                out,
                "{separator}{{\"index\": {index}, \"embed_dtype\": \"float32\", \"endianness\": \"native\", \
                 \"start\": {}, \"end\": {}, \"shape\": [{DIMENSIONS}]}}",
                index * size,
                (index + 1) * size,
            );
        }
        push!(
            out,
            "], \"usage\": {{\"prompt_tokens\": {0}, \"total_tokens\": {0}}}}}",
            self.prompt_tokens
        );
        out
    }

    /// Writes the answer as JSON.
    pub(crate) fn json(&self, out: &mut String) {
        push!(
            out,
            "{{\"id\":\"{}\",\"object\":\"list\",\"created\":{},\"model\":",
            self.id,
            self.created
        );
        push_string(out, &self.model);
        out.push_str(",\"data\":[");
        for index in 0..self.inputs.len() {
            let separator = if index > 0 { "," } else { "" };
            push!(
                out,
                "{separator}{{\"index\":{index},\"object\":\"embedding\",\"embedding\":"
            );
            if self.encoding == Encoding::Base64 {
                let bytes: Vec<u8> = self.vector(index).flat_map(f32::to_le_bytes).collect();
                out.push('"');
                base64(&bytes, out);
                out.push('"');
            } else {
                for (at, number) in self.vector(index).enumerate() {
                    out.push(if at == 0 { '[' } else { ',' });
                    push!(out, "{}", f64::from(number));
                }
                out.push(']');
            }
            out.push('}');
        }
        push!(
            out,
            "],\"usage\":{{\"prompt_tokens\":{0},\"total_tokens\":{0},\"completion_tokens\":0,\"prompt_tokens_details\":",
            self.prompt_tokens
        );
        push_cached(out, self.cached, self.prompt_tokens);
        out.push_str(",\"completion_tokens_details\":null}}");
    }

    /// Makes up the vector of one input.
    fn vector(&self, index: usize) -> impl Iterator<Item = f32> {
        let seed = self.inputs[index].wrapping_mul(DIMENSIONS as u64);
        (0..DIMENSIONS as u64).map(move |at| {
            let bits = scatter(seed + at + 1) >> 48;
            f32::from(bits as u16) / 65_536.0 - 0.5
        })
    }
}

fn base64(bytes: &[u8], out: &mut String) {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for group in bytes.chunks(3) {
        let bits = (0..3).fold(0, |bits, at| {
            bits << 8 | u32::from(group.get(at).copied().unwrap_or(0))
        });
        for at in 0..4 {
            let letter = ALPHABET[(bits >> (18 - 6 * at) & 63) as usize];
            out.push(if at <= group.len() {
                letter.into()
            } else {
                '='
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::base64;

    #[test]
    fn base64_pads_to_whole_groups() {
        for (bytes, text) in [
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
        ] {
            let mut out = String::new();
            base64(bytes.as_bytes(), &mut out);
            assert_eq!(out, text);
        }
    }
}
