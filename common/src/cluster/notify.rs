//! What a notification says of the instances of a clone.
