//! What the process has used, as Linux tells it in `/proc`; none elsewhere.

use std::path::Path;

use crate::vfs::os::OsVfs;
use crate::vfs::{Access, Vfs};

/// More than any of the files read here has.
const SIZE_MAX: usize = 16 << 10;

/// Ticks a second in which processor time is told; Linux tells programs 100 whatever its own.
const TICKS: f64 = 100.0;

/// What the process has used, or the difference of two readings.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Usage {
    /// Seconds of processor time, of all threads.
    pub cpu_seconds: Option<f64>,
    /// Most memory it had, mapped files included, since `begin_peak` where the system allows
    /// that, else since it began.
    pub rss_peak_bytes: Option<u64>,
    /// Bytes fetched from disks.
    pub disk_read_bytes: Option<u64>,
    /// Bytes sent to disks, or about to be.
    pub disk_written_bytes: Option<u64>,
}

impl Usage {
    pub(super) fn now() -> Usage {
        let io = read("/proc/self/io");
        Usage {
            cpu_seconds: read("/proc/self/stat").as_deref().and_then(cpu_seconds),
            rss_peak_bytes: status("VmHWM:"),
            disk_read_bytes: io.as_deref().and_then(|text| field(text, "read_bytes:")),
            disk_written_bytes: io.as_deref().and_then(|text| field(text, "write_bytes:")),
        }
    }

    /// What was added since; the peak stays as it is.
    pub(super) fn since(&self, before: &Usage) -> Usage {
        let both = |now: Option<u64>, then: Option<u64>| Some(now?.saturating_sub(then?));
        let cpu = self.cpu_seconds.zip(before.cpu_seconds).map(|(now, then)| now - then);
        Usage {
            cpu_seconds: cpu,
            rss_peak_bytes: self.rss_peak_bytes,
            disk_read_bytes: both(self.disk_read_bytes, before.disk_read_bytes),
            disk_written_bytes: both(self.disk_written_bytes, before.disk_written_bytes),
        }
    }
}

/// Memory it has now, mapped files included.
pub(super) fn rss_bytes() -> Option<u64> {
    status("VmRSS:")
}

/// Lets the peak be told from now on. A system that does not know how tells the older one.
pub(super) fn begin_peak() {
    if let Ok(file) = OsVfs.open(Path::new("/proc/self/clear_refs"), Access::ReadWrite) {
        let _ = file.write_at(b"5", 0);
    }
}

fn status(name: &str) -> Option<u64> {
    // Told in KiB.
    field(&read("/proc/self/status")?, name).map(|kib| kib * 1024)
}

fn read(path: &str) -> Option<String> {
    let file = OsVfs.open(Path::new(path), Access::Read).ok()?;
    let mut bytes = vec![0; SIZE_MAX];
    let size = file.read_at(&mut bytes, 0).ok()?;
    String::from_utf8(bytes[..size].to_vec()).ok()
}

/// The number behind a name that begins a line.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// User and system time: the 14th and 15th field, counted behind the name in brackets, which may
/// have anything in it.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    Some((ticks()? + ticks()?) as f64 / TICKS)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A line as the kernel writes it, with a name made to mislead.
    #[test]
    fn processor_time_is_found_behind_any_name() {
        let stat = "42 (a) b (c) R 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20 0 1 0 99";
        assert_eq!(cpu_seconds(stat), Some(2.0));
        assert_eq!(cpu_seconds("42 (x) R 1"), None);
        assert_eq!(field("VmPeak:\t 7 kB\nVmHWM:\t  12 kB\n", "VmHWM:"), Some(12));
        assert_eq!(field("", "VmHWM:"), None);
    }

    /// On a system with `/proc`: all figures are there, and differences are.
    #[test]
    fn the_system_tells_all_of_it() {
        if !OsVfs.exists(Path::new("/proc/self/status")).unwrap_or(false) {
            return eprintln!("skipped: there is no /proc here");
        }
        begin_peak();
        let now = Usage::now();
        assert!(now.rss_peak_bytes >= rss_bytes().map(|bytes| bytes / 2) && rss_bytes() > Some(0));
        assert!(now.cpu_seconds.is_some() && now.disk_read_bytes.is_some());
        assert_eq!(now.since(&now).disk_written_bytes, Some(0));
        assert_eq!(now.since(&now).cpu_seconds, Some(0.0));
    }
}
