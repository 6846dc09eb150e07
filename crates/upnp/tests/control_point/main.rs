//! The control point against what devices do, in virtual time.

mod bench;
mod calling;
mod finding;
mod floods;
mod subscribing;
