//! The walk on a stream that is scripted: it splits, rotates, throttles, expires and trims.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use super::*;

/// A record: its item, and its place among the records of that item.
type Written = (u32, u32);

/// A stream in memory, written to while it is walked.
#[derive(Debug, Clone, Default)]
struct Script(Arc<Mutex<Stream>>);

#[derive(Debug, Default)]
struct Stream {
    shards: Vec<Scripted>,
    next_number: u64,
    written: BTreeMap<u32, u32>,
    iterators: u64,
    /// What each call meets, by chance: one in so many.
    trouble_one_in: Option<u64>,
    random: Option<fastrand::Rng>,
    /// Iterators made before this one are too old.
    expired_before: u64,
    calls: Vec<String>,
}

#[derive(Debug, Default)]
struct Scripted {
    id: String,
    parent: Option<String>,
    /// The hashes of items that it takes.
    items: Vec<u32>,
    records: Vec<(u64, Written)>,
    is_closed: bool,
    is_trimmed: bool,
    /// How many lists do not show it yet.
    shown_after: u32,
}

impl Stream {
    fn open_shard(&mut self, parent: Option<&str>, items: Vec<u32>, shown_after: u32) -> String {
        let id = format!("shard-{:04}", self.shards.len());
        let parent = parent.map(str::to_owned);
        let shard = Scripted { id: id.clone(), parent, items, shown_after, ..Scripted::default() };
        self.shards.push(shard);
        id
    }

    fn shard(&mut self, id: &str) -> &mut Scripted {
        self.shards.iter_mut().find(|shard| shard.id == id).expect("there is one")
    }

    fn write(&mut self, item: u32) {
        let count = self.written.entry(item).or_default();
        *count += 1;
        let written = (item, *count);
        self.next_number += 1;
        let number = self.next_number;
        let open = |shard: &&mut Scripted| !shard.is_closed && shard.items.contains(&item);
        let shard = self.shards.iter_mut().find(open).expect("an open shard has the item");
        shard.records.push((number, written));
    }

    /// Closes a shard; its items go to so many children.
    fn split(&mut self, id: &str, children: usize, shown_after: u32) {
        let shard = self.shard(id);
        shard.is_closed = true;
        let items = shard.items.clone();
        for child in 0..children {
            let part = items.iter().copied().filter(|item| *item as usize % children == child);
            let part: Vec<u32> = part.collect();
            self.open_shard(Some(id), part, shown_after);
        }
    }

    fn trouble(&mut self) -> Result<(), Trouble> {
        let (Some(one_in), Some(random)) = (self.trouble_one_in, &mut self.random) else {
            return Ok(());
        };
        match random.u64(..one_in) {
            0 => Err(Trouble::Throttled("too many readers".to_owned())),
            1 => Err(Trouble::Passing("500".to_owned())),
            _ => Ok(()),
        }
    }
}

impl Script {
    fn with(&self) -> std::sync::MutexGuard<'_, Stream> {
        self.0.lock().unwrap()
    }

    async fn walk(&self) -> Walk<Script> {
        Walk::open(self.clone()).await.expect("a walk")
    }
}

impl Source for Script {
    type Record = Written;

    async fn shards(&self, after: Option<String>) -> Result<(Vec<Shard>, Option<String>), Trouble> {
        tokio::task::yield_now().await;
        let mut stream = self.with();
        stream.calls.push("list".to_owned());
        stream.trouble()?;
        if after.is_none() {
            stream.shards.iter_mut().for_each(|s| s.shown_after = s.shown_after.saturating_sub(1));
        }
        let shown = stream.shards.iter().filter(|s| !s.is_trimmed && s.shown_after == 0);
        let rest = shown.filter(|s| after.as_ref().is_none_or(|after| s.id > *after));
        let shard = |s: &Scripted| Shard {
            id: s.id.clone(),
            parent: s.parent.clone(),
            is_closed: s.is_closed,
        };
        let page: Vec<Shard> = rest.take(2).map(shard).collect();
        let next = page.last().filter(|_| page.len() == 2).map(|shard| shard.id.clone());
        Ok((page, next))
    }

    async fn iterator(&self, id: &str, at: &Position) -> Result<Option<String>, Trouble> {
        tokio::task::yield_now().await;
        let mut stream = self.with();
        stream.calls.push(format!("{id} {at:?}"));
        stream.trouble()?;
        stream.iterators += 1;
        let made = stream.iterators;
        let shard = stream.shard(id);
        if shard.is_trimmed {
            return Err(Trouble::Lost(format!("{id} is trimmed")));
        }
        let last = shard.records.last().map_or(0, |(number, _)| *number);
        let after = match at {
            Position::Latest => last,
            Position::Start => 0,
            Position::After(number) => number.parse().expect("a number"),
        };
        Ok(Some(format!("{made} {id} {after}")))
    }

    async fn records(&self, iterator: &str) -> Result<Page<Written>, Trouble> {
        tokio::task::yield_now().await;
        let mut stream = self.with();
        stream.trouble()?;
        let parts: Vec<&str> = iterator.split(' ').collect();
        let [made, id, after] = parts[..] else { panic!("{iterator}") };
        if made.parse::<u64>().expect("a number") <= stream.expired_before {
            return Err(Trouble::Expired);
        }
        stream.iterators += 1;
        let made = stream.iterators;
        let after: u64 = after.parse().expect("a number");
        let shard = stream.shard(id);
        if shard.is_trimmed {
            return Err(Trouble::Lost(format!("{id} is trimmed")));
        }
        let rest: Vec<(u64, Written)> =
            shard.records.iter().filter(|(number, _)| *number > after).take(3).copied().collect();
        let last = rest.last().map(|(number, _)| *number);
        let is_end =
            shard.is_closed && shard.records.last().is_none_or(|r| r.0 <= last.unwrap_or(after));
        let next = (!is_end).then(|| format!("{made} {id} {}", last.unwrap_or(after)));
        let records = rest.into_iter().map(|(_, written)| written).collect();
        Ok(Page { records, last: last.map(|number| number.to_string()), next })
    }
}

/// Walks until a round is whole and had nothing. Gives what it came upon.
async fn all(walk: &mut Walk<Script>) -> Result<Vec<Written>, String> {
    let mut seen = Vec::new();
    // The first one to end may have begun before.
    let mut since_round = usize::MAX;
    loop {
        match walk.next().await {
            Step::Records(records) => {
                since_round = since_round.saturating_add(records.len());
                seen.extend(records);
            }
            Step::Round(Round::Whole) if since_round == 0 => return Ok(seen),
            Step::Round(_) => {
                since_round = 0;
                tokio::time::advance(Duration::from_millis(250)).await;
            }
            Step::Gap(why) => return Err(why),
        }
    }
}

/// The records of each item since some point, in order.
fn since(before: &BTreeMap<u32, u32>, after: &BTreeMap<u32, u32>) -> BTreeMap<u32, Vec<u32>> {
    let rest =
        |item: &u32, last: u32| (before.get(item).copied().unwrap_or(0) + 1..=last).collect();
    let all = after.iter().map(|(item, last)| (*item, rest(item, *last)));
    all.filter(|(_, rest): &(u32, Vec<u32>)| !rest.is_empty()).collect()
}

fn by_item(seen: &[Written]) -> BTreeMap<u32, Vec<u32>> {
    let mut items: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for (item, number) in seen {
        items.entry(*item).or_default().push(*number);
    }
    items
}

#[tokio::test(start_paused = true)]
async fn a_walk_begins_now() {
    let script = Script::default();
    script.with().open_shard(None, (0..4).collect(), 0);
    (0..4).for_each(|item| script.with().write(item));
    let mut walk = script.walk().await;
    assert_eq!(all(&mut walk).await, Ok(vec![]));
    for item in [2, 1, 2] {
        script.with().write(item);
    }
    assert_eq!(all(&mut walk).await, Ok(vec![(2, 2), (1, 2), (2, 3)]));
}

#[tokio::test(start_paused = true)]
async fn children_come_after_their_parent_and_from_their_beginning() {
    let script = Script::default();
    let first = script.with().open_shard(None, (0..4).collect(), 0);
    let mut walk = script.walk().await;
    // Many generations at once, while nobody looked; the parent still has records.
    for round in 0..5 {
        (0..4).for_each(|item| script.with().write(item));
        let open: Vec<String> =
            script.with().shards.iter().filter(|s| !s.is_closed).map(|s| s.id.clone()).collect();
        let children = if round % 2 == 0 { 2 } else { 1 };
        open.iter().filter(|_| round < 4).for_each(|id| script.with().split(id, children, 0));
    }
    let seen = all(&mut walk).await.expect("no gap");
    assert_eq!(by_item(&seen), (0..4).map(|item| (item, (1..=5).collect())).collect());
    let latest: Vec<String> =
        script.with().calls.iter().filter(|call| call.contains("Latest")).cloned().collect();
    assert_eq!(latest, [format!("{first} Latest")]);
}

#[tokio::test(start_paused = true)]
async fn a_child_that_is_listed_late_is_looked_for() {
    let script = Script::default();
    let first = script.with().open_shard(None, vec![1], 0);
    let mut walk = script.walk().await;
    script.with().write(1);
    script.with().split(&first, 1, 4);
    script.with().write(1);
    assert!(matches!(walk.next().await, Step::Records(records) if records == [(1, 1)]));
    let round = walk.next().await;
    assert!(matches!(round, Step::Round(Round::Broken { .. })), "{round:?}: a child is missing");
    assert_eq!(all(&mut walk).await, Ok(vec![(1, 2)]));
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_ended_without_children_is_waited_for_only_for_a_while() {
    let script = Script::default();
    let first = script.with().open_shard(None, vec![1], 0);
    script.with().open_shard(None, vec![2], 0);
    let mut walk = script.walk().await;
    script.with().shard(&first).is_closed = true;
    script.with().write(2);
    assert_eq!(all(&mut walk).await, Ok(vec![(2, 1)]));
}

#[tokio::test(start_paused = true)]
async fn what_was_closed_and_followed_before_is_not_read_and_a_closed_last_one_is() {
    let script = Script::default();
    let old = script.with().open_shard(None, vec![1], 0);
    script.with().write(1);
    script.with().split(&old, 1, 0);
    script.with().write(1);
    // The last one is closed, and its child is not listed yet.
    let last = script.with().shards.last().expect("the child").id.clone();
    script.with().split(&last, 1, 2);
    let mut walk = script.walk().await;
    script.with().write(1);
    assert_eq!(all(&mut walk).await, Ok(vec![(1, 3)]));
    assert!(!script.with().calls.iter().any(|call| call.starts_with(&old)));
}

#[tokio::test(start_paused = true)]
async fn old_iterators_are_renewed_after_the_last_record() {
    let script = Script::default();
    script.with().open_shard(None, vec![1], 0);
    let mut walk = script.walk().await;
    script.with().write(1);
    assert_eq!(all(&mut walk).await, Ok(vec![(1, 1)]));
    let made = script.with().iterators;
    script.with().expired_before = made;
    script.with().write(1);
    assert_eq!(all(&mut walk).await, Ok(vec![(1, 2)]));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_any_more_is_a_gap() {
    for (name, spoil) in [
        (
            "an iterator that pointed at nothing yet",
            (|stream: &mut Stream| {
                stream.expired_before = stream.iterators;
            }) as fn(&mut Stream),
        ),
        ("trimmed records", |stream| stream.shards[0].is_trimmed = true),
    ] {
        let script = Script::default();
        script.with().open_shard(None, vec![1], 0);
        let mut walk = script.walk().await;
        spoil(&mut script.with());
        script.with().open_shard(None, vec![2], 0);
        assert!(all(&mut walk).await.is_err(), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn throttling_is_told_apart() {
    let script = Script::default();
    script.with().open_shard(None, vec![1], 0);
    let mut walk = script.walk().await;
    script.with().random = Some(fastrand::Rng::with_seed(7));
    script.with().trouble_one_in = Some(1);
    assert!(matches!(walk.next().await, Step::Round(Round::Broken { throttled: true })));
    script.with().trouble_one_in = None;
    script.with().write(1);
    assert_eq!(all(&mut walk).await, Ok(vec![(1, 1)]));
}

/// Splits, rotations, late lists, trouble, old iterators and calls that are cut short, by chance.
#[tokio::test(start_paused = true)]
async fn every_record_once_and_in_order_whatever_happens() {
    for seed in 0..400 {
        let mut random = fastrand::Rng::with_seed(seed);
        let script = Script::default();
        const ITEMS: u32 = 6;
        script.with().open_shard(None, (0..ITEMS).filter(|i| i % 2 == 0).collect(), 0);
        script.with().open_shard(None, (0..ITEMS).filter(|i| i % 2 == 1).collect(), 0);
        let disturb = |random: &mut fastrand::Rng| {
            let mut stream = script.with();
            for _ in 0..random.u32(..6) {
                stream.write(random.u32(..ITEMS));
            }
            if random.u32(..4) == 0 {
                let open = stream.shards.iter().filter(|s| !s.is_closed).map(|s| s.id.clone());
                let open: Vec<String> = open.collect();
                let id = random.choice(open).expect("some are open");
                stream.split(&id, random.usize(1..3), random.u32(..4));
            }
        };
        (0..random.u32(..5)).for_each(|_| disturb(&mut random));
        // The list is whole when the walk begins.
        script.with().shards.iter_mut().for_each(|shard| shard.shown_after = 0);
        let mut walk = script.walk().await;
        let before = script.with().written.clone();
        script.with().random = Some(random.fork());
        script.with().trouble_one_in = Some(10);
        let mut seen = Vec::new();
        for _ in 0..60 {
            disturb(&mut random);
            let next = walk.next();
            tokio::pin!(next);
            // Sometimes a call is dropped before its end.
            let mut step = None;
            for _ in 0..random.u32(..200) {
                if let std::task::Poll::Ready(ready) = futures_util::poll!(next.as_mut()) {
                    step = Some(ready);
                    break;
                }
            }
            match step {
                Some(Step::Records(records)) => seen.extend(records),
                Some(Step::Gap(why)) => panic!("seed {seed}: {why}"),
                Some(Step::Round(_)) | None => {}
            }
            tokio::time::advance(Duration::from_millis(random.u64(..400))).await;
        }
        script.with().trouble_one_in = None;
        seen.extend(all(&mut walk).await.unwrap_or_else(|why| panic!("seed {seed}: {why}")));
        let expected = since(&before, &script.with().written);
        assert_eq!(by_item(&seen), expected, "seed {seed}");
    }
}
