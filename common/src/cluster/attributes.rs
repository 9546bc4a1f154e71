//! Node attributes.
