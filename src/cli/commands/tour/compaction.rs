//! The step that lets old versions pile up in the tree, and merges them away.

use super::{Guide, admin, pairs};
use crate::cli::Outcome;
use crate::cli::output::size;
use crate::{Db, Durability, WriteBatch};

/// A letter that is overwritten twice, and a sign that is deleted.
const LETTER: &str = "0041";
const SIGN: &str = "2800";

impl Guide<'_> {
    /// The tree before and after, the same reads from both, and what is no longer there.
    pub(super) fn compact(&mut self, db: &Db) -> Outcome<()> {
        self.title("Compaction: what nobody can see any more is merged away")?;
        db.compact::<&[u8], _>(..)?;
        self.say("compact: the table goes to the last level, without what was overwritten")?;
        let letters = self.write(db, "LATIN ", |batch, key, name| {
            batch.put(key, name);
        })?;
        db.flush()?;
        self.say(&format!("put {letters} Latin letters again, only the name; flush"))?;
        self.write(db, "LATIN ", |batch, key, name| {
            batch.put(key, name.to_lowercase());
        })?;
        let signs = self.write(db, "BRAILLE ", |batch, key, _| {
            batch.delete(key);
        })?;
        db.flush()?;
        self.say(&format!("put them in lower case, del {signs} Braille patterns; flush"))?;
        self.show_get(db, LETTER)?;
        self.show_get(db, SIGN)?;
        self.show_tree(
            db,
            "every change lies over what it changed, so a get may have to look into three tables:",
        )?;
        let (before, began) = (bytes(db), db.stats());
        db.compact::<&[u8], _>(..)?;
        let stats = db.stats();
        self.show_tree(db, "compact again, and there is one sorted run:")?;
        self.say(&format!(
            "{} older versions and {} tombstones are gone: {} became {}",
            stats.dropped_shadowed - began.dropped_shadowed,
            stats.dropped_tombstones - began.dropped_tombstones,
            size(before),
            size(bytes(db)),
        ))?;
        self.show_get(db, LETTER)?;
        self.show_get(db, SIGN)
    }

    /// One batch with an operation for each character whose name begins so; counts them.
    fn write(
        &mut self,
        db: &Db,
        prefix: &str,
        operation: impl Fn(&mut WriteBatch, &str, &str),
    ) -> Outcome<usize> {
        let mut batch = WriteBatch::new();
        let names = pairs().map(|(key, value)| (key, value.split(';').next().unwrap_or_default()));
        let mut count = 0;
        for (key, name) in names.filter(|(_, name)| name.starts_with(prefix)) {
            operation(&mut batch, key, name);
            count += 1;
        }
        db.write(batch, Durability::Sync)?;
        self.orderly.check()?;
        Ok(count)
    }

    fn show_tree(&mut self, db: &Db, what: &str) -> Outcome<()> {
        self.say(what)?;
        admin::print_levels(self.args, db, self.out)
    }
}

/// Bytes of all tables.
fn bytes(db: &Db) -> u64 {
    db.stats().levels.iter().map(|level| level.bytes).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the step says of the two characters it reads is held by the data.
    #[test]
    fn the_letter_and_the_sign_are_among_those_that_change() {
        let line = |wanted| pairs().find(|(key, _)| *key == wanted).map(|(_, value)| value);
        assert!(line(LETTER).unwrap().starts_with("LATIN "));
        assert!(line(SIGN).unwrap().starts_with("BRAILLE "));
    }
}
