//! Every order of events there is, in a small world: the protocol of journal and books, run over the rules
//! that are shipped, through kills, restarts of the machine, and answers that get lost or come late.
//!
//! A breadth-first search visits each state once. Three requests of three events share a budget for four. Each
//! may be sent before its hold is committed; it holds one event at first, and extends its hold while it runs. Another
//! process takes this one for dead, once, at any moment, and presumes what a request of it has used. Worlds that differ
//! only in which request is which are one.

mod books;
mod world;

use std::collections::HashSet;

use world::World;

const REQUESTS: usize = 3;
const EVENTS: u8 = 3;
/// How often one request can ask for more.
const EXTENSIONS: usize = 2;
const DEATHS: u8 = 2;
const LOST: u8 = 1;
/// How often the process is taken for dead by another one, rightly or not.
const EXPIRIES: u8 = 1;

/// A change that must break the promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mutant {
    None,
    /// A settlement that does not look whether the reservation is still pending.
    SettlesAgain,
    /// An event that is delivered before the journal has it.
    DeliversFirst,
    /// A recovery, or another process, that frees holds it knows nothing of.
    FreesHolds,
    /// A request that is sent, and written into the journal with its first event.
    ForwardsFirst,
    /// A settlement that corrects what was corrected.
    CorrectsAgain,
    /// A reserve that does not look at the room.
    HoldsUnchecked,
    /// A slot that is freed before its settlement is committed.
    FreesSlotsEarly,
    /// A request that is sent before its commit, and delivered before it too.
    DeliversUncommitted,
    /// An event that does not wait for its extension.
    DeliversUnheld,
    /// An extension that comes late and changes the hold all the same.
    IgnoresVersions,
}

/// Visits every state; returns how many there are, and how far away the first broken promise is.
fn explore(mutant: Mutant) -> (usize, Option<(usize, &'static str)>) {
    let mut seen = HashSet::from([World::new()]);
    let mut frontier = vec![World::new()];
    let mut steps = 0;
    while !frontier.is_empty() {
        let mut further = Vec::new();
        for world in &frontier {
            if let Some(broken) = world.broken() {
                return (seen.len(), Some((steps, broken)));
            }
            for next in world.next(mutant) {
                if seen.insert(next) {
                    further.push(next);
                }
            }
        }
        frontier = further;
        steps += 1;
    }
    (seen.len(), None)
}

#[test]
fn the_protocol_keeps_its_promises_in_every_state() {
    let (states, broken) = explore(Mutant::None);
    println!("{states} states");
    assert_eq!(broken, None);
    assert!(
        states >= 500_000,
        "{states} states are too few to mean much"
    );
}

#[test]
fn each_mutant_of_the_protocol_is_found() {
    for mutant in [
        Mutant::SettlesAgain,
        Mutant::DeliversFirst,
        Mutant::FreesHolds,
        Mutant::ForwardsFirst,
        Mutant::CorrectsAgain,
        Mutant::HoldsUnchecked,
        Mutant::FreesSlotsEarly,
        Mutant::DeliversUncommitted,
        Mutant::DeliversUnheld,
        Mutant::IgnoresVersions,
    ] {
        let (_, broken) = explore(mutant);
        let (steps, why) = broken.unwrap_or_else(|| panic!("{mutant:?} breaks nothing"));
        println!("{mutant:?}: {why}, after {steps} steps");
    }
}
