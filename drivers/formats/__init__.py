"""One file per format: `DRIVER = Driver(...)`. See docs/DRIVERS.md."""
