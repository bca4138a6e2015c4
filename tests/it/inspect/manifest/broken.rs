//! Damaged manifests.
