"""A customer service that keeps tokens; see README.md."""
