//! Promotion scores.
