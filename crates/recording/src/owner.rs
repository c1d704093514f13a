//! The owner of a recording. A server that gives up root's privileges leaves files of several users
//! in one directory.

use std::fs;

/// A user id, and its name on this machine.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Owner {
    pub uid: u32,
    pub name: Option<String>,
    /// Whether the directory belongs to another user.
    pub differs: bool,
}

impl Owner {
    /// `nobody`, or `user 65534`.
    pub fn shown(&self) -> String {
        self.name.clone().unwrap_or_else(|| format!("user {}", self.uid))
    }
}

/// The names of users in /etc/passwd (passwd(5)): `name:password:uid:...`.
pub struct Users(String);

impl Users {
    pub fn of_this_machine() -> Users {
        Users(fs::read_to_string("/etc/passwd").unwrap_or_default())
    }

    /// The owner of a file of user `uid` in a directory of user `directory`.
    pub fn owner(&self, uid: u32, directory: u32) -> Owner {
        Owner { uid, name: self.name(uid), differs: uid != directory }
    }

    fn name(&self, uid: u32) -> Option<String> {
        self.0.lines().find_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            (fields.nth(1)?.parse() == Ok(uid)).then(|| crate::modules::plain(name.as_bytes()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Owner, Users};

    #[test]
    fn an_owner_has_its_name_where_the_machine_knows_it() {
        let users = Users("root:x:0:0:root:/root:/bin/sh\n\nnobody:x:65534:65534::/:\nodd:x:y\n".into());
        assert_eq!(users.owner(0, 0), Owner { uid: 0, name: Some("root".into()), differs: false });
        assert_eq!(users.owner(65534, 0).shown(), "nobody");
        assert_eq!(users.owner(7, 0).shown(), "user 7");
        assert!(users.owner(7, 0).differs);
    }
}
