//! Stand-ins for AWS services, as processes: `.ci/stand-in/serve.sh` for S3, SQS and DynamoDB, `.ci/stand-in/kinesis.sh`.
//! Only std: other test binaries take this file, too.

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// How long it may take to install and start.
const START: Duration = Duration::from_secs(300);
const POLL: Duration = Duration::from_millis(100);
/// The script's exit code where nothing can be installed.
const NOT_HERE: i32 = 3;

/// The server. It ends with this value.
pub struct StandIn {
    child: Child,
    /// `http://127.0.0.1:PORT`
    pub url: String,
}

impl StandIn {
    /// Starts `.ci/stand-in/serve.sh`. `None` where it cannot be installed (no interpreter, no network); with `CI=true` that is a failure.
    pub fn start(workspace: &Path) -> Option<Self> {
        Self::script(workspace, "serve.sh")
    }

    /// Starts the script of that name. `None` where it cannot be installed; with `CI=true` that is a failure.
    pub fn script(workspace: &Path, name: &str) -> Option<Self> {
        let port = {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
            listener.local_addr().expect("an address").port()
        };
        let mut child = Command::new("bash")
            .arg(workspace.join(".ci/stand-in").join(name))
            .arg(port.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("bash starts");
        for _ in 0..START.as_millis() / POLL.as_millis() {
            if let Some(status) = child.try_wait().expect("the process can be asked") {
                assert!(status.code() == Some(NOT_HERE) && !in_ci(), "the stand-in did not start: {status}");
                println!("skipped: .ci/stand-in/{name} cannot be installed here");
                return None;
            }
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Some(Self { child, url: format!("http://127.0.0.1:{port}") });
            }
            #[expect(clippy::disallowed_methods, reason = "nothing else runs in this test yet")]
            std::thread::sleep(POLL);
        }
        let _ = child.kill();
        panic!("the stand-in did not start within {START:?}");
    }
}

fn in_ci() -> bool {
    #[expect(clippy::disallowed_methods, reason = "a test skips nothing in CI")]
    std::env::var("CI").is_ok_and(|value| value == "true")
}

impl Drop for StandIn {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
