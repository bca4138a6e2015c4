//! What a store tells of itself: events as they happen, and figures.

use std::sync::Arc;

use parking_lot::Mutex;

use beachdb::runtime::inline::InlineRuntime;
use beachdb::vfs::sim::SimVfs;
use beachdb::{Db, Durability, Event, Listener, Options, Result, WriteBatch};

#[derive(Debug, Default)]
struct Notes(Mutex<Vec<Event>>);

impl Listener for Notes {
    fn event(&self, event: &Event) {
        self.0.lock().push(event.clone());
    }
}

fn write(db: &Db, from: u32, value: &[u8]) -> Result<()> {
    let mut batch = WriteBatch::new();
    for n in from..from + 100 {
        batch.put(format!("key{n:05}"), value);
    }
    db.write(batch, Durability::Buffered).map(drop)
}

/// Every kind of work is told once, in its order, with figures that agree with those of the store.
#[test]
fn a_listener_is_told_what_happens() -> Result<()> {
    let notes = Arc::new(Notes::default());
    let options = Options::new()
        .listener(Arc::clone(&notes) as Arc<dyn Listener>)
        .vfs(Arc::new(SimVfs::new()))
        .runtime(Arc::new(InlineRuntime::new(1)));
    let db = options.clone().open("/sand")?;
    for round in 0..3u8 {
        write(&db, 0, &[round; 50])?;
        db.flush()?;
    }
    db.compact::<&[u8], _>(..)?;
    let stats = db.stats();
    drop(db);
    drop(options.open("/sand")?);
    let events = notes.0.lock();
    let count = |wanted: fn(&Event) -> bool| events.iter().filter(|event| wanted(event)).count();
    assert!(matches!(events.first(), Some(Event::Opened { clean: true, .. })));
    assert_eq!(count(|event| matches!(event, Event::Opened { .. })), 2);
    assert_eq!(count(|event| matches!(event, Event::Rotated { .. })), 3);
    assert_eq!(count(|event| matches!(event, Event::FlushBegun { entries: 100, .. })), 3);
    assert_eq!(count(|event| matches!(event, Event::FlushEnded { table: Some(_), .. })), 3);
    assert_eq!(count(|event| matches!(event, Event::JobFailed { .. })), 0);
    let dropped: u64 = events
        .iter()
        .filter_map(|event| match event {
            Event::CompactionEnded { dropped_shadowed, .. } => Some(*dropped_shadowed),
            _ => None,
        })
        .sum();
    assert_eq!((dropped, stats.dropped_shadowed), (200, 200));
    assert!(count(|event| matches!(event, Event::CompactionBegun { .. })) >= 1);
    Ok(())
}

/// One sorted run of known keys: the amplifications are those of one run, half the keys take about half
/// the bytes, none of them none.
#[test]
fn figures_are_those_of_the_tree() -> Result<()> {
    let options =
        Options::new().vfs(Arc::new(SimVfs::new())).runtime(Arc::new(InlineRuntime::new(1)));
    let db = options.open("/sand")?;
    assert_eq!((db.stats().read_amplification, db.stats().space_amplification), (0, None));
    assert_eq!(db.stats().write_amplification(), None);
    for from in (0..2000).step_by(100) {
        write(&db, from, &[7; 100])?;
    }
    db.compact::<&[u8], _>(..)?;
    let stats = db.stats();
    assert_eq!((stats.read_amplification, stats.space_amplification), (1, Some(1.0)));
    assert!(stats.write_amplification().is_some_and(|times| times > 0.1 && times < 3.0));
    let all = db.approximate_size::<&[u8], _>(..)?;
    assert_eq!(all, stats.levels.iter().map(|level| level.bytes).sum::<u64>());
    let half = db.approximate_size(b"key00000".as_slice()..b"key01000".as_slice())?;
    assert!(half > all * 35 / 100 && half < all * 60 / 100, "{half} of {all}");
    assert_eq!(db.approximate_size(b"l".as_slice()..b"m".as_slice())?, 0);
    Ok(())
}
