//! The short form.
