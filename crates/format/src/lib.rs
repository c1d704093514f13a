//! What the shim and the command share.
#![no_std]
