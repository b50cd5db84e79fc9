//! The table of `fixtures/wire/TABLE.md`: what becomes of each recording behind the gate.

use super::made::Figures;
use super::recording::{folder, names};

/// One line of the table.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) outcome: Outcome,
    pub(crate) upstream: Upstream,
    pub(crate) charged: Figures,
}

/// What the client gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// What vLLM would have said.
    Same,
    /// A refusal of the gate's own.
    Refused(u16),
    /// Something else, for the reason in the table.
    Rewritten(u16),
}

/// What the upstream says to what the gate sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Upstream {
    /// It is not asked.
    NotAsked,
    /// What was recorded for this request, or for the one of this name.
    Recorded(String),
    /// What was recorded, with running usage made for it.
    Made,
    /// It generates an answer.
    Model,
    /// What was recorded, and then it closes the connection.
    Closes,
    /// What was recorded, and then nothing more.
    FallsSilent,
    /// What was recorded, while the client leaves.
    ClientLeaves,
}

impl Upstream {
    /// Whether the answer comes to its end.
    pub(crate) const fn ends(&self) -> bool {
        !matches!(self, Self::Closes | Self::FallsSilent | Self::ClientLeaves)
    }
}

/// Reads the table.
pub(crate) fn rows() -> Vec<Row> {
    let path = folder("wire").join("TABLE.md");
    let text = std::fs::read_to_string(path).expect("the table is part of the repository");
    let lines = text.lines().filter_map(|line| line.strip_prefix("| `"));
    lines.map(row).collect()
}

fn row(line: &str) -> Row {
    let cells: Vec<&str> = line.split('|').map(str::trim).collect();
    let [name, outcome, upstream, charged, why, ""] = cells[..] else {
        panic!("not five cells: {line}");
    };
    let name = name.trim_end_matches('`').to_owned();
    let outcome = match outcome.split_once(' ') {
        None if outcome == "same" => Outcome::Same,
        Some(("refused", status)) => Outcome::Refused(status.parse().expect("a status")),
        Some(("rewritten", status)) => Outcome::Rewritten(status.parse().expect("a status")),
        _ => panic!("no outcome: {line}"),
    };
    assert!(
        outcome == Outcome::Same || !why.is_empty(),
        "what is not the same has a reason: {line}"
    );
    let upstream = match upstream {
        "not asked" => Upstream::NotAsked,
        "recorded" => Upstream::Recorded(name.clone()),
        "made" => Upstream::Made,
        "model" => Upstream::Model,
        "closes" => Upstream::Closes,
        "falls silent" => Upstream::FallsSilent,
        "client leaves" => Upstream::ClientLeaves,
        other => Upstream::Recorded(other.trim_matches('`').to_owned()),
    };
    let charged = match charged.split_once('+') {
        Some((prompt, completion)) => Figures {
            prompt: prompt.parse().expect("a number"),
            completion: completion.parse().expect("a number"),
        },
        None => {
            assert_eq!(charged, "0", "nothing, or prompt and completion: {line}");
            Figures::default()
        }
    };
    Row {
        name,
        outcome,
        upstream,
        charged,
    }
}

#[test]
fn the_table_names_every_recording_once() {
    let named: Vec<String> = rows().into_iter().map(|row| row.name).collect();
    let mut sorted = named.clone();
    sorted.sort_unstable();
    sorted.dedup();
    assert_eq!(sorted.len(), named.len(), "no recording has two lines");
    assert_eq!(sorted, names("wire"), "none is missing, none is made up");
}

#[test]
fn nothing_is_charged_for_what_the_upstream_was_not_asked() {
    for row in rows() {
        let free = matches!(row.outcome, Outcome::Refused(_)) || row.upstream == Upstream::NotAsked;
        assert!(!free || row.charged.total() == 0, "{}", row.name);
        let asked = row.upstream != Upstream::NotAsked;
        assert!(
            !(asked && matches!(row.outcome, Outcome::Refused(_))),
            "{}: a refusal is the gate's own",
            row.name
        );
    }
}
