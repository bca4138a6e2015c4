//! What the strategies cost, by simulation: run with `--nocapture` to see the table.

use super::super::Strategy;
use super::simulator::{Load, Simulator};

const M: f64 = 1e6;
const GB: f64 = 1e9;

/// Shares of keys and writes that resemble a zipf distribution of exponent 0.99: each class has a
/// tenth of the keys of the one before it, and about as many writes.
fn zipf() -> Vec<(f64, f64)> {
    let keys = [0.9, 0.09, 0.009, 0.0009, 0.0001];
    keys.iter().map(|share| (*share, 0.2)).collect()
}

struct Row {
    name: &'static str,
    strategy: Strategy,
    load: Load,
    filled: bool,
    bytes: f64,
    idle: bool,
}

fn simulate(row: &Row) -> (Simulator, f64) {
    let simulator = Simulator::new(row.strategy, row.load.clone(), row.idle);
    let mut simulator = if row.filled { simulator.filled() } else { simulator };
    simulator.write(row.bytes);
    let before = simulator.figures.amplification();
    let speed = simulator.figures.user / 116.0 / simulator.figures.seconds / 1e3;
    simulator.settle();
    let figures = &simulator.figures;
    println!(
        "{:34} {:5.2} {:5.2} {:5.2} {:6.2} {:6.2} {:4} {:4} {:4} {:4} {:5} {:5} {:6.0} {:6.0} {:6.0} {:?}",
        row.name,
        before,
        figures.amplification(),
        figures.merged_raw / figures.user,
        simulator.space(),
        figures.space_max,
        figures.runs_at(0.5),
        figures.runs_at(0.95),
        figures.runs_at(1.0),
        simulator.runs(),
        figures.jobs,
        figures.moves,
        figures.job_sum / 1e6 / figures.jobs.max(1) as f64,
        figures.job_max / 1e6,
        speed,
        simulator.sizes().map(|size| size / 1_000_000),
    );
    for (cause, (n, above, below, written)) in &figures.causes {
        println!(
            "      {cause:24} {n:5} jobs above/user {:5.2} below/user {:5.2} written/user {:5.2} gain {:5.2}",
            above / figures.user,
            below / figures.user,
            written / figures.user,
            above / below
        );
    }
    (simulator, before)
}

#[test]
fn simulated_trees_stay_within_their_figures() {
    println!(
        "name                                 WA  settled  raw space  peak  runs p95 max end  jobs moves MB/job max k/s"
    );
    for strategy in [Strategy::Hybrid] {
        println!("{strategy:?}");
        let row =
            |name, load, filled, bytes, idle| Row { name, strategy, load, filled, bytes, idle };
        let uniform = Load::uniform;
        let rows = [
            row("2 M once, 250 k/s", uniform(2.0 * M, 250e3), false, 0.23 * GB, false),
            row("2 M once, 250 k/s, idle", uniform(2.0 * M, 250e3), false, 0.23 * GB, true),
            row("2 M once, 1 M/s", uniform(2.0 * M, 1e6), false, 0.23 * GB, false),
            row("2 M ten times, 250 k/s", uniform(2.0 * M, 250e3), false, 2.3 * GB, false),
            row("10 M twice", uniform(10.0 * M, 250e3), false, 2.3 * GB, false),
            row("20 M, 5 GB", uniform(20.0 * M, 250e3), false, 5.0 * GB, false),
            row("20 M, 5 GB, idle", uniform(20.0 * M, 250e3), false, 5.0 * GB, true),
            row("20 M, 5 GB, 1 M/s", uniform(20.0 * M, 1e6), false, 5.0 * GB, false),
            row("86 M from empty, 10 GB", uniform(86.0 * M, 250e3), false, 10.0 * GB, false),
            row("86 M filled, 10 GB", uniform(86.0 * M, 250e3), true, 10.0 * GB, false),
            row("86 M filled, 20 GB, 1 M/s", uniform(86.0 * M, 1e6), true, 20.0 * GB, false),
            row("430 M filled, 50 GB", uniform(430.0 * M, 250e3), true, 50.0 * GB, false),
            row(
                "86 M filled zipf, 10 GB",
                Load { classes: zipf(), ..uniform(86.0 * M, 250e3) },
                true,
                10.0 * GB,
                false,
            ),
            row(
                "86 M sequential",
                Load { sequential: true, ..uniform(86.0 * M, 250e3) },
                false,
                10.0 * GB,
                false,
            ),
        ];
        for row in &rows {
            simulate(row);
        }
    }
}
