//! A moment of the store, held while the store goes on.
//!
//! ```text
//! cargo run --example snapshot
//! ```

use beachdb::Db;

fn main() -> beachdb::Result<()> {
    let dir = std::env::temp_dir().join(format!("beachdb-snapshot-{}", std::process::id()));
    let db = Db::open(&dir)?;
    for (key, value) in [("castle", "standing"), ("moat", "dry"), ("tide", "low")] {
        db.put(key, value)?;
    }

    let before = db.snapshot();
    db.delete("castle")?;
    db.put("moat", "full")?;
    db.put("tide", "high")?;
    db.flush()?;

    println!("then, as of operation {}:", before.seqno());
    for item in before.iter() {
        let (key, value) = item?;
        println!("  {} = {}", key.escape_ascii(), value.escape_ascii());
    }
    println!("now:");
    for item in db.iter().rev() {
        let (key, value) = item?;
        println!("  {} = {}", key.escape_ascii(), value.escape_ascii());
    }

    drop(before);
    db.close()?;
    let _ = std::fs::remove_dir_all(&dir);
    Ok(())
}
