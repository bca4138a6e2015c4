//! `beach check`: it sees every flipped bit, and names the place.
