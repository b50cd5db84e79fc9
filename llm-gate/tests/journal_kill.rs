//! `kill -9` in the middle of a write loop: what is found afterwards was announced, or is the next figure.

use std::collections::HashMap;
use std::env;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use llm_gate::identity::RequestId;
use llm_gate::ledger::Charge;
use llm_gate::ledger::journal::{BootId, Entry, Journal, Options, State};
use llm_gate::store::{Ending, Source};
use llm_gate::tokens::Usage;
use tempfile::TempDir;

const FOLDER: &str = "LLM_GATE_TEST_JOURNAL";
const ROUNDS: usize = 12;
const SLOTS: u64 = 3;
/// How many events a request has before its slot goes to the next one.
const EVENTS: u64 = 5;

/// Where a request stands: its last record, as a number that grows by one a record.
type Step = u64;

fn entry(step: Step) -> Entry {
    let usage = |step| Usage {
        prompt: 1000,
        completion: step,
        cached: step % 7,
        reasoning: 0,
    };
    match step {
        1 => Entry::forwarded(),
        step if step <= 1 + EVENTS => Entry::running(usage(step)),
        step => Entry::ended(&Charge::upstream(usage(step), Ending::Complete, 200)),
    }
}

/// The child: announces each record on its output after it is made, for ever.
#[test]
#[ignore = "the process to be killed, started by the other test"]
fn victim() {
    let Some(folder) = env::var_os(FOLDER) else {
        return;
    };
    let options = Options::new().slots(SLOTS as u32);
    let journal = Journal::open(Path::new(&folder), options).unwrap();
    let mut output = std::io::stdout();
    let mut announce = |id: RequestId, what: &str| writeln!(output, "@ {id} {what}").unwrap();
    loop {
        let mut slots: Vec<_> = (0..SLOTS)
            .map(|_| {
                let id = RequestId::new();
                announce(id, "claims");
                let slot = journal.claim(id).unwrap();
                announce(id, "0");
                slot
            })
            .collect();
        for step in 1..=EVENTS + 2 {
            for slot in &mut slots {
                slot.record(entry(step)).unwrap();
                announce(slot.id(), &step.to_string());
            }
        }
        for slot in slots {
            let id = slot.id();
            announce(id, "frees");
            slot.free().unwrap();
            announce(id, "freed");
        }
    }
}

/// What the child said of one request.
#[derive(Debug, PartialEq)]
enum Said {
    Claims,
    Step(Step),
    Frees,
    Freed,
}

/// Runs a child, kills it once it has said `lines`, and returns the last it said of each request.
fn kill_after(folder: &Path, lines: usize) -> HashMap<RequestId, Said> {
    let mut child = Command::new(env::current_exe().expect("this test has a path"))
        .args(["victim", "--exact", "--ignored", "--nocapture", "-q"])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts once more");
    let mut output = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    let mut said = HashMap::new();
    let mut heard = 0;
    let mut killed = false;
    // After the kill the pipe is read to its end: what stands in it was said before.
    while let Some(Ok(line)) = output.next() {
        let mut words = line.split(' ').skip_while(|word| *word != "@").skip(1);
        let (Some(id), Some(what)) = (words.next(), words.next()) else {
            continue;
        };
        let Ok(id) = id.parse() else { continue };
        let what = match what {
            "claims" => Said::Claims,
            "frees" => Said::Frees,
            "freed" => Said::Freed,
            step => Said::Step(step.parse().expect("a step is a number")),
        };
        said.insert(id, what);
        heard += 1;
        if heard >= lines && !killed {
            child.kill().expect("it is ours to kill");
            killed = true;
        }
    }
    assert!(killed, "it ended by itself");
    let status = child.wait().expect("it is ours to wait for");
    assert_eq!(
        std::os::unix::process::ExitStatusExt::signal(&status),
        Some(9)
    );
    said
}

#[test]
fn after_kill_9_every_figure_is_the_one_announced_or_the_next() {
    for round in 0..ROUNDS {
        let folder = TempDir::new().unwrap();
        let said = kill_after(folder.path(), 20 + 137 * round);
        let mut adoption = Journal::adopt(folder.path(), BootId::current()).unwrap();
        assert!(adoption.failed.is_empty());
        let Some(file) = adoption.files.pop() else {
            let all = said
                .values()
                .all(|said| matches!(said, Said::Freed | Said::Frees | Said::Claims));
            assert!(
                all,
                "only where everything is free is there nothing to adopt"
            );
            continue;
        };
        assert!(file.trusted());
        assert_eq!(file.unreadable(), []);
        let mut found = HashMap::new();
        for leftover in file.leftovers() {
            assert!(
                !leftover.torn,
                "the kernel does not tear a write within a page"
            );
            let step = match leftover.state {
                State::Intent => 0,
                State::Forwarded => 1,
                _ => {
                    assert_eq!(leftover.usage.prompt, 1000);
                    assert_eq!(leftover.source, Source::Upstream);
                    leftover.usage.completion
                }
            };
            assert_eq!(leftover.usage.cached, if step > 1 { step % 7 } else { 0 });
            assert!(
                found.insert(leftover.id, step).is_none(),
                "one slot a request"
            );
        }
        for (id, said) in &said {
            let found = found.remove(id);
            let fits = match (said, found) {
                (Said::Claims, found) => found.is_none_or(|step| step == 0),
                (Said::Step(said), Some(found)) => found == *said || found == said + 1,
                (Said::Step(_), None) => false,
                (Said::Frees, found) => found.is_none_or(|step| step == EVENTS + 2),
                (Said::Freed, found) => found.is_none(),
            };
            assert!(fits, "{id}: said {said:?}, found {found:?}");
        }
        assert!(found.is_empty(), "nobody announced {found:?}");
        file.settled().unwrap();
    }
}
