//! Directories: nothing without its parent, nothing lost, nothing that comes back.

use super::*;

fn mkdir(key: &str, from: u64, index: u64) -> Call {
    at(from, from + 5, ask(Verb::MakeDir, key), made(dir(key, index)))
}

fn put(key: &str, value: &str, from: u64, index: u64) -> Call {
    at(from, from + 5, set(key, value), made(file(key, value, index, index)))
}

fn removed_dir(key: &str, verb: Verb, from: u64, created: u64, index: u64) -> Call {
    let node = Shown { created, ..dir(key, index) };
    at(from, from + 5, ask(verb, key), done(node, Some(dir(key, created))))
}

#[test]
fn directories_come_and_go() {
    assert!(is_good(&[
        mkdir("d", 0, 10),
        put("d/a", "1", 10, 20),
        at(20, 25, ask(Verb::RemoveDir, "d"), refused(108, "d")),
        at(30, 35, ask(Verb::Delete, "d"), refused(102, "d")),
        at(40, 45, set("d/a/x", "2"), refused(104, "d/a")),
        removed_dir("d", Verb::RemoveTree, 50, 10, 30),
        at(60, 65, ask(Verb::Get, "d/a"), refused(100, "d")),
        put("d/a", "3", 70, 40),
        at(80, 85, ask(Verb::Get, "d"), done(dir("d", 40), None)),
    ]));
}

#[test]
fn an_orphan_is_found() {
    let both = [mkdir("d", 0, 10), removed_dir("d", Verb::RemoveDir, 20, 10, 30)];
    // It was acknowledged to be in the directory that was empty when it was removed.
    let orphan = put("d/a", "1", 10, 20);
    assert!(is_bad(&[both[0].clone(), orphan.clone(), both[1].clone()]));
    let at_once = Call { invoked: 10_000, answered: 30_000, ..orphan };
    let get = at(40, 45, ask(Verb::Get, "d/a"), done(file("d/a", "1", 20, 20), None));
    let without_parent = at(50, 55, ask(Verb::Get, "d"), refused(100, "d"));
    assert!(is_bad(&[both[0].clone(), at_once, both[1].clone(), get, without_parent]));
}

#[test]
fn what_comes_back_after_a_recursive_delete_is_found() {
    let history = [
        mkdir("d", 0, 10),
        put("d/a", "1", 10, 20),
        removed_dir("d", Verb::RemoveTree, 20, 10, 30),
        mkdir("d", 30, 40),
    ];
    let old = at(40, 45, ask(Verb::Get, "d/a"), done(file("d/a", "1", 20, 20), None));
    assert!(is_good(&history));
    assert!(is_bad(&[history.to_vec(), vec![old]].concat()));
    let lower = put("d/a", "2", 50, 29);
    assert!(is_bad(&[history.to_vec(), vec![lower]].concat()), "its index was 30 when it went");
}

#[test]
fn a_file_with_children_is_found() {
    let file_first = [put("d", "1", 0, 10), put("d/a", "2", 10, 20)];
    assert!(is_bad(&file_first));
    let dir_replaced = [
        mkdir("d", 0, 10),
        put("d/a", "1", 10, 20),
        at(20, 25, set("d", "2"), done(file("d", "2", 30, 30), Some(dir("d", 10)))),
    ];
    assert!(is_bad(&dir_replaced));
}

#[test]
fn a_create_races_with_the_removal_of_its_directory() {
    let both = |create: Reply, removal: Reply| {
        vec![
            mkdir("d", 0, 10),
            at(10, 30, ask(Verb::Create, "d/a").value("1"), create),
            at(10, 30, ask(Verb::RemoveDir, "d"), removal),
        ]
    };
    let removal = |index: u64| done(Shown { created: 10, ..dir("d", index) }, Some(dir("d", 10)));
    let created = |index: u64| made(file("d/a", "1", index, index));
    // Created first: not empty. Removed first: the directory is made again.
    assert!(is_good(&both(created(20), refused(108, "d"))));
    assert!(is_good(&both(created(30), removal(20))));
    let shown = |index: u64| at(40, 45, ask(Verb::Get, "d"), done(dir("d", index), None));
    assert!(is_good(&[both(created(30), removal(20)), vec![shown(30)]].concat()));
    assert!(is_bad(&[both(created(30), removal(20)), vec![shown(10)]].concat()));
}

#[test]
fn an_unknown_recursive_delete_takes_all_or_nothing() {
    let history = vec![
        mkdir("d", 0, 10),
        put("d/a", "1", 10, 20),
        put("d/b", "2", 20, 30),
        at(30, 35, ask(Verb::RemoveTree, "d"), unknown()),
    ];
    let a = at(40, 45, ask(Verb::Get, "d/a"), refused(100, "d"));
    let b = at(50, 55, ask(Verb::Get, "d/b"), done(file("d/b", "2", 30, 30), None));
    assert!(is_good(&[history.clone(), vec![a.clone()]].concat()));
    assert!(is_good(&[history.clone(), vec![b.clone()]].concat()));
    assert!(is_bad(&[history, vec![a, b]].concat()), "half of it");
}

#[test]
fn a_listing_is_read_node_by_node() {
    let history = [mkdir("d", 0, 10), put("d/a", "1", 10, 20)];
    let not_listed = at(20, 25, ask(Verb::Get, "d/a"), Reply::NotListed);
    assert!(is_bad(&[history.to_vec(), vec![not_listed]].concat()));
    let never = at(20, 25, ask(Verb::Get, "d/b"), Reply::NotListed);
    assert!(is_good(&[history.to_vec(), vec![never]].concat()));
}
