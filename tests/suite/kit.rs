//! What the tests share: binaries, processes that end with the test, HTTP.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;

/// The workspace.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ stands in the workspace").to_owned()
}

/// A binary of this workspace, beside this test's own.
pub fn binary(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test has a path");
    let folder = test.parent().and_then(Path::parent).expect("target/debug/deps/suite-...");
    let path = folder.join(name);
    assert!(path.exists(), "{} is missing: run `cargo test --workspace`, which builds it", path.display());
    path
}

/// `tidegate` with `arguments`, to its end.
pub fn tidegate(arguments: &[&str]) -> Output {
    command(arguments).output().expect("tidegate starts")
}

/// `tidegate` with `arguments`, from the workspace's folder.
pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(binary("tidegate"));
    command.args(arguments).current_dir(root()).stdin(Stdio::null());
    command
}

/// Standard output of a run that must succeed.
pub fn stdout_of(output: &Output) -> String {
    assert!(
        output.status.success(),
        "{}\nstdout: {}\nstderr: {}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout.clone()).expect("output is UTF-8")
}

/// A process that is killed when the test ends.
pub struct Process {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Process {
    /// Starts it; its standard output can be read line by line.
    pub fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the process starts");
        let output = BufReader::new(child.stdout.take().expect("standard output is piped"));
        Self { child, output }
    }

    /// The next line of its standard output.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("the process writes a line");
        line
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Sends it a signal by name.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status();
        assert!(sent.expect("kill runs").success(), "the process takes {name}");
    }

    /// Whether it has ended, and how.
    pub fn ended(&mut self) -> Option<bool> {
        self.child.try_wait().expect("the process can be asked").map(|status| status.success())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The reference receiver, as a process.
pub struct Receiver {
    _process: Process,
    /// `http://127.0.0.1:PORT`
    pub url: String,
}

impl Receiver {
    /// Starts it with more `arguments`.
    pub fn start(store: &Path, arguments: &[&str]) -> Self {
        Self::start_at(0, store, arguments)
    }

    /// Starts it on a port; 0 takes a free one.
    pub fn start_at(port: u16, store: &Path, arguments: &[&str]) -> Self {
        let mut process = Process::start({
            let mut command =
                command(&["target", "--json", "--idle-exit", "10m", "--port", &port.to_string(), "--store"]);
            command.arg(store).args(arguments);
            command
        });
        let line: Value = serde_json::from_str(&process.line()).expect("the receiver says where it listens");
        let url = line["listening"].as_str().expect("an address").to_owned();
        Self { _process: process, url }
    }

    /// Every row that it holds, sorted.
    pub async fn rows(&self) -> Vec<String> {
        let text = self.get("/_tidegate/rows?sorted=true").await;
        text.lines().map(str::to_owned).collect()
    }

    /// Every row that it holds, in the order in which they took effect.
    pub async fn rows_in_order(&self) -> Vec<String> {
        self.get("/_tidegate/rows").await.lines().map(str::to_owned).collect()
    }

    /// What it counted.
    pub async fn summary(&self) -> Value {
        serde_json::from_str(&self.get("/_tidegate/summary").await).expect("the summary is JSON")
    }

    async fn get(&self, path: &str) -> String {
        let answer = client().get(format!("{}{path}", self.url)).send().await.expect("the receiver answers");
        answer.text().await.expect("the receiver's answer is text")
    }
}

/// An HTTP client for tests.
pub fn client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(30)).build().expect("a client can be made")
}

/// Numbers for tests, the same for the same seed (SplitMix64, Steele et al., 2014).
pub struct Dice(pub u64);

impl Dice {
    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit.max(1)
    }
}
