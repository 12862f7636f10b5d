"""Virtual devices: an arm64 board and an arm64 phone under qemu-user, out of Debian's packages."""
