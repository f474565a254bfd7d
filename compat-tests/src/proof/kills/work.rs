//! The operations during which a gateway is killed, and what may be seen of each afterwards.
//!
//! Each is a value: how its place is prepared, what is asked, and what a reader may then find.
//! Not here: when who is killed.

use crate::dynamodb::plant::Tree;
use crate::dynamodb::table::Table;
use crate::http::Request;
use crate::json::Json;

use super::stage::Stage;

/// An operation of some steps.
#[derive(Clone, Copy, Debug)]
pub(super) struct Work {
    pub(super) name: &'static str,
    /// What is there before, below a directory of its own.
    before: Before,
    /// What begins it.
    asks: Asks,
    /// Where its effect is seen, below that directory.
    place: &'static str,
    /// What is seen there when it happened.
    done: Seen,
    /// What is seen there when it did not; none: it has to happen.
    undone: Option<Seen>,
    /// A key there that can be written whether it happened or not.
    again: &'static str,
    /// Whether it has so many steps that only some are tried.
    pub(super) is_long: bool,
}

#[derive(Clone, Copy, Debug)]
enum Before {
    /// An empty directory.
    EmptyDir,
    /// Nothing.
    Nothing,
    /// Directories with files in them.
    Tree { dirs: u64, files: u64 },
}

#[derive(Clone, Copy, Debug)]
enum Asks {
    Put(&'static str),
    Post,
    Delete(&'static str),
    /// Nobody asks: a TTL of one second runs out.
    Ttl,
}

/// What a recursive read shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// Nothing is there.
    Absent,
    /// A node, and so many below it.
    Nodes(u64),
}

/// What became of a work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Came {
    Done,
    Undone,
}

impl Work {
    const fn new(name: &'static str, before: Before, asks: Asks) -> Self {
        Self {
            name,
            before,
            asks,
            place: "/d",
            done: Seen::Absent,
            undone: None,
            again: "/d/new",
            is_long: false,
        }
    }

    const fn or_undone(self, undone: Seen) -> Self {
        Self { undone: Some(undone), ..self }
    }

    pub(super) const ALL: [Self; 9] = [
        Self {
            done: Seen::Nodes(2),
            again: "/d/b/new",
            ..Self::new("create with missing parents", Before::Nothing, Asks::Put("/d/b/c"))
                .or_undone(Seen::Absent)
        },
        Self {
            done: Seen::Nodes(1),
            ..Self::new("in-order create", Before::EmptyDir, Asks::Post).or_undone(Seen::Nodes(0))
        },
        Self::new("rmdir", Before::EmptyDir, Asks::Delete("dir=true")).or_undone(Seen::Nodes(0)),
        Self::new(
            "recursive delete of 10",
            Before::Tree { dirs: 1, files: 8 },
            Asks::Delete("recursive=true"),
        )
        .or_undone(Seen::Nodes(9)),
        Self {
            is_long: true,
            ..Self::new(
                "recursive delete of 120",
                Before::Tree { dirs: 3, files: 39 },
                Asks::Delete("recursive=true"),
            )
            .or_undone(Seen::Nodes(120))
        },
        Self {
            is_long: true,
            ..Self::new(
                "recursive delete of 1,000",
                Before::Tree { dirs: 20, files: 49 },
                Asks::Delete("recursive=true"),
            )
            .or_undone(Seen::Nodes(1000))
        },
        Self::new("expiry of an empty directory", Before::EmptyDir, Asks::Ttl),
        Self::new("expiry of a directory of 10", Before::Tree { dirs: 1, files: 9 }, Asks::Ttl),
        Self {
            is_long: true,
            ..Self::new(
                "expiry of a directory of 120",
                Before::Tree { dirs: 3, files: 39 },
                Asks::Ttl,
            )
        },
    ];

    /// Makes its place below `/top`, through the gateway that goes on or straight in the table.
    pub(super) fn prepare(&self, stage: &Stage, top: &str) -> Result<(), String> {
        match self.before {
            Before::Nothing => put_dir(stage, &format!("/v2/keys/{top}?dir=true")),
            Before::EmptyDir => put_dir(stage, &format!("/v2/keys/{top}/d?dir=true")),
            Before::Tree { dirs, files } => {
                let tree = Tree { top: top.to_owned(), name: "d".to_owned(), dirs, files };
                tree.plant(stage.engine(), stage.table())
            }
        }
    }

    /// Whether the raw table shows that it is done. Only removals can be asked.
    pub(super) fn is_removed(&self, stage: &Stage, top: &str) -> bool {
        let table = Table::read(stage.engine(), stage.table(), "default");
        let place = format!("/{top}{}", self.place);
        table.is_ok_and(|table| {
            let removed = table.nodes.get(&place).and_then(|node| node.removed);
            removed.is_some_and(|removed| !removed.draining)
        })
    }

    /// Whether it begins by itself, once its TTL is given.
    pub(super) fn is_expiry(&self) -> bool {
        matches!(self.asks, Asks::Ttl)
    }

    /// What is asked of the gateway that is to be killed.
    pub(super) fn request(&self, top: &str) -> Request {
        let at = |key: &str| format!("/v2/keys/{top}{key}");
        match self.asks {
            Asks::Put(key) => Request::new("PUT", &at(key)).form("value=first"),
            Asks::Post => Request::new("POST", &at(self.place)).form("value=first"),
            Asks::Delete(query) => Request::new("DELETE", &format!("{}?{query}", at(self.place))),
            Asks::Ttl => {
                let target = format!("{}?dir=true&prevExist=true", at(self.place));
                Request::new("PUT", &target).form("ttl=1")
            }
        }
    }

    /// What a reader finds; an error where it is neither done nor undone.
    pub(super) fn came(&self, stage: &Stage, top: &str) -> Result<Came, String> {
        let seen = self.seen(stage, top)?;
        if seen == self.done {
            return Ok(Came::Done);
        }
        if Some(seen) == self.undone {
            return Ok(Came::Undone);
        }
        Err(format!("below /{top} there is {seen:?}: neither done nor undone"))
    }

    /// The same, where one more key was written to the place before anybody looked.
    pub(super) fn came_before_write(&self, stage: &Stage, top: &str) -> Result<(), String> {
        let below_place = self.again.matches('/').count() - self.place.matches('/').count();
        let with_write = |seen| match seen {
            Seen::Absent => Seen::Nodes(u64::try_from(below_place).unwrap_or_default()),
            Seen::Nodes(nodes) => Seen::Nodes(nodes + 1),
        };
        let seen = self.seen(stage, top)?;
        if seen == with_write(self.done) || Some(seen) == self.undone.map(with_write) {
            return Ok(());
        }
        Err(format!("below /{top} there is {seen:?} after one more write: neither done nor undone"))
    }

    fn seen(&self, stage: &Stage, top: &str) -> Result<Seen, String> {
        let target = format!("/v2/keys/{top}{}?recursive=true&quorum=true", self.place);
        let answer = stage.ask(&Request::new("GET", &target))?;
        match answer.status() {
            404 => Ok(Seen::Absent),
            200 => {
                let json = answer.json()?;
                Ok(Seen::Nodes(json.get("node").map_or(0, count_below)))
            }
            _ => Err(format!("GET {target}: {}", answer.describe())),
        }
    }

    /// A write to the place goes through, and is read.
    pub(super) fn write_again(&self, stage: &Stage, top: &str, value: &str) -> Result<(), String> {
        let target = format!("/v2/keys/{top}{}", self.again);
        let put = stage.ask(&Request::new("PUT", &target).form(&format!("value={value}")))?;
        if !matches!(put.status(), 200 | 201) {
            return Err(format!("PUT {target}: {}", put.describe()));
        }
        let got = stage.ask(&Request::new("GET", &format!("{target}?quorum=true")))?;
        if got.json()?.text("node.value") == Some(value) {
            return Ok(());
        }
        Err(format!("GET {target} after the write: {}", got.describe()))
    }
}

fn put_dir(stage: &Stage, target: &str) -> Result<(), String> {
    let answer = stage.ask(&Request::new("PUT", target))?;
    if answer.status() == 201 {
        Ok(())
    } else {
        Err(format!("PUT {target}: {}", answer.describe()))
    }
}

fn count_below(node: &Json) -> u64 {
    node.list("nodes").iter().map(|child| 1 + count_below(child)).sum()
}
