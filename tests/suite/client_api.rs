//! What a signature of the client may name: its own types, std and bytes. Whoever uses the package never depends on a
//! version of a crate that it happens to be built with.
//!
//! Looked at is the source text: public functions, fields, aliases and enums (`unreachable_pub` holds that what is public
//! is reachable). Absent: implementations of foreign traits.

use std::path::{Path, PathBuf};

/// Crates whose types may stand in a signature.
const OURS: &[&str] = &["std", "core", "bytes", "kafka_proto", "crate", "self", "super"];

/// The code above a file's own tests, without comments and attributes.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    let mut in_attribute = false;
    let mut kept = Vec::new();
    for line in text.lines().map(|line| line.split("//").next().unwrap_or_default().trim_end()) {
        in_attribute |= line.trim_start().starts_with("#[");
        if !in_attribute {
            kept.push(line);
        }
        in_attribute &= !line.ends_with(']');
    }
    kept.join("\n")
}

fn words(text: &str) -> Vec<&str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty()).collect()
}

/// What the file takes out of our crates, and out of foreign ones, the names of the crates included.
fn imported(code: &str) -> (Vec<&str>, Vec<&str>) {
    let uses = code.split("\nuse ").skip(1).filter_map(|rest| rest.split(';').next()).map(words);
    let (ours, foreign): (Vec<_>, Vec<_>) =
        uses.partition(|words| words.first().is_some_and(|first| OURS.contains(first)));
    (ours.into_iter().flatten().collect(), foreign.into_iter().flatten().filter(|word| *word != "as").collect())
}

/// The first names of the paths in a signature.
fn heads(signature: &str) -> Vec<&str> {
    let ends = signature.match_indices("::").map(|(at, _)| &signature[..at]);
    let head = |before: &'_ str| before.rfind(|c: char| !c.is_alphanumeric() && c != '_').map_or(0, |at| at + 1);
    ends.filter(|before| !before[..head(before)].ends_with("::")).map(|before| &before[head(before)..]).collect()
}

/// Every public item up to its body; of an enum the body too.
fn signatures(code: &str) -> Vec<&str> {
    let starts = code.match_indices("pub ").map(|(at, _)| at);
    let first_on_its_line =
        starts.filter(|at| code[..*at].rsplit('\n').next().is_some_and(|line| line.trim().is_empty()));
    first_on_its_line.map(|at| signature(&code[at..])).collect()
}

fn signature(item: &str) -> &str {
    let is = |kind: &str| item.strip_prefix("pub ").is_some_and(|rest| rest.starts_with(kind));
    let end = if is("use ") || is("mod ") {
        Some(0)
    } else if is("enum ") {
        item.find("\n}")
    } else if is("struct ") {
        // Its fields are items of their own, and those in brackets are private unless they say so.
        item.find(['{', ';', '('])
    } else if item.lines().next().is_some_and(|line| line.ends_with(',')) {
        item.find('\n')
    } else {
        item.find(['{', ';'])
    };
    &item[..end.unwrap_or(item.len())]
}

/// A line of an enum without the variant's name, which may be that of a foreign type without being one.
fn without_variant(line: &str) -> &str {
    let inner = line.strip_prefix("    ").filter(|inner| inner.starts_with(char::is_uppercase));
    inner.map_or(line, |inner| inner.trim_start_matches(char::is_alphanumeric))
}

fn violations(text: &str) -> Vec<String> {
    let code = code(text);
    let (ours, foreign) = imported(&code);
    let is_module = |head: &str| head.starts_with(|c: char| c.is_lowercase());
    let is_foreign = |signature: &str| {
        let taken =
            signature.lines().any(|line| words(without_variant(line)).iter().any(|word| foreign.contains(word)));
        let by_path = |head: &str| is_module(head) && !OURS.contains(&head) && !ours.contains(&head);
        taken || heads(signature).into_iter().any(by_path)
    };
    signatures(&code).into_iter().filter(|signature| is_foreign(signature)).map(str::to_owned).collect()
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn no_signature_of_the_client_names_a_type_of_another_crate() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    sources(&root.join("src/client"), &mut files);
    sources(&root.join("proto/src"), &mut files);
    let mut looked_at = 0;
    for file in files {
        let text = std::fs::read_to_string(&file).expect("a source file");
        looked_at += signatures(&code(&text)).len();
        let found = violations(&text);
        assert!(found.is_empty(), "{}: {found:#?}", file.display());
    }
    assert!(looked_at > 300, "{looked_at} signatures");
}

#[test]
fn a_planted_signature_is_found_however_it_is_written() {
    let planted = [
        "\nuse tokio::sync::watch;\npub fn changes(&self) -> watch::Receiver<u8> {\n}",
        "\npub fn id(\n    &self,\n) -> uuid::Uuid {\n}",
        "\nuse tokio::net::{TcpStream, UdpSocket};\npub struct A {\n    pub stream: TcpStream,\n}",
        "\npub enum Cause {\n    Tls(rustls::Error),\n}\n",
        "\nuse rustls::Error as Refusal;\npub type Failure = Refusal;\n",
    ];
    for text in planted {
        assert_eq!(violations(text).len(), 1, "{text}");
    }
    let allowed = [
        "\nuse tokio::sync::watch;\npub(crate) fn changes(&self) -> watch::Receiver<u8> {\n}",
        "\nuse zeroize::Zeroizing;\npub struct Secret(Zeroizing<String>);\n",
        "\nuse bytes::Bytes;\npub fn value(&self) -> Option<Bytes> {\n}",
    ];
    for text in allowed {
        assert_eq!(violations(text), Vec::<String>::new(), "{text}");
    }
}
