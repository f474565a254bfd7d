//! Patterns, the two special roles, and changes that are known again.

use super::administration::{LIST_BYTES, NAME_BYTES};
use super::*;
use crate::v2::EtcdIndex;

fn id(index: u64) -> WriteId {
    WriteId { index: EtcdIndex(index), gateway: 1 }
}

fn texts(texts: &[&str]) -> Option<Vec<String>> {
    Some(texts.iter().map(|text| (*text).to_owned()).collect())
}

fn user(name: &str, roles: &[&str]) -> User {
    let password = PasswordHash(String::new());
    User { name: name.to_owned(), password, roles: texts(roles) }
}

fn with_role(name: &str, read: &[&str], write: &[&str]) -> Accounts {
    let permissions = Permissions { read: texts(read), write: texts(write) };
    let role = Role { name: name.to_owned(), permissions };
    Accounts::from_records([Record::Role(role)])
}

#[test]
fn a_pattern_is_a_key_or_with_a_star_a_prefix_and_only_that_is_recursive() {
    for (pattern, path, is_plain, is_recursive) in [
        ("/a", "/a", true, false),
        ("/a", "/a/", false, false),
        ("/a", "/ab", false, false),
        ("/a*", "/ab/c", true, true),
        ("/a/*", "/a/b", true, true),
        ("/a/*", "/a/", true, true),
        ("/a/*", "/a", false, false),
        ("*", "", true, true),
        ("/*", "", false, false),
        ("", "", false, false),
    ] {
        let accounts = with_role("r", &[pattern], &[]);
        let user = user("u", &["missing", "r"]);
        for (recursive, allowed) in [(false, is_plain), (true, is_recursive)] {
            let need = Need { path: path.as_bytes(), writes: false, recursive };
            assert_eq!(accounts.allows(&user, need), allowed, "{pattern} {need:?}");
            let written = accounts.allows(&user, Need { writes: true, ..need });
            assert!(!written, "reading is not writing");
        }
    }
}

#[test]
fn guests_have_their_role_and_root_has_everything() {
    let need = Need { path: b"/a", writes: true, recursive: true };
    assert!(Accounts::default().allows(&user("u", &["root"]), need));
    assert!(!Accounts::default().allows_guests(need), "without the role nothing is allowed");
    assert!(with_role("guest", &[], &["/a"]).allows_guests(need), "recursive or not");
    assert!(!with_role("guest", &["/a"], &[]).allows_guests(need));
}

#[test]
fn root_stays_root_whatever_is_revoked() {
    let stored = Accounts::from_records([Record::User(user("root", &[]))]);
    assert!(stored.users["root"].is_root());
    assert!(!Accounts::from_records([Record::User(user("u", &[]))]).users["u"].is_root());
}

#[test]
fn a_change_is_known_again_until_too_much_happened_since() {
    let before = Accounts::default();
    let asked = |number: u64| {
        let (name, permissions) = (format!("r{number}"), Permissions::default());
        Administration::PutRole(PutRole { name, permissions, grant: None, revoke: None })
    };
    let mut now = before.plan(&asked(0), id(1)).expect("a new role").after;
    assert_eq!(now.tell(&before, id(1)), Some(true));
    assert_eq!(now.tell(&before, id(2)), Some(false), "another one came first");
    for number in 1..=RECENT_CHANGES as u64 {
        now = now.plan(&asked(number), id(10 + number)).expect("a new role").after;
    }
    assert_eq!(now.tell(&before, id(1)), None, "it is forgotten, and not denied");
    assert_eq!(now.recent.len(), RECENT_CHANGES);
}

#[test]
fn what_is_too_large_for_an_item_is_refused() {
    let put = |name: String, pattern: String| {
        let permissions = Permissions { read: Some(vec![pattern]), write: None };
        let role = PutRole { name, permissions, grant: None, revoke: None };
        Accounts::default().plan(&Administration::PutRole(role), id(1)).map(|_| ())
    };
    assert_eq!(put("r".repeat(NAME_BYTES), "p".repeat(LIST_BYTES)), Ok(()));
    assert_eq!(put("r".repeat(NAME_BYTES + 1), String::new()).expect_err("long").status, 400);
    assert_eq!(put("r".to_owned(), "p".repeat(LIST_BYTES + 1)).expect_err("much").status, 400);
}
