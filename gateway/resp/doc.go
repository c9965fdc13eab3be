// Package resp is the door for Redis clients: it speaks RESP2, RESP3 and inline
// commands, and hands what it reads to a Handler.
//
// A Server accepts connections and runs each on one goroutine. A Reader cuts
// the client's bytes into Commands, all that are complete at once, so that a
// pipeline of a hundred commands costs one read, one call of the Handler and
// one write. The Handler appends replies to the Session's Writer, which encodes
// them for the protocol version the client chose. A Table knows the commands:
// their arity, flags, keys and texts.
//
// Promises:
//
//   - Nothing is allocated from a declared length. Memory held for a connection
//     follows the bytes it has sent, within Limits, and goes back when it idles.
//   - Time spent on input is linear in its length, however it is cut.
//   - The same bytes give the same commands, errors and limits, however they
//     are cut into packets.
//   - A client that does not read its replies is cut; until then it holds less
//     than 128 KiB of them.
//   - Texts of protocol errors are those of Redis, so that clients that look at
//     them go on working.
//
// Reader, Writer, Session and Server know nothing of the grid and do not
// interpret commands, but for refusing HTTP, which a browser can be made to send
// to any port. Commands is the Handler that does: Redis commands on the entries
// of a grid.
//
// # Commands
//
// Database 0 is the space "default", databases 1 to 15 the spaces "db1" to
// "db15". A string is an entry of bytes, a hash an entry of fields, so what one
// door writes the others read: a field that is no text is shown as text, numbers
// in digits and lists as JSON. SPACE.* commands work on spaces of any shape.
// Every member takes every command.
//
// What differs from Redis:
//
//   - MULTI, MSETNX and RENAME want their keys in one slot: {tags} do that. Other
//     commands on several keys may use any, and are not one moment.
//   - Commands that take several steps (GETDEL, GETSET, SET with GET, GETEX,
//     EXPIRE with a condition, PERSIST, MSETNX, RENAME, COPY, SCAN, KEYS) cannot
//     be queued by MULTI; alone they are as atomic as in Redis, but for COPY,
//     which writes later than it reads.
//   - A watched key that was absent and is absent again counts as unchanged; one
//     that was written counts as changed even if its value is the same.
//   - A key has 1 to 1024 bytes, the name of a field too, a value at most 1 MiB.
//   - INCR takes an empty string for 0. Sums of floats are those of 64 bits.
//   - TTL counts on the partition's clock, which stands still while there is no
//     leader: a key never expires early. PEXPIRETIME is right to milliseconds.
//   - OBJECT ENCODING and the like are fixed words. INFO tells how many keys a
//     database has as of a moment ago.
//   - There are no lists, sets, sorted sets, streams, scripts, subscriptions, nor
//     client tracking, yet: these commands are unknown.
package resp
