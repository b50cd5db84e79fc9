//! The demo is the first thing somebody tries.

use support::{Finished, program};

#[tokio::test]
async fn the_demo_runs_once_checks_itself_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let mut demo = program(folder.path());
    demo.args(["demo", "--once"]).env("TMPDIR", folder.path());
    let demo = Finished::of(demo, "").await;
    assert_eq!(demo.code, 0, "{demo:?}");
    assert!(demo.out.contains("all checks passed"), "{}", demo.out);
    let left = folder.path().read_dir().expect("a folder").count();
    assert_eq!(left, 0, "its data is gone with it");
}

#[tokio::test]
async fn a_command_that_is_wrong_says_so_in_one_line() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let mut command = program(folder.path());
    command.args(["serve"]).env("JWT_ALGORITHM", "none");
    let refused = Finished::of(command, "").await;
    assert_eq!(refused.code, 2, "{refused:?}");
    assert_eq!(refused.err.lines().count(), 1, "{}", refused.err);
    assert!(refused.err.contains("JWT_ALGORITHM"), "{}", refused.err);
}
