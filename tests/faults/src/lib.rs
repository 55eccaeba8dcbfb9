//! Pulling the plug: each test breaks one part of the running stack in the middle of its work,
//! mends it, and counts. The tests are under `tests/`; they hold the stack for themselves.
