//! What a store may hold after a crash: some first batches of a history, whole, none missing.

use std::collections::BTreeMap;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::history::Change;
use crate::{Db, Snapshot};

/// All pairs of a store.
pub type Content = BTreeMap<Vec<u8>, Vec<u8>>;

/// Operations of a batch, in order: a value, or none for a delete.
type Batch = Vec<(Vec<u8>, Option<Vec<u8>>)>;

/// A broken promise: what was expected and what was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// What had to be.
    pub expected: String,
    /// What was.
    pub found: String,
}

impl Broken {
    /// A promise that was broken so.
    #[must_use]
    pub fn new(expected: impl Into<String>, found: impl Into<String>) -> Broken {
        Broken { expected: expected.into(), found: found.into() }
    }
}

/// Every batch ever issued, with what is known of its fate.
#[derive(Clone, Debug, Default)]
pub struct Oracle {
    batches: Vec<Batch>,
    durable: usize,
    acknowledged: usize,
    hash: u64,
}

impl Oracle {
    /// A batch is about to be written. Returns its operations.
    pub fn issue(&mut self, changes: &[Change]) -> &Batch {
        let number = self.batches.len();
        let batch: Batch = changes
            .iter()
            .enumerate()
            .map(|(index, change)| {
                let value = change.size.map(|size| value(number, index, size as usize));
                (change.key.clone().into_bytes(), value)
            })
            .collect();
        for (key, value) in &batch {
            let value_hash = value.as_ref().map_or(0, |value| xxh3_64_with_seed(value, 1));
            self.hash = xxh3_64_with_seed(key, self.hash ^ value_hash);
        }
        self.batches.push(batch);
        &self.batches[number]
    }

    /// The last batch was refused: it is nowhere.
    pub fn withdraw(&mut self) {
        if self.batches.len() > self.acknowledged {
            self.batches.pop();
        }
    }

    /// Batches issued, acknowledged or not.
    #[must_use]
    pub fn issued(&self) -> usize {
        self.batches.len()
    }

    /// All batches issued so far are acknowledged, and durable if `durable`.
    pub fn acknowledge(&mut self, durable: bool) {
        self.acknowledged = self.batches.len();
        if durable {
            self.durable = self.acknowledged;
        }
    }

    /// All that was acknowledged is durable.
    pub fn all_durable(&mut self) {
        self.durable = self.acknowledged;
    }

    /// Only the first `kept` batches are left.
    pub fn settle(&mut self, kept: usize) {
        self.batches.truncate(kept);
        self.acknowledged = kept;
        self.durable = self.durable.min(kept);
    }

    /// How many first batches a power loss must leave.
    #[must_use]
    pub fn durable(&self) -> usize {
        self.durable
    }

    /// How many first batches a kill must leave.
    #[must_use]
    pub fn acknowledged(&self) -> usize {
        self.acknowledged
    }

    /// A hash of all batches issued.
    #[must_use]
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// Operations in the first `batches`.
    #[must_use]
    pub fn ops(&self, batches: usize) -> u64 {
        self.batches[..batches].iter().map(|batch| batch.len() as u64).sum()
    }

    /// What the first `batches` add up to.
    #[must_use]
    pub fn content(&self, batches: usize) -> Content {
        let mut content = Content::new();
        for (key, value) in self.batches[..batches].iter().flatten() {
            match value {
                Some(value) => content.insert(key.clone(), value.clone()),
                None => content.remove(key),
            };
        }
        content
    }

    /// Every key that any batch names, in the order of the batches.
    pub fn keys(&self) -> impl Iterator<Item = &Vec<u8>> {
        self.batches.iter().flatten().map(|(key, _)| key)
    }

    /// How many batches have exactly these operations.
    #[must_use]
    pub fn batches_of(&self, last_seqno: u64) -> Option<usize> {
        (0..=self.batches.len()).find(|&batches| self.ops(batches) == last_seqno)
    }

    /// Checks that the store holds the first batches, at least `floor` of them; how many.
    ///
    /// # Errors
    /// Which promise is broken.
    pub fn check(&self, db: &Db, floor: usize) -> Result<usize, Broken> {
        let last = db.stats().last_seqno.0;
        let Some(kept) = self.batches_of(last) else {
            let expected = "a sequence number at the end of a batch";
            return Err(Broken::new(expected, format!("last sequence number {last}")));
        };
        if kept < floor {
            let expected = format!("the first {floor} batches at least");
            return Err(Broken::new(expected, format!("{kept} batches")));
        }
        self.check_shown(&db.snapshot(), kept)?;
        Ok(kept)
    }

    /// Checks that a snapshot shows the first `batches`: forwards, backwards and key by key.
    ///
    /// # Errors
    /// Where they differ.
    pub fn check_shown(&self, snapshot: &Snapshot, batches: usize) -> Result<(), Broken> {
        let due = self.content(batches);
        let found = content_of(snapshot)?;
        if found != due {
            let expected = format!("after {batches} batches {}", shown(&due));
            return Err(Broken::new(expected, shown(&found)));
        }
        for (key, _) in self.batches.iter().flatten().filter(|(key, _)| !due.contains_key(key)) {
            if failing("a get", snapshot.get(key))?.is_some() {
                let expected = format!("no value under {}", key.escape_ascii());
                return Err(Broken::new(expected, "one that only a get sees"));
            }
        }
        Ok(())
    }
}

/// Everything a snapshot shows; its scans and gets must agree.
///
/// # Errors
/// Where they do not, or what could not be read.
pub fn content_of(snapshot: &Snapshot) -> Result<Content, Broken> {
    let mut content = Content::new();
    let mut order = Vec::new();
    for item in snapshot.iter() {
        let (key, value) = failing("a scan", item)?;
        order.push(key.clone());
        if content.insert(key.clone(), value.to_vec()).is_some() {
            return Err(Broken::new("each key once", format!("{} twice", key.escape_ascii())));
        }
    }
    if !order.is_sorted() {
        return Err(Broken::new("keys in order", format!("{order:?}")));
    }
    for item in snapshot.iter().rev() {
        let (key, value) = failing("a reverse scan", item)?;
        if order.pop().as_ref() != Some(&key) || content[&key] != value.to_vec() {
            let found = format!("{} where it is not", key.escape_ascii());
            return Err(Broken::new("a reverse scan like the scan", found));
        }
    }
    if let Some(key) = order.pop() {
        return Err(Broken::new("a reverse scan like the scan", format!("none of {key:?}")));
    }
    for (key, value) in &content {
        if failing("a get", snapshot.get(key))?.as_deref() != Some(value.as_slice()) {
            let found = format!("another under {}", key.escape_ascii());
            return Err(Broken::new("a get with the value of the scan", found));
        }
    }
    Ok(content)
}

/// A call that must not fail.
///
/// # Errors
/// That it did.
pub fn failing<T>(what: &str, result: crate::Result<T>) -> Result<T, Broken> {
    result.map_err(|error| Broken::new(format!("{what} that succeeds"), error.to_string()))
}

/// Bytes that say which batch and operation wrote them.
fn value(batch: usize, index: usize, size: usize) -> Vec<u8> {
    let text = format!("batch {batch}.{index}; ");
    text.bytes().cycle().take(size).collect()
}

/// A content short enough for a message.
fn shown(content: &Content) -> String {
    let pair = |(key, value): (&Vec<u8>, &Vec<u8>)| {
        let start = &value[..value.len().min(14)];
        format!("{} = \"{}\" ({} bytes)", key.escape_ascii(), start.escape_ascii(), value.len())
    };
    match content.is_empty() {
        true => "nothing".to_owned(),
        false => content.iter().map(pair).collect::<Vec<_>>().join(", "),
    }
}
