//! The function says what its environment lacks. (That this test exists makes `cargo test` build the binary, which the
//! tests over all crates run.)

use std::process::Command;

#[test]
fn a_missing_variable_is_named() {
    let output = Command::new(env!("CARGO_BIN_EXE_tidegate-processor")).env_clear().output().expect("it starts");
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("TIDEGATE_PIPELINE"), "{text}");
}
