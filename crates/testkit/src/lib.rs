//! Development only: virtual clock, simulated network, namespace lab, fixtures.
