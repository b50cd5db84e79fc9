//! The suite of the stores, on the store in memory.

use std::path::Path;

async fn make() -> llm_gate::store::MemoryStore {
    llm_gate::store::MemoryStore::new()
}

llm_gate::conformance_tests!(crate::make);

#[test]
fn every_rule_is_run() {
    let suite = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store/conformance");
    let source = read_all(&suite);
    let lists: Vec<&str> = source
        .split("rules!(__")
        .skip(1)
        .filter_map(|rest| rest.split(");").next())
        .collect();
    let rules = source
        .lines()
        .filter_map(|line| line.strip_prefix("pub async fn ")?.split('<').next())
        // One runs them, the other helps them.
        .filter(|rule| !["all", "filled"].contains(rule));
    let mut count = 0;
    for rule in rules {
        let listed = lists.iter().any(|list| list.contains(&format!(" {rule},")));
        assert!(listed, "{rule} is in no list, so nobody runs it");
        count += 1;
    }
    assert!(count > 70, "the suite was found: {count} rules");
}

/// Reads all files of a folder, and of those in it.
fn read_all(folder: &Path) -> String {
    let mut text = String::new();
    for entry in std::fs::read_dir(folder).expect("the suite is there") {
        let path = entry.expect("the folder can be listed").path();
        if path.is_dir() {
            text.push_str(&read_all(&path));
        } else {
            text.push_str(&std::fs::read_to_string(path).expect("a source file"));
        }
    }
    text
}
