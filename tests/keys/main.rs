//! The keys of both files: the loaders, the schemas for editors and the tests of what each key does are in step.

mod schema;
mod table;
