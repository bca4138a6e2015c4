//! A bank: accounts, and transfers by several tellers at once, while readers add everything up.
//!
//! A transfer takes from one account what it gives to another, in one batch with the teller's counter.
//! So at every snapshot the sum is the same, and since transfers are additions, their numbers alone
//! tell every balance, in whatever order the tellers came.

use parking_lot::Mutex;

use super::oracle::Broken;
use super::worker::{Shared, Trouble};
use super::workload::{Dice, How, KEEPER, Op, Task, WRITERS, counter_key, counter_value, upkeep};
use crate::{Db, Durability, Result, SeqNo, Snapshot, WriteBatch};

/// Accounts.
pub(super) const ACCOUNTS: u64 = 60;

/// What each has at first.
const DEPOSIT: i64 = 1000;

/// What all have together, always.
const TOTAL: i64 = DEPOSIT * ACCOUNTS as i64;

/// One for each account: two tellers never work on the same one at once.
pub(super) struct Locks(Vec<Mutex<()>>);

impl Default for Locks {
    fn default() -> Locks {
        Locks((0..ACCOUNTS).map(|_| Mutex::default()).collect())
    }
}

fn account(number: u64) -> Vec<u8> {
    format!("account{number:03}").into_bytes()
}

fn balance(value: Option<&[u8]>) -> Option<i64> {
    std::str::from_utf8(value?).ok()?.trim_end().parse().ok()
}

/// A balance as it is stored: with blanks, so that a flush comes often.
fn written(balance: i64) -> Vec<u8> {
    format!("{balance:<150}").into_bytes()
}

/// Opens the accounts, in one batch, if there are none.
pub(super) fn found(db: &Db) -> Result<()> {
    if db.get(account(0))?.is_some() {
        return Ok(());
    }
    let mut batch = WriteBatch::new();
    for number in 0..ACCOUNTS {
        batch.put(account(number), written(DEPOSIT));
    }
    db.write(batch, Durability::Sync).map(drop)
}

/// The operation of a teller, or of the keeper.
pub(super) fn op(seed: u64, stream: u64, n: u64) -> Op {
    let mut dice = Dice::new(seed, stream << 48 | n);
    let from = dice.below(ACCOUNTS);
    let to = (from + 1 + dice.below(ACCOUNTS - 1)) % ACCOUNTS;
    let how = if dice.below(10) == 0 { How::Sync } else { How::Buffered };
    let amount = 1 + dice.below(50);
    let task = match stream {
        KEEPER => Task::Keep(upkeep(&mut dice)),
        _ => Task::Transfer { how, from, to, amount },
    };
    Op { stream, n, task }
}

/// Does a transfer: reads two balances and writes what they become.
pub(super) fn transfer(
    shared: &Shared,
    (stream, n, durability): (u64, u64, Durability),
    (from, to): (u64, u64),
    amount: u64,
) -> Result<SeqNo, Trouble> {
    let lock = |number: u64| shared.locks.0[(number % ACCOUNTS) as usize].lock();
    // Always in one order, so that two tellers never wait for each other.
    let _first = lock(from.min(to));
    let _second = lock(from.max(to));
    let db = &shared.db;
    let balance_of = |number: u64| {
        let value = db.get(account(number))?;
        let missing = || Trouble::Wrong(format!("account {number} has no balance"));
        balance(value.as_deref()).ok_or_else(missing)
    };
    let mut batch = WriteBatch::new();
    batch.put(account(from), written(balance_of(from)? - amount as i64));
    batch.put(account(to), written(balance_of(to)? + amount as i64));
    batch.put(counter_key(stream), counter_value(n));
    Ok(db.write(batch, durability)?)
}

/// Adds everything up at a snapshot of now, by scanning and by gets.
pub(super) fn look(db: &Db) -> Result<(), Trouble> {
    let snapshot = db.snapshot();
    for (way, balances) in [("scan", scanned(&snapshot)?), ("get", gotten(&snapshot)?)] {
        let sum: i64 = balances.iter().sum();
        if (balances.len() as u64, sum) != (ACCOUNTS, TOTAL) {
            return Err(Trouble::Wrong(format!(
                "at snapshot {} a {way} finds {sum} on {} accounts; {TOTAL} on {ACCOUNTS} is right",
                snapshot.seqno(),
                balances.len(),
            )));
        }
    }
    Ok(())
}

fn scanned(snapshot: &Snapshot) -> Result<Vec<i64>> {
    let mut balances = Vec::new();
    for item in snapshot.prefix("account") {
        balances.extend(balance(Some(&item?.1)));
    }
    Ok(balances)
}

fn gotten(snapshot: &Snapshot) -> Result<Vec<i64>> {
    let values = snapshot.multi_get((0..ACCOUNTS).map(account))?;
    Ok(values.iter().filter_map(|value| balance(value.as_deref())).collect())
}

/// What the accounts must hold after so many transfers of each teller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ledger {
    pub(super) seed: u64,
    balances: Vec<i64>,
    pub(super) done: [u64; WRITERS as usize],
}

impl Ledger {
    pub(super) fn new(seed: u64) -> Ledger {
        let balances = vec![DEPOSIT; ACCOUNTS as usize];
        Ledger { seed, balances, done: [0; WRITERS as usize] }
    }

    /// Applies a teller's transfers up to number `upto`.
    pub(super) fn advance(&mut self, teller: u64, upto: u64) {
        let Some(done) = self.done.get(teller as usize).copied() else { return };
        for n in done + 1..=upto {
            if let Task::Transfer { from, to, amount, .. } = op(self.seed, teller, n).task {
                self.balances[from as usize] -= amount as i64;
                self.balances[to as usize] += amount as i64;
            }
            self.done[teller as usize] = n;
        }
    }

    /// Operations that founding the bank and all transfers took.
    pub(super) fn seqnos(&self) -> u64 {
        ACCOUNTS + 3 * self.done.iter().sum::<u64>()
    }

    /// Compares a store. One that was killed before it was founded holds nothing.
    pub(super) fn compare(&self, db: &Db) -> Result<Result<(), Broken>> {
        let snapshot = db.snapshot();
        if snapshot.seqno() == SeqNo(0) && self.done == [0; WRITERS as usize] {
            return Ok(Ok(()));
        }
        for (way, found) in [("scan", scanned(&snapshot)?), ("get", gotten(&snapshot)?)] {
            if found != self.balances {
                let what = |balances: &[i64]| {
                    let sum: i64 = balances.iter().sum();
                    format!("{way}: {sum} in all, on the accounts {balances:?}")
                };
                return Ok(Err(Broken::new(what(&self.balances), what(&found))));
            }
        }
        Ok(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sum stays, and a store with one balance changed is noticed by reader and ledger.
    #[test]
    fn money_is_neither_made_nor_lost() {
        let mut ledger = Ledger::new(5);
        for teller in 0..WRITERS {
            ledger.advance(teller, 50 + teller);
        }
        assert_eq!(ledger.balances.iter().sum::<i64>(), TOTAL);
        let home = tempfile::tempdir().unwrap();
        let db = Db::open(home.path()).unwrap();
        assert!(Ledger::new(5).compare(&db).unwrap().is_ok());
        found(&db).unwrap();
        assert!(look(&db).is_ok() && Ledger::new(5).compare(&db).unwrap().is_ok());
        assert!(ledger.compare(&db).unwrap().is_err());
        db.put(account(3), written(999)).unwrap();
        assert!(matches!(look(&db), Err(Trouble::Wrong(_))));
        assert!(Ledger::new(5).compare(&db).unwrap().is_err());
    }
}
