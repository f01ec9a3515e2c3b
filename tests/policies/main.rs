//! The operator's tools for policies: tests as data, what holds for a function, and the audit log decided again.

mod dice;
mod explained;
mod play;
mod replayed;
mod same;
mod tested;
