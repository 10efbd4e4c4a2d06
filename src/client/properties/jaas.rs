//! `sasl.jaas.config`: the login module and its options, as Java writes them.
//!
//! ```text
//! org.apache.kafka.common.security.scram.ScramLoginModule required username="u" password="p";
//! ```
//! Promised: no error holds any part of the text, which has the password in it. Absent: more than one module, because
//! Kafka takes one.

use zeroize::Zeroizing;

/// What a login module is told.
pub(super) struct Login {
    pub(super) module: Module,
    pub(super) username: String,
    pub(super) password: Zeroizing<String>,
}

/// The login modules of Kafka that this client can stand in for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Module {
    Plain,
    Scram,
}

/// Reads one login module with user name and password; the error says what is wrong.
pub(super) fn parse(text: &str) -> Result<Login, &'static str> {
    let text = text.trim();
    let body = text.strip_suffix(';').ok_or("does not end in `;`")?;
    let mut rest = body;
    let module = word(&mut rest);
    let module = match module.rsplit('.').next() {
        Some("PlainLoginModule") => Module::Plain,
        Some("ScramLoginModule") => Module::Scram,
        _ => return Err("names a login module that is neither ScramLoginModule nor PlainLoginModule"),
    };
    let flag = word(&mut rest);
    if !["required", "requisite", "sufficient", "optional"].iter().any(|known| flag.eq_ignore_ascii_case(known)) {
        return Err("has no `required` after the login module");
    }
    let (mut username, mut password) = (None, None);
    while let Some((name, value)) = option(&mut rest)? {
        match name {
            "username" => username = Some(value),
            "password" => password = Some(value),
            // Options such as tokenauth="false" say nothing about who logs in.
            _ => {}
        }
    }
    let username = username.ok_or("has no username")?.to_string();
    let password = password.ok_or("has no password")?;
    Ok(Login { module, username, password })
}

fn word<'a>(rest: &mut &'a str) -> &'a str {
    let text = rest.trim_start();
    let end = text.find(char::is_whitespace).unwrap_or(text.len());
    let (word, after) = text.split_at(end);
    *rest = after;
    word
}

/// The next `name=value`; `None` at the end.
fn option<'a>(rest: &mut &'a str) -> Result<Option<(&'a str, Zeroizing<String>)>, &'static str> {
    let text = rest.trim_start();
    if text.is_empty() {
        return Ok(None);
    }
    let (name, after) = text.split_once('=').ok_or("has an option without `=`")?;
    let after = after.trim_start();
    let value = if let Some(quote @ ('"' | '\'')) = after.chars().next() {
        quoted(after, quote, rest)?
    } else {
        let mut bare = after;
        let value = word(&mut bare);
        *rest = bare;
        Zeroizing::new(value.to_owned())
    };
    Ok(Some((name.trim_end(), value)))
}

/// The text between quotes; a backslash takes the next character as it is.
fn quoted<'a>(text: &'a str, quote: char, rest: &mut &'a str) -> Result<Zeroizing<String>, &'static str> {
    let mut value = Zeroizing::new(String::with_capacity(text.len()));
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => value.push(chars.next().ok_or(OPEN)?.1),
            _ if c == quote => {
                *rest = text.get(at.saturating_add(c.len_utf8())..).unwrap_or_default();
                return Ok(value);
            }
            _ => value.push(c),
        }
    }
    Err(OPEN)
}

const OPEN: &str = "has a quote that is not closed";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_form_is_read() {
        let text = "org.apache.kafka.common.security.scram.ScramLoginModule required \n username=\"sre\"   password=\"a \\\"b\\\\;=' c\" ;";
        let login = parse(text).expect("a login");
        assert_eq!(
            (login.module, login.username.as_str(), login.password.as_str()),
            (Module::Scram, "sre", "a \"b\\;=' c")
        );
    }

    #[test]
    fn single_quotes_bare_words_and_other_options_are_read() {
        let login = parse("x.PlainLoginModule REQUIRED tokenauth=false username = 'u' password=p;").expect("a login");
        assert_eq!((login.module, login.username.as_str(), login.password.as_str()), (Module::Plain, "u", "p"));
    }

    #[test]
    fn mistakes_say_what_is_missing_and_nothing_of_the_text() {
        let wrong = |text: &str| parse(text).err().expect("a mistake");
        assert_eq!(wrong("x.PlainLoginModule required username=u password=p"), "does not end in `;`");
        assert_eq!(wrong("x.PlainLoginModule username=u password=p;"), "has no `required` after the login module");
        assert_eq!(wrong("x.PlainLoginModule required username=u;"), "has no password");
        assert_eq!(wrong("x.PlainLoginModule required password='hunter2;"), OPEN);
        assert!(wrong("x.Krb5LoginModule required;").contains("neither"));
    }
}
