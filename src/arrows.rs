//! Who may import whom, held by reading the sources.

use std::fs;
use std::path::{Path, PathBuf};

/// For each part of the tree, what its sources must not name. Tests inside a part may name more.
const FORBIDDEN: &[(&str, &[&str])] = &[
    (
        "v2/",
        &[
            "tokio",
            "hyper",
            "aws_",
            "std::time",
            "crate::store",
            "crate::keyspace",
            "crate::v2http",
            "crate::watch",
            "crate::clock",
            "crate::app",
            "crate::config",
        ],
    ),
    (
        "watch/",
        &[
            "hyper",
            "aws_",
            "crate::store",
            "crate::keyspace",
            "crate::v2http",
            "crate::clock",
            "crate::app",
            "crate::config",
        ],
    ),
    (
        "store/",
        &[
            "hyper::",
            "crate::watch",
            "crate::keyspace",
            "crate::v2http",
            "crate::app",
            "crate::config",
        ],
    ),
    ("store/embedded", &["aws_", "crate::store::dynamodb"]),
    ("store/mod.rs", &["aws_", "fjall"]),
    ("store/dynamodb", &["fjall", "crate::store::embedded"]),
    (
        "keyspace/",
        &[
            "hyper",
            "aws_",
            "fjall",
            "crate::v2http",
            "crate::app",
            "crate::config",
            "store::embedded",
            "store::dynamodb",
        ],
    ),
    ("v2http/", &["crate::store", "crate::watch", "aws_", "fjall", "crate::app", "crate::config"]),
    (
        "v2client/",
        &[
            "aws_",
            "fjall",
            "crate::app",
            "crate::clock",
            "crate::config",
            "crate::keyspace",
            "crate::migrate",
            "crate::store",
            "crate::v2http",
            "crate::watch",
        ],
    ),
    ("clock.rs", &["crate::store", "crate::keyspace", "crate::v2http", "hyper", "aws_"]),
    (
        "units.rs",
        &[
            "crate::app",
            "crate::config",
            "crate::keyspace",
            "crate::metrics",
            "crate::store",
            "crate::v2",
            "crate::watch",
            "hyper",
            "aws_",
            "fjall",
            "opentelemetry",
            "std::time",
        ],
    ),
    ("traces/mod.rs", &["hyper"]),
    (
        "traces/",
        &[
            "aws_",
            "fjall",
            "crate::app",
            "crate::config",
            "crate::keyspace",
            "crate::store",
            "crate::v2",
            "crate::watch",
        ],
    ),
    ("config", &["hyper", "aws_", "fjall", "crate::store", "crate::keyspace", "crate::v2http"]),
    (
        "tls/",
        &["hyper", "aws_", "crate::store", "crate::keyspace", "crate::v2http", "crate::config"],
    ),
    (
        "migrate/",
        &[
            "hyper",
            "aws_",
            "fjall",
            "crate::app",
            "crate::commands",
            "crate::config",
            "crate::keyspace",
            "crate::store",
            "crate::v2http",
            "crate::watch",
        ],
    ),
    ("telemetry.rs", &["hyper", "aws_", "crate::store", "crate::keyspace"]),
    ("commands/", &["hyper", "aws_", "fjall", "crate::app", "crate::store", "crate::keyspace"]),
    ("app/", &["hyper", "aws_", "fjall", "lambda_runtime"]),
    ("main.rs", &["hyper", "aws_", "fjall", "lambda_runtime"]),
];

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("the sources are there") {
        let path = entry.expect("a readable entry").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The part of a source that is compiled into the program, without comments.
fn code(text: &str) -> String {
    let program = text.split("#[cfg(test)]").next().unwrap_or_default();
    let lines = program.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

fn is_test_source(path: &str) -> bool {
    ["tests", "conformance", "faults.rs", "arrows.rs", "fake.rs", "engine.rs"]
        .iter()
        .any(|part| path.contains(part))
}

#[test]
fn the_arrows_point_one_way() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    sources(&root, &mut found);
    assert!(found.len() > 30, "the sources were read");
    let mut wrong = Vec::new();
    for path in found {
        let name = path.strip_prefix(&root).expect("below src").to_string_lossy().into_owned();
        if is_test_source(&name) {
            continue;
        }
        let code = code(&fs::read_to_string(&path).expect("a text"));
        for (_, forbidden) in FORBIDDEN.iter().filter(|(part, _)| name.starts_with(part)) {
            let named = forbidden.iter().filter(|word| code.contains(**word));
            wrong.extend(named.map(|word| format!("{name} names {word}")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
