//! Open a store, write, read, scan, and find it all again.
//!
//! ```text
//! cargo run --example quickstart
//! ```

use beachdb::Db;

fn main() -> beachdb::Result<()> {
    let dir = std::env::temp_dir().join(format!("beachdb-quickstart-{}", std::process::id()));

    let db = Db::open(&dir)?;
    db.put("tide", "low")?; // On stable storage when it returns.
    db.put("wind", "north-west")?;
    db.put("waves", "two metres")?;
    db.delete("wind")?;
    println!("tide is {:?}, wind is {:?}", db.get("tide")?, db.get("wind")?);
    db.close()?;

    let db = Db::open(&dir)?;
    for item in db.prefix("w").chain(db.range("a".."u").rev()) {
        let (key, value) = item?;
        println!("{} = {}", key.escape_ascii(), value.escape_ascii());
    }
    db.close()?;

    // The store is that directory and nothing else.
    let _ = std::fs::remove_dir_all(&dir);
    Ok(())
}
