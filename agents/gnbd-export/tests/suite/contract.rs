//! The rules every agent obeys, and the committed meta-data.

testkit::contract!(crate::scenes::BINARY, "gnbd-export");
