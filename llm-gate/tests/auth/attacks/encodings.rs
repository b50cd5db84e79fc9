//! How a token is written: one spelling only.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};

use super::{Keys, Variant, bad, good, parts, raw, shared};
use crate::forge::{HEADER, b64, claims};

pub(super) fn variants(keys: &Keys) -> Vec<Variant> {
    let mut all = Vec::new();
    for kid in keys.names() {
        let header = keys.header(kid).to_string();
        spelled(keys, kid, &header, &mut all);
    }
    put_together(&mut all);
    texts(keys, &mut all);
    all
}

type Spell = fn(&str) -> String;

/// Every part spelled in other ways, and signed as it is spelled.
fn spelled(keys: &Keys, kid: Option<&str>, header: &str, all: &mut Vec<Variant>) {
    // The one claim more makes the lengths leave rests, so that there is something to pad.
    let [claims, header] = [claims().to_string(), header.to_owned()].map(|mut text| {
        while text.len() % 3 != 1 {
            text.push(' ');
        }
        text
    });
    let (header, claims) = (b64(&header), b64(&claims));
    let jwt = keys.sign_message(kid, &format!("{header}.{claims}"));
    let [_, _, signature] = parts(&jwt);
    let signature = signature.to_owned();
    all.push(good(format!("{kid:?}: one spelling"), &jwt));
    let spellings: [(&str, Spell); 15] = [
        ("one padding", |part| format!("{part}=")),
        ("two paddings", |part| format!("{part}==")),
        ("three paddings", |part| format!("{part}===")),
        ("a stray bit", stray),
        ("one character more", |part| format!("{part}A")),
        ("a newline after", |part| format!("{part}\n")),
        ("a newline within", |part| {
            format!("{}\r\n{}", &part[..4], &part[4..])
        }),
        ("a blank before", |part| format!(" {part}")),
        ("a blank after", |part| format!("{part} ")),
        ("a NUL after", |part| format!("{part}\0")),
        ("a percent escape", |part| format!("{part}%3D")),
        ("the other alphabet", |part| {
            format!("{}+/{}", &part[..4], &part[4..])
        }),
        ("a wide letter", |part| format!("{part}Ａ")),
        ("quotes around it", |part| format!("\"{part}\"")),
        ("nothing", |_| String::new()),
    ];
    for (name, spell) in spellings {
        let words = |part| format!("{kid:?}: {part} with {name}");
        let message = format!("{}.{claims}", spell(&header));
        all.push(bad(words("header"), keys.sign_message(kid, &message)));
        let message = format!("{header}.{}", spell(&claims));
        all.push(bad(words("claims"), keys.sign_message(kid, &message)));
        let message = format!("{header}.{claims}");
        let signature = spell(&signature);
        all.push(bad(words("signature"), format!("{message}.{signature}")));
    }
}

/// Sets a bit that the last character of base64 has and the bytes do not.
fn stray(part: &str) -> String {
    const LETTERS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let last = part.chars().last().and_then(|last| LETTERS.find(last));
    let last = last.expect("base64url");
    let next = &LETTERS[last ^ 1..][..1];
    format!("{}{next}", &part[..part.len() - 1])
}

/// Parts too many, too few, in another order.
fn put_together(all: &mut Vec<Variant>) {
    let jwt = shared(&claims().to_string());
    let [header, body, signature] = parts(&jwt);
    for (name, text) in [
        ("empty", String::new()),
        ("one dot", ".".to_owned()),
        ("two dots", "..".to_owned()),
        ("three dots", "...".to_owned()),
        ("header alone", header.to_owned()),
        ("no signature", format!("{header}.{body}")),
        ("a dot before", format!(".{jwt}")),
        ("a dot after", format!("{jwt}.")),
        ("a dot doubled", format!("{header}..{body}.{signature}")),
        (
            "five parts",
            format!("{header}.{body}.{signature}.{body}.{signature}"),
        ),
        ("four parts", format!("{jwt}.{signature}")),
        ("claims first", format!("{body}.{header}.{signature}")),
        ("two tokens", format!("{jwt},{jwt}")),
        ("a scheme before", format!("Bearer {jwt}")),
        ("a comma for a dot", format!("{header},{body},{signature}")),
        ("a wide dot", format!("{header}．{body}．{signature}")),
        (
            "a JSON token",
            format!(r#"{{"protected":"{header}","payload":"{body}","signature":"{signature}"}}"#),
        ),
        ("base64 of a token", URL_SAFE.encode(&jwt)),
        ("a token in a token", shared(&format!("\"{jwt}\""))),
        ("standard base64", {
            let message = format!(
                "{}.{}",
                STANDARD.encode(HEADER),
                STANDARD.encode(r#"{"iss":"???>>>"}"#)
            );
            format!(
                "{message}.{}",
                crate::forge::mac(crate::forge::SECRET, &message)
            )
        }),
    ] {
        all.push(bad(name, text));
    }
}

/// JSON that is none, or that readers disagree about.
fn texts(keys: &Keys, all: &mut Vec<Variant>) {
    let good = claims().to_string();
    let open = &good[..good.len() - 1];
    let deep = format!("{open},\"a\":{}{}}}", "[".repeat(3000), "]".repeat(2999));
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("a byte order mark", format!("\u{feff}{good}").into()),
        ("a second object", format!("{good}{{}}").into()),
        ("text after", format!("{good}x").into()),
        ("a comma after", format!("{good},").into()),
        ("a comma at the end", format!("{open},}}").into()),
        ("a comment", format!("{open}/**/}}").into()),
        ("cut off", open.into()),
        ("a list", format!("[{good}]").into()),
        ("a text", format!("{good:?}").into()),
        ("null", "null".into()),
        ("a number", "7".into()),
        ("nothing", Vec::new()),
        ("single quotes", good.replace('"', "'").into()),
        (
            "names without quotes",
            good.replace("\"exp\"", "exp").into(),
        ),
        ("not a number", format!("{open},\"a\":NaN}}").into()),
        ("infinity", format!("{open},\"a\":Infinity}}").into()),
        (
            "a number with a zero before",
            format!("{open},\"a\":01}}").into(),
        ),
        (
            "a number in hexadecimal",
            format!("{open},\"a\":0x1}}").into(),
        ),
        ("a number with a plus", format!("{open},\"a\":+1}}").into()),
        (
            "a raw newline in a text",
            format!("{open},\"a\":\"\n\"}}").into(),
        ),
        ("a NUL in a text", format!("{open},\"a\":\"\0\"}}").into()),
        (
            "an unknown escape",
            format!("{open},\"a\":\"\\x41\"}}").into(),
        ),
        ("half an escape", format!("{open},\"a\":\"\\u00\"}}").into()),
        ("an open bracket", deep.into()),
        ("a byte that is no UTF-8, unread", raw_byte(open, b"\xff")),
        ("an overlong form, unread", raw_byte(open, b"\xc0\xaf")),
        (
            "a surrogate in UTF-8, unread",
            raw_byte(open, b"\xed\xa0\x80"),
        ),
        ("half a character, unread", raw_byte(open, b"\xe2\x82")),
        (
            "a byte that is no UTF-8 in a name",
            [open.as_bytes(), b",\"\xff\":1}"].concat(),
        ),
        (
            "a byte that is no UTF-8 after",
            [good.as_bytes(), b"\xff"].concat(),
        ),
        (
            "UTF-16",
            good.encode_utf16().flat_map(u16::to_be_bytes).collect(),
        ),
        (
            "UTF-16, the other way",
            good.encode_utf16().flat_map(u16::to_le_bytes).collect(),
        ),
        ("UTF-7", good.replace('{', "+AHs-").into()),
        ("Latin-1 in the audience", {
            let at = good.find("llm-gate").expect("the audience");
            let (before, after) = good.as_bytes().split_at(at);
            [before, b"\xe9", after].concat()
        }),
    ];
    for (name, claims) in cases {
        for kid in [None, Some("ed")] {
            let header = keys.header(kid).to_string();
            let jwt = keys.sign(kid, header.as_bytes(), &claims);
            all.push(bad(format!("{kid:?}: claims with {name}"), jwt));
        }
    }
    let header = keys.header(Some("ed")).to_string();
    for (name, text) in [
        (
            "a byte order mark",
            format!("\u{feff}{header}").into_bytes(),
        ),
        ("text after", format!("{header}x").into()),
        ("a NUL after", format!("{header}\0").into()),
        ("a list", format!("[{header}]").into()),
        ("null", "null".into()),
        (
            "a byte that is no UTF-8",
            [header.as_bytes(), b"\xff"].concat(),
        ),
        (
            "UTF-16",
            header.encode_utf16().flat_map(u16::to_be_bytes).collect(),
        ),
        ("no JSON", b"alg=EdDSA".to_vec()),
    ] {
        let jwt = keys.sign(Some("ed"), &text, good.as_bytes());
        all.push(bad(format!("header with {name}"), jwt));
    }
    let blanks = format!("\t{{ {} \n", &raw_header(&header)[1..]);
    let jwt = keys.sign(Some("ed"), blanks.as_bytes(), good.as_bytes());
    all.push(super::good("a header with blanks", jwt));
    // One that fills 8 KiB is read, and one that is longer is not, however well it is signed.
    for kid in keys.names() {
        let header = keys.header(kid).to_string();
        let padded = |padding: usize| {
            let pad = format!(",\"pad\":\"{}\"}}", "x".repeat(padding));
            let claims = good.trim_end_matches('}').to_owned() + &pad;
            keys.sign(kid, header.as_bytes(), claims.as_bytes())
        };
        let (shortest, growth) = (padded(0).len(), |padding: usize| padding * 4 / 3);
        let padding = (0..).take_while(|padding| shortest + growth(*padding) < 8 * 1024 - 2);
        let padding = padding.last().expect("some are shorter");
        let [fits, over] = [padded(padding), padded(padding + 6)];
        assert!(
            (8 * 1024 - 8..=8 * 1024).contains(&fits.len()),
            "{}",
            fits.len()
        );
        assert!(
            (8 * 1024 + 1..8 * 1024 + 8).contains(&over.len()),
            "{}",
            over.len()
        );
        all.push(super::good(format!("{kid:?}: one that fills 8 KiB"), fits));
        all.push(bad(format!("{kid:?}: oversized"), over));
    }
    all.push(bad("oversized", {
        let long = "x".repeat(200_000);
        let mut jwt = raw(
            &format!(r#"{{"alg":"HS256","typ":"at+jwt","kid":"{long}"}}"#),
            &good,
        );
        jwt.push('.');
        jwt
    }));
}

fn raw_byte(open: &str, bytes: &[u8]) -> Vec<u8> {
    [open.as_bytes(), b",\"a\":\"", bytes, b"\"}"].concat()
}

fn raw_header(header: &str) -> String {
    header.replace(',', " ,\n")
}
