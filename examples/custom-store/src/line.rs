//! One operation as a line of the log.

use llm_gate::clock::Timestamp;
use llm_gate::identity::{ProjectId, RequestId, Subject, UserId};
use llm_gate::store::{CallInfo, Ending, Extend, Operation, Reserve, Settle, Source};
use llm_gate::tokens::{Tokens, Usage};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::books::Books;

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Line {
    Reserve {
        id: RequestId,
        at: Timestamp,
        subjects: Vec<(String, Uuid)>,
        hold: Tokens,
        least: Tokens,
        user: UserId,
        project: ProjectId,
        route: String,
        model: String,
        stream: bool,
    },
    Extend {
        id: RequestId,
        version: u32,
        hold: Tokens,
    },
    Settle {
        id: RequestId,
        at: Timestamp,
        charge: Tokens,
        prompt: u64,
        completion: u64,
        cached: u64,
        reasoning: u64,
        source: String,
        ending: String,
        status: u16,
    },
    Limit {
        subject: (String, Uuid),
        tokens: Option<Tokens>,
    },
}

fn parts(subject: Subject) -> (String, Uuid) {
    let (kind, id) = subject.parts();
    (kind.to_owned(), *id)
}

impl Line {
    /// Writes an operation down; `None` for a kind this store does not know, which changes nothing here.
    pub(crate) fn of(operation: &Operation) -> Option<Self> {
        Some(match operation.clone() {
            Operation::Reserve(reserve) => Self::Reserve {
                id: reserve.id,
                at: reserve.at,
                subjects: reserve.subjects.into_iter().map(parts).collect(),
                hold: reserve.hold,
                least: reserve.least,
                user: reserve.call.user,
                project: reserve.call.project,
                route: reserve.call.route.into_owned(),
                model: reserve.call.model,
                stream: reserve.call.stream,
            },
            Operation::Extend(extend) => Self::Extend {
                id: extend.id,
                version: extend.version,
                hold: extend.hold,
            },
            Operation::Settle(settle) => Self::Settle {
                id: settle.id,
                at: settle.at,
                charge: settle.charge,
                prompt: settle.usage.prompt,
                completion: settle.usage.completion,
                cached: settle.usage.cached,
                reasoning: settle.usage.reasoning,
                source: settle.source.as_str().to_owned(),
                ending: settle.ending.as_str().to_owned(),
                status: settle.status,
            },
            _ => return None,
        })
    }

    pub(crate) fn limit(subject: Subject, tokens: Option<Tokens>) -> Self {
        Self::Limit {
            subject: parts(subject),
            tokens,
        }
    }

    /// Does to the books what was done when the line was written.
    pub(crate) fn apply(self, books: &mut Books) {
        let subject = |(kind, id): (String, Uuid)| Subject::from_parts(&kind, id);
        match self {
            Self::Limit {
                subject: of,
                tokens,
            } => {
                if let Some(of) = subject(of) {
                    books.set_limit(of, tokens);
                }
            }
            Self::Reserve {
                id,
                at,
                subjects,
                hold,
                least,
                user,
                project,
                route,
                model,
                stream,
            } => {
                books.apply(&Operation::Reserve(Reserve {
                    id,
                    at,
                    subjects: subjects.into_iter().filter_map(subject).collect(),
                    hold,
                    least,
                    call: CallInfo {
                        user,
                        project,
                        route: route.into(),
                        model,
                        stream,
                    },
                }));
            }
            Self::Extend { id, version, hold } => {
                books.apply(&Operation::Extend(Extend { id, version, hold }));
            }
            Self::Settle {
                id,
                at,
                charge,
                prompt,
                completion,
                cached,
                reasoning,
                source,
                ending,
                status,
            } => {
                books.apply(&Operation::Settle(Settle {
                    id,
                    at,
                    charge,
                    usage: Usage {
                        prompt,
                        completion,
                        cached,
                        reasoning,
                    },
                    source: Source::from_word(&source).unwrap_or(Source::Estimated),
                    ending: Ending::from_word(&ending).unwrap_or(Ending::Complete),
                    status,
                }));
            }
        }
    }
}
