//! One history under many options: what is asked of the store must not depend on how it is kept.
//!
//! A variant changes the thresholds, the strategy and the compression, and puts reopenings, flushes,
//! merges and background work between the steps. After each step of the history it has to give the
//! answers that every other variant gives: sequence number, content forwards, backwards, key by key.

use xxhash_rust::xxh3::xxh3_64;

use super::history::{Setup, Shape, Step};
use super::oracle::{Broken, content_of};
use super::player::Player;
use super::workload::Dice;

/// Variants that a history is played in.
pub const VARIANTS: u64 = 32;

/// What a store answered after each step of the history.
pub type Answers = Vec<u64>;

/// The history as variant `number` keeps it; 0 is as it stands.
#[must_use]
pub fn variant(setup: &Setup, number: u64) -> Setup {
    if number == 0 {
        return setup.clone();
    }
    let mut dice = Dice::new(setup.seed, number);
    let mut one_of = |all: &[u64]| all[dice.below(all.len() as u64) as usize];
    let shape = Shape {
        strategy: (number % 3) as u8,
        memtable_size: one_of(&[1, 1000, 1500, 8000, 64 << 20]),
        table_size: one_of(&[1, 600, 4000, 32 << 20]),
        manifest_size: one_of(&[1, 500, 4000, 1 << 20]),
        log_size: one_of(&[4096, 16 << 10, 256 << 10]),
        compressed: number.is_multiple_of(2),
    };
    Setup { seed: setup.seed ^ number, shape, steps: setup.steps.clone() }
}

/// Plays one variant.
///
/// # Errors
/// What it got wrong by itself.
pub fn run(setup: &Setup, number: u64) -> Result<Answers, Broken> {
    let varied = variant(setup, number);
    let mut dice = Dice::new(setup.seed ^ number, 0xa11);
    let mut player = Player::new(&varied);
    player.open()?;
    let mut answers = Vec::new();
    for step in &varied.steps {
        player.step(step, &mut |_, _| {})?;
        if number > 0 {
            for extra in inserted(&mut dice) {
                player.step(&extra, &mut |_, _| {})?;
            }
        }
        answers.push(answer(&player)?);
    }
    player.finish()?;
    Ok(answers)
}

/// What makes no difference.
fn inserted(dice: &mut Dice) -> Vec<Step> {
    let mut steps = Vec::new();
    for step in
        [Step::Flush, Step::Compact, Step::Reopen, Step::Background, Step::BackgroundStep(1)]
    {
        if dice.below(6) == 0 {
            steps.push(step);
        }
    }
    steps
}

fn answer(player: &Player<'_>) -> Result<u64, Broken> {
    let db = player.db()?;
    let mut told = db.stats().last_seqno.0.to_le_bytes().to_vec();
    for (key, value) in content_of(&db.snapshot())? {
        for bytes in [&key, &value] {
            told.extend((bytes.len() as u64).to_le_bytes());
            told.extend(bytes);
        }
    }
    Ok(xxh3_64(&told))
}

/// Plays all variants and compares them with the first; how many answers were compared.
///
/// # Errors
/// The variant that differs, and how.
pub fn compare(setup: &Setup) -> Result<u64, Box<(u64, Broken)>> {
    let first = run(setup, 0).map_err(|broken| Box::new((0, broken)))?;
    let mut compared = 0;
    for number in 1..VARIANTS {
        let other = run(setup, number).map_err(|broken| Box::new((number, broken)))?;
        compared += other.len() as u64;
        if let Some(step) = (0..first.len()).find(|&step| other.get(step) != Some(&first[step])) {
            let expected = format!("the answers of variant 0 after step {}", step + 1);
            return Err(Box::new((number, Broken::new(expected, "others"))));
        }
    }
    Ok(compared)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seeded histories in all variants; the variants do differ in how the store is kept.
    #[test]
    fn the_answers_do_not_depend_on_the_options() {
        let mut compared = 0;
        for setup in (0..6).map(Setup::seeded).chain((0..6).map(Setup::layered)) {
            match compare(&setup) {
                Ok(count) => compared += count,
                Err(found) => panic!("{found:?}\n{}", setup.to_json()),
            }
        }
        assert!(compared > 6 * 6 * 31, "{compared} answers");
        let shapes: std::collections::HashSet<String> = (0..VARIANTS)
            .map(|number| format!("{:?}", variant(&Setup::seeded(1), number).shape))
            .collect();
        assert!(shapes.len() > 28, "{} shapes", shapes.len());
    }
}
