//! servebench
