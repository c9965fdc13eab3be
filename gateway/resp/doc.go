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
// The package knows nothing of the grid. It does not interpret commands, but
// for refusing HTTP, which a browser can be made to send to any port.
package resp
