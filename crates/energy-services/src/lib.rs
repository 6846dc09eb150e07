//! The UPnP services of appliances and gateway, each declared once.
