//! The rules every agent obeys.

testkit::contract!(env!("CARGO_BIN_EXE_xendomain"), "xendomain");
