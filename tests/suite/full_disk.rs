//! Local runs whose state has no room: what the person reads, and what is delivered in the end.

use std::path::Path;
use std::process::{Command, Output};

use crate::kit::{Receiver, binary, command, root, stdout_of};

const PIPELINE: &str = "examples/treasury/pipeline.yaml";
const INPUT: &str = "transactions=gen:treasury?rate=100&records=20000&seed=5";
/// Two runs of the command `$@`: on a disk of 400 KB, and after there is room. The disk is gone with the shell.
const ON_A_SMALL_DISK: &str = r#"
mount -t tmpfs -o size=400k none "$DISK" || exit 99
"$@"; first=$?
mount -o remount,size=64m "$DISK" || exit 99
echo "first run: $first" >&2
exec "$@"
"#;
/// A run that may not write behind 300 KB of a file: writing fails, as on a broken disk.
const ON_SHORT_FILES: &str = r#"trap '' XFSZ; ulimit -f 300; exec "$@""#;

fn arguments(state: &Path) -> Vec<String> {
    let state = state.to_str().expect("UTF-8");
    let words = ["run", PIPELINE, "--input", INPUT, "--batch-size", "200", "--drain", "--quiet", "--state", state];
    words.map(str::to_owned).to_vec()
}

/// `tidegate run` with its state in `state`, below a shell.
fn below(shell: &[&str], script: &str, state: &Path, receiver: &Receiver) -> Output {
    let mut command = Command::new(shell[0]);
    command.args(&shell[1..]).args(["bash", "-c", script, "bash"]).arg(binary("tidegate")).args(arguments(state));
    command.current_dir(root()).env("TREASURY_URL", &receiver.url);
    command.env("DISK", state.parent().expect("a folder")).output().expect("the shell starts")
}

async fn undisturbed(folder: &Path) -> Vec<String> {
    let receiver = Receiver::start(&folder.join("calm.db"), &[]);
    let mut calm = command(&[]);
    calm.args(arguments(&folder.join("calm"))).env("TREASURY_URL", &receiver.url);
    stdout_of(&calm.output().expect("tidegate starts"));
    receiver.rows().await
}

async fn assert_whole(receiver: &Receiver, folder: &Path) {
    let expected = undisturbed(folder).await;
    assert!(expected.len() > 1000, "{} rows", expected.len());
    assert_eq!(receiver.summary().await["conflicts"], 0);
    assert_eq!(receiver.rows().await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_told_and_the_run_goes_on_when_there_is_room() {
    let shell = ["unshare", "--mount", "--map-root-user"];
    let possible = Command::new(shell[0]).args(&shell[1..]).arg("true").status();
    if !possible.is_ok_and(|status| status.success()) {
        println!("skipped: no disk can be mounted here");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let disk = folder.path().join("disk");
    std::fs::create_dir(&disk).expect("a folder for the disk");
    let receiver = Receiver::start(&folder.path().join("r.db"), &[]);
    let output = below(&shell, ON_A_SMALL_DISK, &disk.join("state"), &receiver);
    stdout_of(&output);
    let told = String::from_utf8_lossy(&output.stderr);
    for words in ["no space is left", "free some space and start again; what was committed is intact", "first run: 1"] {
        assert!(told.contains(words), "'{words}' is missing in:\n{told}");
    }
    assert_whole(&receiver, folder.path()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_that_fail_lose_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let state = folder.path().join("state");
    let receiver = Receiver::start(&folder.path().join("r.db"), &[]);
    let output = below(&["env"], ON_SHORT_FILES, &state, &receiver);
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(!receiver.rows().await.is_empty(), "the first commits were delivered");
    stdout_of(&below(&["env"], r#"exec "$@""#, &state, &receiver));
    assert_whole(&receiver, folder.path()).await;
}
