//! Nothing is exported here: the tests stand in `suite/`.
