// Package dbtest tests tokens in real databases, with drivers that the SDK itself does not need.
package dbtest
