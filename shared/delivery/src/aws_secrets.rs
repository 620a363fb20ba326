//! Secrets of AWS.
