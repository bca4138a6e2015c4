//! Several changes that happen together or not at all, and one sync for many writes.
//!
//! ```text
//! cargo run --example batch
//! ```

use beachdb::{Db, Durability, WriteBatch};

fn main() -> beachdb::Result<()> {
    let dir = std::env::temp_dir().join(format!("beachdb-batch-{}", std::process::id()));
    let db = Db::open(&dir)?;
    db.put("pebbles/ann", "10")?;

    // Whatever happens, nobody sees the pebbles twice, or not at all.
    let mut batch = WriteBatch::new();
    batch.delete("pebbles/ann").put("pebbles/ben", "10");
    db.write(batch, Durability::Sync)?;

    // A thousand writes that survive the end of this process at once, and a power loss from the
    // sync on.
    for n in 0..1000 {
        let mut batch = WriteBatch::new();
        batch.put(format!("shell/{n:04}"), "white");
        db.write(batch, Durability::Buffered)?;
    }
    db.sync()?;

    let stats = db.stats();
    println!("{} operations, {} log syncs", stats.writes, stats.syncs);
    for item in db.prefix("pebbles/") {
        let (key, value) = item?;
        println!("{} = {}", key.escape_ascii(), value.escape_ascii());
    }
    db.close()?;
    let _ = std::fs::remove_dir_all(&dir);
    Ok(())
}
