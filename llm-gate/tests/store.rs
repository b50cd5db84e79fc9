//! The suite of the stores, on the store in memory.

async fn make() -> llm_gate::store::MemoryStore {
    llm_gate::store::MemoryStore::new()
}

llm_gate::conformance_tests!(crate::make);

#[test]
fn every_rule_is_run() {
    let modules = [
        (
            "users",
            include_str!("../src/store/conformance/users.rs"),
            "",
        ),
        (
            "projects",
            include_str!("../src/store/conformance/projects.rs"),
            "",
        ),
        (
            "credentials",
            include_str!("../src/store/conformance/credentials.rs"),
            "",
        ),
        (
            "ledger",
            include_str!("../src/store/conformance/ledger.rs"),
            include_str!("../src/store/conformance/ledger/concurrent.rs"),
        ),
        (
            "together",
            include_str!("../src/store/conformance/together.rs"),
            "",
        ),
    ];
    for (module, source, more) in modules {
        let list = source
            .split_once("rules!(")
            .and_then(|(_, rest)| rest.split_once(");"));
        let (list, _) = list.expect("a module lists its rules");
        for line in source.lines().chain(more.lines()) {
            let Some(rule) = line.strip_prefix("pub async fn ") else {
                continue;
            };
            let (rule, _) = rule.split_once('<').expect("a rule takes any store");
            assert!(
                list.contains(&format!(" {rule},")),
                "{module}::{rule} is not in the list"
            );
        }
    }
}
