//! Style that matters, as tests: who may import whom, licences, file sizes, no leftovers.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Lines of production code in one file at most.
const MAX_LINES: usize = 600;

/// Licences that allow reuse. An expression with OR needs one of them, one with AND needs all.
const LICENCES: [&str; 13] = [
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "MIT",
    "MIT-0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "Zlib",
    "Unicode-3.0",
    "CC0-1.0",
    "0BSD",
    "BSL-1.0",
    "CDLA-Permissive-2.0",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ stands in the workspace").to_owned()
}

fn metadata(arguments: &[&str]) -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked"])
        .args(arguments)
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("cargo prints JSON")
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

/// `core` imports no sibling; `source`, `engine`, `state` and `delivery` import `core` only; `lane` sees all of these but
/// the engine; `runtime` sees them all; nothing imports `functions/*`.
#[test]
fn imports_go_one_way() {
    let allowed: BTreeMap<&str, &[&str]> = BTreeMap::from([
        ("tidegate-core", &[] as &[&str]),
        // The specification that the rest is held against.
        ("tidegate-model", &[]),
        ("tidegate-source", &["tidegate-core"]),
        ("tidegate-engine", &["tidegate-core"]),
        ("tidegate-state", &["tidegate-core"]),
        ("tidegate-delivery", &["tidegate-core"]),
        ("tidegate-lane", &["tidegate-core", "tidegate-source", "tidegate-state", "tidegate-delivery"]),
        (
            "tidegate-runtime",
            &[
                "tidegate-core",
                "tidegate-source",
                "tidegate-engine",
                "tidegate-state",
                "tidegate-delivery",
                "tidegate-lane",
            ],
        ),
    ]);
    let functions = ["tidegate-cli", "tidegate-processor", "tidegate-tests", "tidegate-simulation"];
    let metadata = metadata(&["--no-deps"]);
    let packages = metadata["packages"].as_array().expect("packages");
    assert_eq!(packages.len(), allowed.len() + functions.len(), "a crate is missing from this test");
    for package in packages {
        let name = text(package, "name");
        for dependency in package["dependencies"].as_array().expect("dependencies") {
            let other = text(dependency, "name");
            if !other.starts_with("tidegate-") || text(dependency, "kind") == "dev" {
                continue;
            }
            let fine =
                if functions.contains(&name) { !functions.contains(&other) } else { allowed[name].contains(&other) };
            assert!(fine, "{name} may not import {other}");
        }
    }
}

/// DataFusion stays behind `engine`, the AWS SDKs behind `state`, `delivery` and the Lambda function. The simulation runs
/// schedules through the SDK where it is asked to.
#[test]
fn heavy_dependencies_stay_where_they_belong() {
    for package in metadata(&["--no-deps"])["packages"].as_array().expect("packages") {
        let name = text(package, "name");
        for dependency in package["dependencies"].as_array().expect("dependencies") {
            let other = text(dependency, "name");
            if text(dependency, "kind") == "dev" {
                continue;
            }
            if other.starts_with("datafusion") {
                assert_eq!(name, "tidegate-engine", "{name} may not import {other}");
            }
            if other.starts_with("aws-") {
                let owners = ["tidegate-state", "tidegate-delivery", "tidegate-processor", "tidegate-simulation"];
                assert!(owners.contains(&name), "{name} may not import {other}");
            }
            if other.starts_with("aws-sdk-") && name != "tidegate-processor" {
                assert_eq!(dependency["optional"], true, "{other} must stand behind a feature of {name}");
            }
        }
    }
}

#[test]
fn licences_allow_reuse() {
    let mut wrong = Vec::new();
    for package in metadata(&[])["packages"].as_array().expect("packages") {
        let licence = text(package, "license").replace('/', " OR ").replace(['(', ')'], "");
        let allowed = |term: &str| LICENCES.contains(&term.trim());
        let fine = licence.split(" AND ").all(|part| part.split(" OR ").any(allowed))
            || licence.split(" OR ").any(|part| part.split(" AND ").all(allowed));
        if !fine {
            wrong.push(format!("{} {}: '{licence}'", text(package, "name"), text(package, "version")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn sources() -> Vec<PathBuf> {
    let listed =
        Command::new("git").args(["ls-files", "-z", "--", "*.rs"]).current_dir(root()).output().expect("git runs");
    let listed = String::from_utf8(listed.stdout).expect("file names are UTF-8");
    let files = listed.split('\0').filter(|file| !file.is_empty()).map(|file| root().join(file));
    files.filter(|file| file.exists()).collect()
}

/// Long test modules stand in a file `tests.rs` of their own.
#[test]
fn files_are_short() {
    let mut long = Vec::new();
    for file in sources() {
        let name = file.display().to_string();
        if name.contains("/tests/") || name.contains("/benches/") || name.ends_with("tests.rs") {
            continue;
        }
        let text = std::fs::read_to_string(&file).expect("a tracked file can be read");
        let production = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default().lines().count();
        if production > MAX_LINES {
            long.push(format!("{name}: {production} lines"));
        }
    }
    assert!(long.is_empty(), "longer than {MAX_LINES} lines:\n{}", long.join("\n"));
}

/// Every module file is compiled: a file that no `mod` names is dead.
#[test]
fn no_file_is_dead() {
    let mut dead = Vec::new();
    for file in sources() {
        let stem = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default().to_owned();
        let folder = file.parent().expect("a file stands in a folder");
        if ["lib", "main", "build"].contains(&stem.as_str())
            || ["benches", "examples", "tests"].iter().any(|of_cargo| folder.ends_with(of_cargo))
        {
            continue;
        }
        let (name, parents) = if stem == "mod" {
            let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
            (name, parents_of(folder.parent().expect("a module's folder has a parent")))
        } else {
            (stem, parents_of(folder))
        };
        let declared = |parent: &PathBuf| {
            let text = std::fs::read_to_string(parent).unwrap_or_default();
            let (module, path) = (format!("mod {name};"), format!("#[path = \"{name}.rs\"]"));
            text.lines().any(|line| line.trim_end().ends_with(&module) || line.trim() == path)
        };
        if !parents.iter().any(declared) {
            dead.push(file.display().to_string());
        }
    }
    assert!(dead.is_empty(), "no mod names these files:\n{}", dead.join("\n"));
}

fn parents_of(folder: &Path) -> Vec<PathBuf> {
    // A test module may be named by the file beside it that it tests.
    let beside = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    beside.chain([folder.with_extension("rs")]).collect()
}

#[test]
fn nothing_is_left_unfinished() {
    let marks = [concat!("todo", "!("), concat!("unimplemented", "!("), concat!("FIX", "ME"), concat!("#[ign", "ore")];
    for file in sources() {
        let text = std::fs::read_to_string(&file).expect("a tracked file can be read");
        for mark in marks {
            assert!(!text.contains(mark), "{} holds {mark}", file.display());
        }
    }
}
