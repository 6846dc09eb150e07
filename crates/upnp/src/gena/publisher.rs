//! The publisher of a device's services (UDA 1.1, 4.1 and 4.2).
