//! The binary starts and says what it can do. (That this test exists makes `cargo test` build the binary, which the
//! tests over all crates run.)

use std::process::Command;

#[test]
fn help_lists_the_commands_and_exit_codes() {
    let output = Command::new(env!("CARGO_BIN_EXE_tidegate")).arg("--help").output().expect("tidegate starts");
    let text = String::from_utf8_lossy(&output.stdout);
    for word in ["run", "demo", "check", "explain", "inspect", "new", "target", "Exit codes"] {
        assert!(text.contains(word), "'{word}' is missing in:\n{text}");
    }
    let output = Command::new(env!("CARGO_BIN_EXE_tidegate")).arg("rnu").output().expect("tidegate starts");
    assert_eq!(output.status.code(), Some(2));
}
