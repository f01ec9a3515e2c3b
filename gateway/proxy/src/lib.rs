//! The half of Swaigate that acts.
