//! What the doctor says about damage of each kind, and what it mends.
