//! The section `secrets`: a name and one provider each.

use crate::config::Overrides;
use crate::secret::{KeyName, Provider, Secrets};
use crate::yaml::{Node, Reader};

/// The key server's environment where neither `CKMS_ENV` nor the secret names one: this runs on AWS.
const CKMS_ENVIRONMENT: &str = "aws";

/// Reads the list; a name may stand once.
pub(super) fn read(root: &Reader<'_, '_>, overrides: &Overrides) -> Secrets {
    let mut found: Vec<(String, Provider)> = Vec::new();
    for (path, node) in root.list("secrets").unwrap_or_default() {
        let reader = Reader::new(node, path, root.mistakes());
        if let Some((name, provider)) = one(&reader, overrides) {
            if found.iter().any(|(known, _)| *known == name) {
                reader.wrong("name", format!("another secret is named `{name}` already"));
            }
            found.push((name, provider));
        }
        reader.close();
    }
    Secrets::new(found)
}

fn one(reader: &Reader<'_, '_>, overrides: &Overrides) -> Option<(String, Provider)> {
    let name = reader.required_string("name");
    if let Some(name) = &name
        && crate::secret::names(&format!("$secret:{name}")).next() != Some(name)
    {
        reader.wrong("name", "a name is of letters, digits, `_`, `-` and inner dots");
    }
    let mut providers = Vec::new();
    providers.extend(reader.string("file").map(|path| Provider::File(path.into())));
    providers.extend(reader.string("env").map(Provider::Env));
    providers.extend(reader.read("command", "a program with its arguments", words).map(Provider::Command));
    providers.extend(ckms(reader, overrides));
    match (providers.pop(), providers.is_empty()) {
        (Some(provider), true) => Some((name?, provider)),
        (None, _) => {
            reader.mistakes().add(
                reader.path(),
                reader.at(),
                "needs one of file, env, command, ckms_key_group and ckms_key_name",
            );
            None
        }
        (Some(provider), false) => {
            reader.mistakes().add(reader.path(), reader.at(), "has more than one provider; keep one");
            Some((name?, provider))
        }
    }
}

fn ckms(reader: &Reader<'_, '_>, overrides: &Overrides) -> Option<Provider> {
    let (group, key) = (reader.string("ckms_key_group"), reader.string("ckms_key_name"));
    let environment = reader.string("ckms_environment");
    match (group, key) {
        (Some(group), Some(key)) => {
            let environment = overrides.ckms_env.clone().or(environment);
            let environment = environment.unwrap_or_else(|| CKMS_ENVIRONMENT.to_owned());
            Some(Provider::Ckms(KeyName { group, key, environment }))
        }
        (None, None) => {
            if environment.is_some() {
                reader.wrong("ckms_environment", "belongs to ckms_key_group and ckms_key_name");
            }
            None
        }
        (Some(_), None) => {
            reader.wrong("ckms_key_group", "needs ckms_key_name beside it");
            None
        }
        (None, Some(_)) => {
            reader.wrong("ckms_key_name", "needs ckms_key_group beside it");
            None
        }
    }
}

/// A list of words, or one text split at spaces; there is no shell.
fn words(node: &Node) -> Option<Vec<String>> {
    let words: Vec<String> = match node.as_list() {
        Some(items) => items.iter().map(|item| item.text().map(str::to_owned)).collect::<Option<_>>()?,
        None => node.text()?.split_whitespace().map(str::to_owned).collect(),
    };
    (!words.is_empty()).then_some(words)
}
