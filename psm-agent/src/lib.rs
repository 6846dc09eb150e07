//! Power state monitoring agent of a Linux appliance.
