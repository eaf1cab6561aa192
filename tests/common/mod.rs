//! Shared by the lab's tests.
#![allow(dead_code)] // each test binary uses its own part

pub mod lab;
