//! PLAIN (RFC 4616): authorisation id, user and password between two NULs.

use std::collections::BTreeMap;

/// The user, if the password is theirs.
pub(super) fn check(users: &BTreeMap<String, String>, message: &[u8]) -> Result<String, String> {
    let text = std::str::from_utf8(message).map_err(|_| "not UTF-8".to_owned())?;
    let parts: Vec<&str> = text.split('\0').collect();
    let [authorisation, user, password] = parts.as_slice() else { return Err("not three parts".to_owned()) };
    if !authorisation.is_empty() && authorisation != user {
        return Err("another authorisation id".to_owned());
    }
    match users.get(*user) {
        Some(known) if known == password => Ok((*user).to_owned()),
        Some(_) => Err(format!("wrong password for {user}")),
        None => Err(format!("no user {user}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_password_logs_in() {
        let users = BTreeMap::from([("ann".to_owned(), "secret".to_owned())]);
        assert_eq!(check(&users, b"\0ann\0secret"), Ok("ann".to_owned()));
        assert!(check(&users, b"\0ann\0wrong").is_err());
        assert!(check(&users, b"\0bob\0secret").is_err());
        assert!(check(&users, b"eve\0ann\0secret").is_err());
    }
}
