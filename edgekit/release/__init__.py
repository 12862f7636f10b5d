"""Packages for an app's release: `package.package` makes one from a run, `verify.verify` checks every byte of one."""
