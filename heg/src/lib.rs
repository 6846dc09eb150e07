//! Home energy gateway daemon and its control program.
