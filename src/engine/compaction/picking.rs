//! Tests of the pickers together: the rules that every job keeps, ends that are reached, and figures
//! from a simulated tree.

mod figures;
mod laws;
mod model;
mod rules;
mod simulator;
