// Package jsontext tells JSON that encoding/json would take for another text than it is.
package jsontext

import (
	"bytes"
	"strconv"
	"unicode/utf8"
)

const replaced = "bytes that are no UTF-8, or half of a surrogate pair, would come out as something else"

// Wrong says why valid JSON is not what encoding/json would make of it; empty where it is.
func Wrong(raw []byte) string {
	if !utf8.Valid(raw) || hasHalf(raw) {
		return replaced
	}
	return ""
}

// hasHalf: an escape is half of a surrogate pair whose other half is not beside it. JSON has backslashes only in texts.
func hasHalf(raw []byte) bool {
	for {
		at := bytes.IndexByte(raw, '\\')
		if at < 0 {
			return false
		}
		raw = raw[at:]
		switch unit := escaped(raw); {
		case unit >= 0xdc00 && unit < 0xe000:
			return true
		case unit >= 0xd800 && unit < 0xdc00:
			if other := escaped(raw[6:]); other < 0xdc00 || other >= 0xe000 {
				return true
			}
			raw = raw[12:]
		default:
			raw = raw[min(2, len(raw)):]
		}
	}
}

// escaped is the unit that \uXXXX at the beginning is; -1 where there is none.
func escaped(raw []byte) int64 {
	if len(raw) < 6 || raw[0] != '\\' || raw[1] != 'u' {
		return -1
	}
	unit, err := strconv.ParseUint(string(raw[2:6]), 16, 16)
	if err != nil {
		return -1
	}
	return int64(unit)
}
