//! What the system lets a process have.

use rustix::process::{Resource, getrlimit, setrlimit};

/// Lets this process have as many open files as it may: the tools open all files of a store at
/// once, so that none can be removed under them, and the usual limit is 1024.
///
/// Where the system refuses, the limit stays: a store that is too large for it says so then.
pub fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current < limit.maximum || (limit.current.is_some() && limit.maximum.is_none()) {
        let _ = setrlimit(
            Resource::Nofile,
            rustix::process::Rlimit { current: limit.maximum, maximum: limit.maximum },
        );
    }
}
