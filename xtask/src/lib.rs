//! What the tasks share: calls of cargo and of other programs, the project's files, and failures in words.

pub mod cargo;
pub mod failure;
pub mod process;
pub mod project;
