//! The device as its peers meet it: requests as bytes in, status and effects out, in virtual time.
//!
//! The expected answers are the project's own column of the comparison with other stacks (docs/protocol.md). What only a
//! socket can show (read deadlines, a lying Content-Length, chunked bodies) is tested with the driver.

#[cfg(test)]
mod announcements;
#[cfg(test)]
mod control;
#[cfg(test)]
mod documents;
#[cfg(test)]
mod fixture;
#[cfg(test)]
mod junk;
#[cfg(test)]
mod probes;
#[cfg(test)]
mod publisher;
