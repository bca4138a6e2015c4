//! `beach check --coverage`: every byte of a store has a meaning.
