//! swaigate
fn main() {}
