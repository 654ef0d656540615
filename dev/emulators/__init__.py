"""S3 and KMS on this machine, for development and tests. dev/README.md says how to use it."""
