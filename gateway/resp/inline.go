package resp

import (
	"bytes"
	"fmt"
)

// tlsHandshake is the first byte of a TLS client hello; no command starts with it.
const tlsHandshake = 0x16

// isHTTP reports whether the first word of a line is one that an HTTP request
// carries and no command does. A browser can be made to send a request with a
// chosen body to any port: ending the connection at these words keeps the body
// from being run.
func isHTTP(word []byte) bool {
	return bytes.EqualFold(word, []byte("POST")) || bytes.EqualFold(word, []byte("Host:"))
}

// splitInline appends to spans the words of an inline command, by the rules of
// Redis: words are set apart by white space; "double quotes" know \n \r \t \b
// \a, \xHH and \ before any other byte; 'single quotes' know only \'; a closing
// quote must end its word. A zero byte ends the line. Words are unescaped in
// place, which never makes them longer. It reports false for unbalanced quotes.
func splitInline(spans []span, line []byte) ([]span, bool) {
	if end := bytes.IndexByte(line, 0); end >= 0 {
		line = line[:end]
	}
	for i := 0; ; {
		for i < len(line) && isSpace(line[i]) {
			i++
		}
		if i == len(line) {
			return spans, true
		}
		word := span{from: i}
		var ok bool
		if word.to, i, ok = unquoteWord(line, i); !ok {
			return spans, false
		}
		spans = append(spans, word)
	}
}

// unquoteWord unescapes the word at line[i:] in place. It returns the end of
// the word and of the text it was written as.
func unquoteWord(line []byte, i int) (end, next int, ok bool) {
	end = i
	for i < len(line) {
		switch c := line[i]; c {
		case ' ', '\t', '\r', '\n':
			return end, i, true
		case '"', '\'':
			end, i, ok = unquote(line, end, i)
			if !ok || i < len(line) && !isSpace(line[i]) {
				return 0, 0, false
			}
			return end, i, true
		default:
			line[end] = c
			end, i = end+1, i+1
		}
	}
	return end, i, true
}

// unquote unescapes the quoted text at line[i:] to line[end:]. It returns the
// ends of both, the second behind the closing quote.
func unquote(line []byte, end, i int) (int, int, bool) {
	quote := line[i]
	for i++; i < len(line); {
		c, width := line[i], 1
		switch {
		case c == quote:
			return end, i + 1, true
		case c != '\\' || i+1 == len(line):
		case quote == '\'':
			if line[i+1] == '\'' {
				c, width = '\'', 2
			}
		default:
			c, width = unescape(line[i+1:])
			width++
		}
		line[end] = c
		end, i = end+1, i+width
	}
	return 0, 0, false
}

// unescape returns the byte that the text behind a backslash stands for, and
// the length of that text, which is not empty.
func unescape(text []byte) (byte, int) {
	switch text[0] {
	case 'n':
		return '\n', 1
	case 'r':
		return '\r', 1
	case 't':
		return '\t', 1
	case 'b':
		return '\b', 1
	case 'a':
		return '\a', 1
	case 'x':
		if len(text) >= 3 {
			high, okHigh := hexDigit(text[1])
			low, okLow := hexDigit(text[2])
			if okHigh && okLow {
				return high<<4 | low, 3
			}
		}
	}
	return text[0], 1
}

func hexDigit(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return c | 0x20 - 'a' + 10, true
	}
	return 0, false
}

func isSpace(c byte) bool { return c == ' ' || '\t' <= c && c <= '\r' }

// printable returns a byte as it may stand in an error text.
func printable(c byte) string {
	if ' ' <= c && c <= '~' {
		return string(rune(c))
	}
	return fmt.Sprintf(`\x%02x`, c)
}
